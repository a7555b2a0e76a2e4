// What is timed, as plain data that goes to other processes, and how such a process makes a model and its inputs of it.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { layerLabel } from "./layers.mjs";
import { convModel, matmulModel, outSize, padOf } from "./onnx.mjs";
import { readModel } from "./suite.mjs";

/** Model of the suite. */
export const suiteWorkload = (name) => ({ kind: "model", label: name, name });
/** Product of [m, k] and [k, n], the right side a constant of the model or given with each run. */
export const matmulWorkload = ({ m, k, n }, constant) => ({
  kind: "matmul",
  label: `${m === k && k === n ? m : `[${m}, ${k}] × [${k}, ${n}]`}${constant ? ", constant right side" : ", both at run time"}`,
  ...{ m, k, n, constant },
});
/** One convolution with its bias and activation. */
export const layerWorkload = (layer) => ({ kind: "conv", label: layerLabel(layer), layer });

/**
 * A workload as every engine takes it: `{ name, bytes, dir, inputs: [{ name, dims, dtype, data }], outputs }`, `dir` null
 * where there is no external data; `outputs` are the values that must come out, in the form of the suite's `expected.json`.
 */
export function loadWorkload(w) {
  switch (w.kind) {
    case "model": {
      const { name, file, dir, inputs, outputs } = readModel(w.name);
      return { name, bytes: readFileSync(file), dir, inputs, outputs };
    }
    case "matmul":
      return matmul(w);
    case "conv":
      return convolution(w.layer);
    default:
      throw new Error(`unknown kind of workload '${w.kind}'`);
  }
}

/**
 * The same as files, for engines that are no JavaScript: `{ model, inputs: [{ name, dims, dtype, file }] }`. What is not in the
 * suite is written to `folder`.
 */
export function workloadFiles(w, folder) {
  const { name, bytes, dir, inputs } = loadWorkload(w);
  const about = ({ name: input, dims, dtype }, at) => ({ name: input, dims, dtype, file: join(at, `${input}.raw`) });
  if (dir !== null) return { model: join(dir, `${name}.onnx`), inputs: inputs.map((i) => about(i, dir)) };
  const model = join(folder, `${name}.onnx`);
  writeFileSync(model, bytes);
  for (const i of inputs) writeFileSync(join(folder, `${i.name}.raw`), new Uint8Array(i.data.buffer, i.data.byteOffset, i.data.byteLength));
  return { model, inputs: inputs.map((i) => about(i, folder)) };
}

/** Values of a small generator: the numbers do not matter, but they must be the same every time. */
function values(count, seed) {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2 ** 32;
  });
}

function matmul({ m, k, n, constant }) {
  const [a, b] = [values(m * k, 1), values(k * n, 2)];
  const element = (at) => {
    let sum = 0;
    for (let r = 0; r < k; r++) sum += a[Math.floor(at / n) * k + r] * b[r * n + (at % n)];
    return sum;
  };
  const left = { name: "a", dtype: "float32", dims: [m, k], data: a };
  const right = { name: "b", dtype: "float32", dims: [k, n], data: b };
  return {
    name: "matmul",
    bytes: matmulModel({ m, k, n }, constant ? b : null),
    dir: null,
    inputs: constant ? [left] : [left, right],
    outputs: [expected("c", [m, n], element)],
    product: { m, k, n, left: a, right: b, constant },
  };
}

function convolution(c) {
  const [depth, area, out, pad] = [c.channels / c.groups, c.kernel ** 2, outSize(c), padOf(c)];
  const [x, w, b] = [values(c.channels * c.size ** 2, 1), values(c.filters * depth * area, 2), values(c.filters, 3)];
  const element = (at) => {
    const [f, row, column] = [Math.floor(at / out ** 2), Math.floor(at / out) % out, at % out];
    let sum = b[f];
    for (let d = 0; d < depth; d++) {
      const plane = (Math.floor(f / (c.filters / c.groups)) * depth + d) * c.size ** 2;
      for (let t = 0; t < area; t++) {
        const [y, z] = [row * c.stride + Math.floor(t / c.kernel) - pad, column * c.stride + (t % c.kernel) - pad];
        if (y >= 0 && y < c.size && z >= 0 && z < c.size) sum += x[plane + y * c.size + z] * w[(f * depth + d) * area + t];
      }
    }
    return c.act === null ? sum : Math.min(Math.max(sum, 0), c.act === "relu6" ? 6 : Number.POSITIVE_INFINITY);
  };
  return {
    name: "conv",
    bytes: convModel(c, w, b),
    dir: null,
    inputs: [{ name: "x", dtype: "float32", dims: [1, c.channels, c.size, c.size], data: x }],
    outputs: [expected("y", [1, c.filters, out, out], element)],
  };
}

const samples = 64;

/** Some elements of a result, in double precision, and their deviation. */
function expected(name, dims, element) {
  const count = dims.reduce((a, b) => a * b, 1);
  const index = Array.from({ length: samples }, (_, i) => Math.floor((i * (count - 1)) / (samples - 1)));
  const value = index.map(element);
  const mean = value.reduce((s, v) => s + v, 0) / value.length;
  const deviation = Math.sqrt(value.reduce((s, v) => s + (v - mean) ** 2, 0) / value.length);
  return { name, dims, index, value, deviation };
}
