import { describe, expect, test } from "vitest";
import { type ModelSpec, type NodeSpec, type TensorSpec, type ValueSpec, model } from "../../../test/support/onnx.ts";
import { runInWasm } from "../../../test/support/run.ts";
import { type DType, f32, findDType, i8, u8 } from "../../base/dtype.ts";
import { compileGraph } from "../../compile.ts";
import { type HostTensor, hostFrom } from "../../graph/host.ts";
import { interpretGraph } from "../../graph/interpret.ts";
import { seededRandom } from "../../schedule/random.ts";
import { importOnnx } from "./import.ts";

/** The first output by the interpreter and as WASM, which have to agree exactly. */
async function run(m: ModelSpec, ...inputs: HostTensor[]): Promise<HostTensor> {
  const { graph } = importOnnx(model({ opset: 25, ...m }));
  const [want] = interpretGraph(graph, inputs) as [HostTensor];
  const [got] = await runInWasm(compileGraph(graph), inputs, false);
  expect(got).toEqual(want);
  return want;
}
const one = (node: Omit<NodeSpec, "out">, inputs: Record<string, ValueSpec>, initializers: Record<string, TensorSpec> = {}): ModelSpec => ({
  nodes: [{ ...node, out: ["y"] }],
  inputs,
  initializers,
  outputs: ["y"],
});
const floats = (dims: readonly number[], values: readonly number[]): TensorSpec => ({ dtype: "f32", dims, values });
const dtype = (name: string): DType => findDType(name) as DType;
const numbers = (t: HostTensor): number[] => Array.from(t.data, Number);
const random = seededRandom(11);
const integers = (d: DType, dims: readonly number[]): HostTensor => {
  const low = d.kind === "int" ? -(2 ** (d.bits - 1)) : 0;
  return hostFrom(d, dims, () => Math.floor(random() * 2 ** d.bits) + low);
};
const at = (t: HostTensor, ...index: number[]): number => Number(t.data[index.reduce((n, i, d) => n * (t.dims[d] as number) + i, 0)]);
/** Even numbers in the middle. */
function nearest(x: number): number {
  const r = Math.round(x);
  return Math.abs(x - Math.trunc(x)) === 0.5 && r % 2 !== 0 ? r - 1 : r;
}

describe("QuantizeLinear", () => {
  test("rounds halves to even, then adds the zero point, then saturates", async () => {
    const x = hostFrom(f32, [8], (i) => [-3, -1, 1, 3, 5, 1e9, -1e9, Number.POSITIVE_INFINITY][i] as number);
    const m = one(
      { op: "QuantizeLinear", in: ["x", "s", "z"] },
      { x: ["f32", [8]] },
      { s: floats([], [2]), z: { dtype: "u8", dims: [], raw: Uint8Array.of(3) } },
    );
    expect(numbers(await run(m, x))).toEqual([1, 3, 3, 5, 5, 255, 0, 255]);
  });
  test("a scale that is computed divides exactly", async () => {
    const x = hostFrom(f32, [500], (i) => Math.fround((i - 250) * 0.05));
    const s = hostFrom(f32, [], () => 0.1);
    const y = await run(
      one(
        { op: "QuantizeLinear", in: ["x", "s", "z"] },
        { x: ["f32", [500]], s: ["f32", []] },
        { z: { dtype: "i8", dims: [], raw: Uint8Array.of(0) } },
      ),
      x,
      s,
    );
    expect(numbers(y)).toEqual(numbers(x).map((v) => Math.max(-128, Math.min(127, nearest(Math.fround(v / Math.fround(0.1))) + 0))));
  });
  test("in blocks, of which the last is short", async () => {
    const x = hostFrom(f32, [2, 5], (i) => i);
    const m = one(
      { op: "QuantizeLinear", in: ["x", "s"], attrs: { axis: 1, block_size: 2, output_dtype: 3 } },
      { x: ["f32", [2, 5]] },
      { s: floats([2, 3], [1, 2, 4, 0.5, 0.25, 1]) },
    );
    expect(numbers(await run(m, x))).toEqual([0, 1, 1, 2, 1, 10, 12, 28, 32, 9]);
  });
  test.each([
    [22, "i4", [-8, -1, 0, 2, 7]],
    [21, "u4", [0, 0, 0, 2, 15]],
    [26, "i2", [-2, -1, 0, 1, 1]],
    [25, "u2", [0, 0, 0, 2, 3]],
    [5, "i16", [-100, -1, 0, 2, 100]],
  ] as const)("dtype %i: %s", async (output_dtype, name, want) => {
    const x = hostFrom(f32, [5], (i) => [-100, -1.2, 0.5, 2, 100][i] as number);
    const y = await run(one({ op: "QuantizeLinear", in: ["x", "s"], attrs: { output_dtype } }, { x: ["f32", [5]] }, { s: floats([], [1]) }), x);
    expect(y.dtype.name).toBe(name);
    expect(numbers(y)).toEqual(want);
  });
  test("a zero point of another dtype than asked for is refused", () => {
    const m = one(
      { op: "QuantizeLinear", in: ["x", "s", "z"], attrs: { output_dtype: 3 } },
      { x: ["f32", [8]] },
      { s: floats([], [2]), z: { dtype: "u8", dims: [], raw: Uint8Array.of(3) } },
    );
    expect(() => importOnnx(model({ opset: 25, ...m }))).toThrow(/output_dtype i8.*u8/);
  });
});

describe("Cast to floats of 8 bits", () => {
  const x = hostFrom(f32, [6], (i) => [1e6, Number.NEGATIVE_INFINITY, Number.NaN, 0, 2 ** -140, 3][i] as number);
  const cast = (to: number, attrs: Record<string, number | string>) =>
    run(one({ op: "Cast", in: ["x"], attrs: { to, ...attrs } }, { x: ["f32", [6]] }), x);
  test.each([
    [17, 1, [448, -448, Number.NaN, 0, 0, 3]],
    [17, 0, [Number.NaN, Number.NaN, Number.NaN, 0, 0, 3]],
    [19, 1, [57344, -57344, Number.NaN, 0, 0, 3]],
    [19, 0, [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, 0, 0, 3]],
    [20, 0, [Number.NaN, Number.NaN, Number.NaN, 0, 0, 3]],
    [23, 1, [6, -6, 0, 0, 0, 3]],
  ] as const)("type %i, saturate %i", async (to, saturate, want) => {
    expect(numbers(await cast(to, { saturate }))).toEqual(want);
  });
  test.each([
    ["up", [2 ** 20, 2 ** -127, 4]],
    ["down", [2 ** 19, 2 ** -127, 2]],
    ["nearest", [2 ** 20, 2 ** -127, 4]],
  ] as const)("scales, rounded %s", async (round_mode, [large, least, three]) => {
    expect(numbers(await cast(24, { round_mode }))).toEqual([large, least, Number.NaN, least, least, three]);
    expect(numbers(await cast(24, { round_mode, saturate: 0 }))).toEqual([large, Number.NaN, Number.NaN, Number.NaN, Number.NaN, three]);
  });
});

describe("integer contractions are exact", () => {
  test("QLinearConv: groups, a zero point for each channel, padding is the input's zero point, a bias in i32", async () => {
    const [x, w, b] = [integers(u8, [2, 4, 5, 6]), integers(i8, [6, 2, 3, 3]), hostFrom(dtype("i32"), [6], (i) => 1000 * i - 3000)];
    const [xZero, wZero, scales] = [131, [-5, 0, 7, 127, -128, 1], [0.01, 0.02, 0.03, 0.005, 0.004, 0.02]];
    const m = one(
      { op: "QLinearConv", in: ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], attrs: { group: 2, pads: [1, 1, 0, 2], strides: [2, 1] } },
      { x: ["u8", [2, 4, 5, 6]], w: ["i8", [6, 2, 3, 3]], b: ["i32", [6]] },
      {
        xs: floats([], [0.5]),
        xz: { dtype: "u8", dims: [], raw: Uint8Array.of(xZero) },
        ws: floats([6], scales),
        wz: { dtype: "i8", dims: [6], values: wZero },
        ys: floats([], [0.75]),
        yz: { dtype: "u8", dims: [], raw: Uint8Array.of(100) },
      },
    );
    const y = await run(m, x, w, b);
    expect(y.dims).toEqual([2, 6, 2, 7]);
    for (let n = 0; n < 2; n++)
      for (let f = 0; f < 6; f++)
        for (let i = 0; i < 2; i++)
          for (let j = 0; j < 7; j++) {
            let sum = Number(b.data[f]);
            for (let c = 0; c < 2; c++)
              for (let k = 0; k < 3; k++)
                for (let l = 0; l < 3; l++) {
                  const [p, q] = [2 * i + k - 1, j + l - 1];
                  if (p < 0 || p >= 5 || q < 0 || q >= 6) continue;
                  sum += (at(x, n, 2 * Math.floor(f / 3) + c, p, q) - xZero) * (at(w, f, c, k, l) - (wZero[f] as number));
                }
            const factor = Math.fround(Math.fround(0.5 * Math.fround(scales[f] as number)) / 0.75);
            expect(at(y, n, f, i, j)).toBe(Math.max(0, Math.min(255, nearest(Math.fround(sum * factor)) + 100)));
          }
  });

  test("MatMulInteger: a zero point for each row and each column; sums beyond 24 bits", async () => {
    const [a, b] = [integers(u8, [3, 700]), integers(i8, [700, 5])];
    const [aZero, bZero] = [hostFrom(u8, [3], (i) => [0, 255, 7][i] as number), hostFrom(i8, [5], (i) => [0, -128, 127, 3, -1][i] as number)];
    const m = one(
      { op: "MatMulInteger", in: ["a", "b", "az", "bz"] },
      { a: ["u8", [3, 700]], b: ["i8", [700, 5]], az: ["u8", [3]], bz: ["i8", [5]] },
    );
    const y = await run(m, a, b, aZero, bZero);
    for (let i = 0; i < 3; i++)
      for (let j = 0; j < 5; j++) {
        let sum = 0;
        for (let k = 0; k < 700; k++) sum += (at(a, i, k) - at(aZero, i)) * (at(b, k, j) - at(bZero, j));
        expect(at(y, i, j)).toBe(sum);
      }
    const extreme = await run(
      one({ op: "MatMulInteger", in: ["a", "b"] }, { a: ["u8", [1, 3001]], b: ["i8", [3001, 1]] }),
      hostFrom(u8, [1, 3001], () => 255),
      hostFrom(i8, [3001, 1], () => -128),
    );
    expect(numbers(extreme)).toEqual([255 * -128 * 3001]);
  });

  test("DynamicQuantizeLinear of nothing but zeros", async () => {
    const m: ModelSpec = {
      nodes: [{ op: "DynamicQuantizeLinear", in: ["x"], out: ["y", "s", "z"] }],
      inputs: { x: ["f32", [4]] },
      outputs: ["y", "s", "z"],
    };
    const { graph } = importOnnx(model(m));
    const zeros = hostFrom(f32, [4], () => 0);
    for (const [y, s, z] of [interpretGraph(graph, [zeros]), await runInWasm(compileGraph(graph), [zeros], false)] as HostTensor[][])
      expect([y, s, z].map((t) => numbers(t as HostTensor))).toEqual([[0, 0, 0, 0], [Math.fround(1 / 255)], [0]]);
  });
});
