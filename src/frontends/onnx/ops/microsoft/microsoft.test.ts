import { describe, expect, test } from "vitest";
import { runBoth } from "../../../../../test/support/onnx-run.ts";
import { type AttrSpec, type ModelSpec, type TensorSpec, type ValueSpec, model } from "../../../../../test/support/onnx.ts";
import { type DType, f32, i32, i64, u8 } from "../../../../base/dtype.ts";
import { type HostTensor, hostFrom } from "../../../../graph/host.ts";
import { seededRandom } from "../../../../schedule/random.ts";
import { inlineConstant } from "../../../../base/constant.ts";
import { importSource } from "../../../../importer.ts";
import { buildArtifact } from "../../../../load.ts";
import { importOnnx } from "../../import.ts";
import { inColumns } from "./packed-weights.ts";

const domain = "com.microsoft";
const random = seededRandom(7);

/** A model of one node 'n' of the domain; inputs that are left out are "". */
function one(
  op: string,
  given: readonly string[],
  inputs: Record<string, ValueSpec>,
  attrs: Record<string, AttrSpec> = {},
  outputs: readonly string[] = ["y"],
  initializers: Record<string, TensorSpec> = {},
): ModelSpec {
  const nodes = [{ op, domain, name: "n", in: given, out: outputs, attrs }];
  return { opset: 17, domains: { [domain]: 1 }, inputs, initializers, nodes, outputs };
}
const floats = (...dims: number[]): HostTensor => hostFrom(f32, dims, () => Math.fround(random() * 2 - 1));
const whole = (dtype: DType, dims: readonly number[], high: number): HostTensor => hostFrom(dtype, dims, () => Math.floor(random() * high));
const numbers = (t: HostTensor | undefined): number[] => Array.from(t?.data ?? [], Number);
function close(got: HostTensor | undefined, want: readonly number[], by = 1e-5): void {
  expect(got?.data.length).toBe(want.length);
  numbers(got).forEach((v, i) => void expect(Math.abs(v - (want[i] as number))).toBeLessThanOrEqual(by));
}

describe("com.microsoft", () => {
  test("QLinearAdd is the sum of what is meant, in the result's scale", async () => {
    const [a, b] = [whole(u8, [4, 9], 256), whole(u8, [9], 256)];
    const single = (v: number): TensorSpec => ({ dtype: "f32", dims: [], values: [v] });
    const zero = (v: number): TensorSpec => ({ dtype: "u8", dims: [], values: [v] });
    const constants = { as: single(0.25), az: zero(120), bs: single(0.5), bz: zero(7), ys: single(1), yz: zero(100) };
    const m = one("QLinearAdd", ["a", "as", "az", "b", "bs", "bz", "ys", "yz"], { a: ["u8", [4, 9]], b: ["u8", [9]] }, {}, ["y"], constants);
    const even = (v: number): number => (Math.abs(v % 1) === 0.5 ? 2 * Math.round(v / 2) : Math.round(v));
    const want = numbers(a).map((v, i) => Math.min(255, Math.max(0, even((v - 120) * 0.25 + (Number(b.data[i % 9]) - 7) * 0.5) + 100)));
    for (const [y] of await runBoth(m, [a, b])) expect(numbers(y)).toEqual(want);
  });

  test("MatMulNBits takes 4-bit weights apart, as constants and as data, with an odd number of blocks and padding", async () => {
    const [rows, k, n, size, blocks] = [3, 40, 5, 16, 3];
    const [x, w, s, z] = [floats(rows, k), whole(u8, [n, blocks, size / 2], 256), floats(n, blocks), whole(u8, [n * 2], 256)];
    const nibble = (t: HostTensor, i: number): number => (Number(t.data[i >> 1]) >> (4 * (i & 1))) & 15;
    const weight = (j: number, i: number): number => {
      const block = Math.floor(i / size);
      return (nibble(w, j * blocks * size + i) - nibble(z, j * 4 + block)) * Number(s.data[j * blocks + block]);
    };
    const want = Array.from({ length: rows * n }, (_, at) => {
      const [r, j] = [Math.floor(at / n), at % n];
      return Array.from({ length: k }, (_, i) => Number(x.data[r * k + i]) * weight(j, i)).reduce((p, q) => p + q, 0);
    });
    const attrs = { K: k, N: n, bits: 4, block_size: size };
    const types = { w: ["u8", w.dims], s: ["f32", s.dims], z: ["u8", z.dims] } as const;
    const asData = one("MatMulNBits", ["x", "w", "s", "z"], { x: ["f32", [rows, k]], ...types }, attrs);
    for (const [y] of await runBoth(asData, [x, w, s, z])) close(y, want, 1e-3);
    const constants: Record<string, TensorSpec> = {
      w: { dtype: "u8", dims: w.dims, values: numbers(w) },
      s: { dtype: "f32", dims: s.dims, values: numbers(s) },
      z: { dtype: "u8", dims: z.dims, values: numbers(z) },
    };
    const asConstants = one("MatMulNBits", ["x", "w", "s", "z"], { x: ["f32", [rows, k]] }, attrs, ["y"], constants);
    for (const [y] of await runBoth(asConstants, [x])) close(y, want, 1e-3);
  });

  test.each([2, 4, 8])("MatMulNBits: weights of %d bits stay what they are in memory, however many rows there are", async (bits) => {
    const [k, n, size] = [64, 320, 32];
    const [w, s, z] = [whole(u8, [n, k / size, (size * bits) / 8], 256), floats(n, k / size), whole(u8, [n, Math.ceil((2 * bits) / 8)], 256)];
    const element = (t: HostTensor, i: number): number => (Number(t.data[Math.floor((i * bits) / 8)]) >> ((i * bits) % 8)) & (2 ** bits - 1);
    const weight = (j: number, i: number): number => {
      const block = Math.floor(i / size);
      return (element(w, j * k + i) - element(z, (j * (z.dims[1] as number) * 8) / bits + block)) * Number(s.data[j * 2 + block]);
    };
    const constants: Record<string, TensorSpec> = {
      w: { dtype: "u8", dims: w.dims, values: numbers(w) },
      s: { dtype: "f32", dims: s.dims, values: numbers(s) },
      z: { dtype: "u8", dims: z.dims, values: numbers(z) },
    };
    for (const [rows, dim] of [
      [1, 1],
      [16, 16],
      [5, "rows"],
    ] as const) {
      const m = one("MatMulNBits", ["x", "w", "s", "z"], { x: ["f32", [dim, k]] }, { K: k, N: n, bits, block_size: size }, ["y"], constants);
      const x = floats(rows, k);
      const want = Array.from({ length: rows * n }, (_, at) =>
        Array.from({ length: k }, (_v, i) => Number(x.data[Math.floor(at / n) * k + i]) * weight(at % n, i)).reduce((p, q) => p + q, 0),
      );
      for (const [y] of await runBoth(m, [x])) close(y, want, 1e-5 * 2 ** bits * k);
      const { artifact } = buildArtifact(importSource(model(m), { name: "m" }));
      // What is small may be folded.
      const stored = w.data.length + 8 * s.data.length;
      // Eight bits are a quarter of what a product of many rows reads best.
      if (bits < 8) expect(artifact.manifest.weight_bytes).toBeLessThan(stored + 1024);
    }
  });

  /** What accuracy_level allows: elements as multiples of a fraction of their block's largest (in bytes: 4: 1; 2, 3: 2; else 3), products with weights exact. */
  test.each([
    [4, 127, 4, 32, 1, true],
    [4, 127, 4, 128, 3, false],
    [4, 127, 2, 16, 2, true],
    [0, 8355711, 4, 32, 2, true],
    [1, 8355711, 4, 128, 1, false],
    [2, 32639, 4, 128, 1, false],
    [3, 32639, 2, 16, 3, true],
  ] as const)("MatMulNBits with accuracy_level %d, so %d steps: %d bits in blocks of %d", async (level, most, bits, size, rows, hasZeros) => {
    const [k, n] = [2 * size - 5, 37];
    // In f32 as the model computes it, and of two that are as near the even one: in 16 bits other roundings often end at another step.
    const nearest = (v: number): number => (Math.abs(v % 1) === 0.5 ? 2 * Math.round(v / 2) : Math.round(v));
    const [w, s, z] = [whole(u8, [n, 2, (size * bits) / 8], 256), floats(n, 2), whole(u8, [n, 1], 256)];
    const element = (t: HostTensor, i: number): number => (Number(t.data[Math.floor((i * bits) / 8)]) >> ((i * bits) % 8)) & (2 ** bits - 1);
    const zero = (j: number, b: number): number => (hasZeros ? element(z, (j * 8) / bits + b) : 2 ** (bits - 1));
    const part = Math.min(size, 32);
    // Blocks of nothing, and of numbers that have no reciprocal, among the others.
    const x = hostFrom(f32, [rows, k], (i) => Math.fround((random() * 2 - 1) * (i % k < part ? ([0, 1e-40, 1][Math.floor(i / k)] ?? 1) : 1)));
    const padded = (r: number, i: number): number => (i < k ? Number(x.data[r * k + i]) : 0);
    const want = Array.from({ length: rows * n }, (_, at) => {
      const [r, j] = [Math.floor(at / n), at % n];
      let sum = 0;
      for (let from = 0; from < 2 * size; from += part) {
        const own = Array.from({ length: part }, (_v, i) => padded(r, from + i));
        const largest = Math.max(...own.map(Math.abs));
        const b = Math.floor(from / size);
        const steps = own.map((v) => (largest === 0 ? 0 : nearest(Math.fround(Math.fround(v / largest) * most))));
        const dot = steps.reduce((t, v, i) => t + v * (element(w, j * 2 * size + from + i) - zero(j, b)), 0);
        sum += ((dot * largest) / most) * Number(s.data[j * 2 + b]);
      }
      return sum;
    });
    const initializers: Record<string, TensorSpec> = {
      w: { dtype: "u8", dims: w.dims, values: numbers(w) },
      s: { dtype: "f32", dims: s.dims, values: numbers(s) },
      z: { dtype: "u8", dims: z.dims, values: numbers(z) },
    };
    const attrs = { K: k, N: n, bits, block_size: size, accuracy_level: level };
    for (const dim of [rows, "rows"]) {
      const m = one("MatMulNBits", ["x", "w", "s", ...(hasZeros ? ["z"] : [])], { x: ["f32", [dim, k]] }, attrs, ["y"], initializers);
      for (const [y] of await runBoth(m, [x])) close(y, want, 1e-5 * 2 ** bits);
    }
  });

  test("DynamicQuantizeLSTM rounds all inputs by their range, and the hidden state by its own in each step", async () => {
    const [steps, features, hidden] = [4, 3, 2];
    const [x, w, r] = [floats(steps, 1, features), whole(u8, [1, features, 4 * hidden], 256), whole(u8, [1, hidden, 4 * hidden], 256)];
    const scales = [hostFrom(f32, [1], () => 1 / 128), hostFrom(f32, [1, 4 * hidden], (i) => (1 + (i % 3)) / 256)] as const;
    const zeros = [hostFrom(u8, [1], () => 120), hostFrom(u8, [1, 4 * hidden], () => 128)] as const;
    // The nearest of 255 steps between the least and the largest number, 0 included.
    const rounded = (v: readonly number[]): number[] => {
      const [low, high] = [Math.min(0, ...v), Math.max(0, ...v)];
      const scale = (high - low || 1) / 255;
      const zero = Math.round(-low / scale);
      return v.map((e) => (Math.min(255, Math.max(0, Math.round(e / scale) + zero)) - zero) * scale);
    };
    const weight = (m: HostTensor, k: 0 | 1, row: number, i: number): number =>
      (Number(m.data[i * 4 * hidden + row]) - Number(zeros[k].data[k * row])) * Number(scales[k].data[k * row]);
    const all = rounded(numbers(x));
    const sigmoid = (v: number): number => 1 / (1 + Math.exp(-v));
    let [h, cell] = [new Array<number>(hidden).fill(0), new Array<number>(hidden).fill(0)];
    const want: number[] = [];
    for (let s = 0; s < steps; s++) {
      const state = rounded(h);
      const sums = Array.from({ length: 4 * hidden }, (_, row) => {
        const input = all.slice(s * features, (s + 1) * features).reduce((t, v, i) => t + v * weight(w, 0, row, i), 0);
        return state.reduce((t, v, i) => t + v * weight(r, 1, row, i), input);
      });
      const gate = (k: number, j: number): number => sums[k * hidden + j] as number;
      cell = cell.map((v, j) => sigmoid(gate(2, j)) * v + sigmoid(gate(0, j)) * Math.tanh(gate(3, j)));
      h = cell.map((v, j) => sigmoid(gate(1, j)) * Math.tanh(v));
      want.push(...h);
    }
    const initializers: Record<string, TensorSpec> = {
      w: { dtype: "u8", dims: w.dims, values: numbers(w) },
      r: { dtype: "u8", dims: r.dims, values: numbers(r) },
      ws: { dtype: "f32", dims: [1], values: numbers(scales[0]) },
      wz: { dtype: "u8", dims: [1], values: numbers(zeros[0]) },
      rs: { dtype: "f32", dims: [1, 4 * hidden], values: numbers(scales[1]) },
      rz: { dtype: "u8", dims: [1, 4 * hidden], values: numbers(zeros[1]) },
    };
    const given = ["x", "w", "r", "", "", "", "", "", "ws", "wz", "rs", "rz"];
    const m = one("DynamicQuantizeLSTM", given, { x: ["f32", [steps, 1, features]] }, { hidden_size: hidden }, ["y"], initializers);
    for (const [y] of await runBoth(m, [x])) close(y, want);
  });

  test.each([1, 2, 4])("units of %d bytes in columns are read from any place, rows that are not there as zeros", (unit) => {
    const [rows, units] = [21, 6];
    const data = inlineConstant(Uint8Array.from({ length: rows * units * unit }, (_, i) => (i * 37 + 11) & 255));
    const columns = inColumns(data, rows, units, unit);
    expect(columns.byteLength).toBe(32 * units * unit);
    const all = columns.read(0, columns.byteLength).slice();
    for (let at = 0; at < all.length; at++) {
      const [byte, lane, u, group] = [
        at % unit,
        Math.floor(at / unit) % 16,
        Math.floor(at / (16 * unit)) % units,
        Math.floor(at / (16 * unit * units)),
      ];
      const row = group * 16 + lane;
      expect(all[at]).toBe(row < rows ? data.read(0, data.byteLength)[(row * units + u) * unit + byte] : 0);
    }
    for (const [offset, length] of [
      [0, 5],
      [7, 120],
      [31 * unit, 100 * unit],
      [all.length - 1, 1],
    ] as const)
      expect([...columns.read(offset, length)]).toEqual([...all.subarray(offset, offset + length)]);
  });

  test("GroupQueryAttention appends to each batch's own place of a buffer", async () => {
    const [batch, heads, shared, features, room] = [2, 4, 2, 8, 6];
    const lengths = [4, 2];
    const [q, k, v] = [floats(batch, 1, heads * features), floats(batch, 1, shared * features), floats(batch, 1, shared * features)];
    const [pk, pv] = [floats(batch, shared, room, features), floats(batch, shared, room, features)];
    const m = one(
      "GroupQueryAttention",
      ["q", "k", "v", "pk", "pv", "lengths", "total"],
      {
        q: ["f32", q.dims],
        k: ["f32", k.dims],
        v: ["f32", v.dims],
        pk: ["f32", pk.dims],
        pv: ["f32", pv.dims],
        lengths: ["i32", [batch]],
        total: ["i32", []],
      },
      { num_heads: heads, kv_num_heads: shared },
      ["y", "nk", "nv"],
    );
    const put = (past: HostTensor, now: HostTensor): number[] =>
      numbers(past).map((old, i) => {
        const [f, row, h, b] = [
          i % features,
          Math.floor(i / features) % room,
          Math.floor(i / features / room) % shared,
          Math.floor(i / features / room / shared),
        ];
        return row === lengths[b] ? Number(now.data[(b * shared + h) * features + f]) : old;
      });
    const [nk, nv] = [put(pk, k), put(pv, v)];
    const want = Array.from({ length: batch * heads }, (_, at) => {
      const [b, h] = [Math.floor(at / heads), at % heads];
      const row = (t: readonly number[], j: number): number[] => {
        const from = ((b * shared + Math.floor(h / (heads / shared))) * room + j) * features;
        return t.slice(from, from + features);
      };
      const e = Array.from({ length: (lengths[b] as number) + 1 }, (_, j) =>
        Math.exp(row(nk, j).reduce((sum, x, f) => sum + x * Number(q.data[at * features + f]), 0) / Math.sqrt(features)),
      );
      const total = e.reduce((x, y) => x + y, 0);
      return Array.from({ length: features }, (_, f) => e.reduce((sum, p, j) => sum + (p / total) * (row(nv, j)[f] as number), 0));
    }).flat();
    const inputs = [q, k, v, pk, pv, hostFrom(i32, [batch], (i) => lengths[i] as number), hostFrom(i32, [], () => 5)];
    for (const [y, keys, values] of await runBoth(m, inputs)) {
      close(y, want);
      close(keys, nk);
      close(values, nv);
    }
  });

  test("GroupQueryAttention counts positions, or takes them from data, behind a cache that grows", async () => {
    const [past, features] = [5, 16];
    const [q, k, v] = [floats(1, 1, 4 * features), floats(1, 1, 2 * features), floats(1, 1, 2 * features)];
    const [pk, pv, cos, sin] = [floats(1, 2, past, features), floats(1, 2, past, features), floats(12, features / 2), floats(12, features / 2)];
    const of = (t: HostTensor): ValueSpec => ["f32", t.dims];
    const inputs = { q: of(q), k: of(k), v: of(v), pk: of(pk), pv: of(pv), n: ["i32", [1]], cos: of(cos), sin: of(sin) } as const;
    const total: TensorSpec = { dtype: "i32", dims: [], values: [past + 1] };
    const operands = ["q", "k", "v", "pk", "pv", "n", "total", "cos", "sin"];
    const attrs = { num_heads: 4, kv_num_heads: 2, do_rotary: 1 };
    const counted = one("GroupQueryAttention", operands, inputs, attrs, ["y", "nk", "nv"], { total });
    const told = one("GroupQueryAttention", [...operands, "at"], { ...inputs, at: ["i64", [1, 1]] }, attrs, ["y", "nk", "nv"], { total });
    const given = [q, k, v, pk, pv, hostFrom(i32, [1], () => past), cos, sin];
    const first = await runBoth(counted, given);
    const second = await runBoth(told, [...given, hostFrom(i64, [1, 1], () => BigInt(past))]);
    expect(first[0]?.[1]?.dims).toEqual([1, 2, past + 1, features]);
    for (const results of [first[1] as (typeof first)[0], ...second]) results.forEach((r, i) => void close(r, numbers(first[0]?.[i])));
  });

  test("Inverse exchanges rows where a pivot is 0", async () => {
    const x = hostFrom(f32, [2, 2], (i) => [0, 2, 4, 1][i] as number);
    for (const [y] of await runBoth(one("Inverse", ["x"], { x: ["f32", [2, 2]] }), [x])) close(y, [-0.125, 0.25, 0.5, 0], 1e-7);
  });

  test("Unique keeps values by their first occurrence", async () => {
    const x = hostFrom(f32, [6], (i) => [2, 1, 1, 3, 4, 3][i] as number);
    const m = one("Unique", ["x"], { x: ["f32", [6]] }, {}, ["values", "places", "counts"]);
    for (const [values, places, counts] of await runBoth(m, [x])) {
      expect(numbers(values)).toEqual([2, 1, 3, 4]);
      expect(numbers(places)).toEqual([0, 1, 1, 2, 3, 2]);
      expect(numbers(counts)).toEqual([1, 2, 2, 1]);
      expect(counts?.dtype).toBe(i64);
    }
  });

  const bad: readonly [string, ModelSpec, RegExp][] = [
    [
      "a block size",
      one("MatMulNBits", ["x", "w", "s"], { x: ["f32", [1, 16]], w: ["u8", [4, 1, 8]], s: ["f32", [4]] }, { K: 16, N: 4, block_size: 12 }),
      /'n' \(MatMulNBits\).*block_size 12/,
    ],
    [
      "weights of another size",
      one("MatMulNBits", ["x", "w", "s"], { x: ["f32", [1, 16]], w: ["u8", [4, 1, 7]], s: ["f32", [4]] }, { K: 16, N: 4, block_size: 16 }),
      /'n' \(MatMulNBits\).*weights \[4, 1, 7\]/,
    ],
    [
      "heads that do not divide features",
      one("MultiHeadAttention", ["q", "q", "q"], { q: ["f32", [1, 2, 8]] }, { num_heads: 3 }),
      /'n' \(MultiHeadAttention\).*8 features in 3 heads/,
    ],
    ["a missing number of heads", one("Attention", ["x", "w"], { x: ["f32", [1, 2, 4]], w: ["f32", [4, 12]] }), /'n' \(Attention\).*num_heads/],
    ["a rank", one("QGemm", ["a", "s", "z", "a", "s", "z"], { a: ["u8", [2, 2, 2]], s: ["f32", []], z: ["u8", []] }), /'n' \(QGemm\).*rank 3/],
    ["an odd number of features", one("BiasSplitGelu", ["x", "b"], { x: ["f32", [1, 3, 7]], b: ["f32", [7]] }), /'n' \(BiasSplitGelu\).*even/],
    ["groups", one("GroupNorm", ["x", "s", "s"], { x: ["f32", [1, 2, 2, 4]], s: ["f32", [4]] }, { groups: 3 }), /'n' \(GroupNorm\).*3 groups/],
  ];
  test.each(bad)("an error about %s names the node", (_, m, message) => {
    expect(() => importOnnx(model(m))).toThrow(message);
  });

  test("an op that the domain has not is listed with its domain and version", () => {
    expect(() => importOnnx(model(one("BeamSearch", ["x"], { x: ["f32", [1]] })))).toThrow(
      /com\.microsoft\.BeamSearch \(opset 1\) 'n': no mapping for this op/,
    );
  });
});
