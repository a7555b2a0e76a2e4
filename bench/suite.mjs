// The model suite beside this checkout (../shared/models): where it is, its models written out whole, their inputs and
// what they must give. The tests and the benchmark both use it.
import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../../shared/models", import.meta.url));

/** The suite's folder, or null where there is none. */
export function suiteFolder() {
  return existsSync(join(folder, "materialize.mjs")) && existsSync(join(folder, "suite.json")) ? folder : null;
}

/** The names of all models. */
export function suiteNames() {
  return Object.keys(JSON.parse(readFileSync(join(folder, "suite.json"), "utf8")));
}

/** Where the models are written: one folder in the system's temporary one for each version of the suite. */
function cacheFolder() {
  const version = createHash("sha256")
    .update(readFileSync(join(folder, "suite.json")))
    .digest("hex")
    .slice(0, 12);
  return join(tmpdir(), `tilewright-models-${version}`);
}

/** The folder of a model with its weights, inputs and `expected.json`; written on first use. */
export function modelFolder(name) {
  if (suiteFolder() === null) throw new Error(`there is no model suite: expected ${folder}`);
  const cache = cacheFolder();
  const target = join(cache, name);
  if (existsSync(target)) return target;
  // Written beside and moved in place whole: another process may be at it, and this one may be stopped.
  const work = join(cache, `.${name}-${process.pid}-${randomBytes(4).toString("hex")}`);
  mkdirSync(work, { recursive: true });
  try {
    const run = spawnSync(process.execPath, [join(folder, "materialize.mjs"), work, name], { encoding: "utf8" });
    if (run.status !== 0) throw new Error(`model '${name}' could not be written to ${work}: ${run.stderr}`);
    try {
      renameSync(join(work, name), target);
    } catch (e) {
      if (!existsSync(target)) throw e;
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return target;
}

const arrays = { float32: Float32Array, int64: BigInt64Array, int32: Int32Array, uint8: Uint8Array, int8: Int8Array };

/** ONNX's name for the dtype of a typed array's values. */
export function dtypeOf(array) {
  const found = Object.entries(arrays).find(([, type]) => array instanceof type);
  if (found === undefined) throw new Error(`the suite has no dtype for ${array?.constructor.name}`);
  return found[0];
}

/** A file of raw little-endian values as a typed array of the dtype (ONNX's name for it). */
export function readRaw(file, dtype) {
  const bytes = readFileSync(file);
  const type = arrays[dtype];
  if (type === undefined) throw new Error(`${file}: the suite has no dtype '${dtype}'`);
  return new type(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

/** A model's file, its inputs (`{ name, dims, dtype, data }`) and the outputs that it must give. */
export function readModel(name, dir = modelFolder(name)) {
  const { inputs, outputs } = JSON.parse(readFileSync(join(dir, "expected.json"), "utf8"));
  return {
    name,
    dir,
    file: join(dir, `${name}.onnx`),
    inputs: inputs.map((i) => ({ ...i, data: readRaw(join(dir, `${i.name}.raw`), i.dtype) })),
    outputs,
  };
}

/**
 * What is allowed: this share of an output's deviation + 1e-6. Models whose convolutions are computed by Winograd's F(4×4),
 * which rounds more, are allowed more.
 */
export const allowedShare = { usual: 1e-4, winograd4: 3e-4 };

/**
 * The largest difference from the expected values, in units of what is allowed.
 * `at` gives the index of the i-th expected value; a value that is no number counts as infinitely far off.
 */
export function worstOf(count, at, expected, got, deviation, share = allowedShare.usual) {
  const allowed = share * deviation + 1e-6;
  let worst = { ratio: -1, index: -1, expected: 0, got: 0, allowed };
  for (let i = 0; i < count; i++) {
    const index = at(i);
    const [e, g] = [Number(expected[i]), Number(got[index])];
    const difference = Math.abs(g - e);
    const ratio = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference / allowed;
    if (ratio > worst.ratio) worst = { ratio, index, expected: e, got: g, allowed };
  }
  return worst;
}

/** Compares an output (`{ dims, data }`) with the sampled values of `expected.json`; throws when its shape is wrong. */
export function compareSampled(expected, got, share = allowedShare.usual) {
  const count = expected.dims.reduce((a, b) => a * b, 1);
  if (`${got.dims}` !== `${expected.dims}`) throw new Error(`output '${expected.name}': expected shape [${expected.dims}], got [${got.dims}]`);
  if (got.data.length !== count) throw new Error(`output '${expected.name}': expected ${count} elements, got ${got.data.length}`);
  return worstOf(expected.index.length, (i) => expected.index[i], expected.value, got.data, expected.deviation, share);
}
