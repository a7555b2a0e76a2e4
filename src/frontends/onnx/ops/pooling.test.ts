import { describe, expect, test } from "vitest";
import type { AttrSpec, ModelSpec } from "../../../../test/support/onnx.ts";
import { runBoth } from "../../../../test/support/onnx-run.ts";
import { f32 } from "../../../base/dtype.ts";
import { type HostTensor, hostFrom } from "../../../graph/host.ts";
import { seededRandom } from "../../../schedule/random.ts";

interface Case {
  readonly strides: readonly [number, number];
  readonly dilations?: readonly [number, number];
  readonly pads?: readonly [number, number, number, number];
  readonly auto?: "SAME_UPPER" | "SAME_LOWER";
  readonly ceil?: boolean;
}
const kernel = [3, 2] as const;
const [height, width] = [11, 14];

/** Windows along one axis, by the definition: where each starts, and how far the padding reaches. */
function windows(k: Case, s: 0 | 1): { readonly starts: readonly number[]; readonly padded: readonly [number, number] } {
  const n = s === 0 ? height : width;
  const stride = k.strides[s];
  const reach = (kernel[s] - 1) * (k.dilations?.[s] ?? 1) + 1;
  let [low, high] = [k.pads?.[s] ?? 0, k.pads?.[s + 2] ?? 0];
  if (k.auto !== undefined) {
    const total = Math.max(0, (Math.ceil(n / stride) - 1) * stride + reach - n);
    [low, high] = k.auto === "SAME_UPPER" ? [Math.floor(total / 2), Math.ceil(total / 2)] : [Math.ceil(total / 2), Math.floor(total / 2)];
  }
  const starts: number[] = [];
  // With ceil a window may stick out at the end, as long as it starts before the padding there.
  for (let at = -low; k.ceil === true ? at + reach <= n + high + stride - 1 && at < n : at + reach <= n + high; at += stride) starts.push(at);
  return { starts, padded: [-low, n + high] };
}

/** All windows of one plane: the elements in each with their positions, and how many places lie in the padded plane. */
function contents(k: Case, x: HostTensor, plane: number): { elements: { v: number; row: number; column: number }[]; places: number }[] {
  const [rows, columns] = [windows(k, 0), windows(k, 1)];
  const inside = (at: number, [low, high]: readonly [number, number]): boolean => at >= low && at < high;
  return rows.starts.flatMap((top) =>
    columns.starts.map((left) => {
      const elements = [];
      let places = 0;
      for (let i = 0; i < kernel[0]; i++) {
        for (let j = 0; j < kernel[1]; j++) {
          const [row, column] = [top + i * (k.dilations?.[0] ?? 1), left + j * (k.dilations?.[1] ?? 1)];
          if (inside(row, rows.padded) && inside(column, columns.padded)) places++;
          if (inside(row, [0, height]) && inside(column, [0, width]))
            elements.push({ v: Number(x.data[(plane * height + row) * width + column]), row, column });
        }
      }
      return { elements, places };
    }),
  );
}

async function check(op: string, k: Case, attrs: Record<string, AttrSpec>, pool: (w: ReturnType<typeof contents>[0]) => number): Promise<void> {
  const x = hostFrom(f32, [2, 3, height, width], seededRandom(5));
  const want = Array.from({ length: 6 }, (_, p) => contents(k, x, p).map(pool)).flat();
  for (const dims of [
    [2, 3, height, width],
    ["n", 3, "h", "w"],
  ]) {
    const m: ModelSpec = {
      opset: 22,
      inputs: { x: ["f32", dims] },
      nodes: [
        {
          op,
          in: ["x"],
          out: ["y"],
          attrs: {
            kernel_shape: kernel,
            strides: k.strides,
            ...(k.dilations === undefined ? {} : { dilations: k.dilations }),
            ...(k.pads === undefined ? {} : { pads: k.pads }),
            ...(k.auto === undefined ? {} : { auto_pad: k.auto }),
            ...(k.ceil === true ? { ceil_mode: 1 } : {}),
            ...attrs,
          },
        },
      ],
      outputs: ["y"],
    };
    for (const [y] of await runBoth(m, [x])) {
      expect(y?.data.length).toBe(want.length);
      expect(Math.max(...want.map((v, i) => Math.abs(v - Number(y?.data[i]))))).toBeLessThan(1e-6);
    }
  }
}

const sum = (w: ReturnType<typeof contents>[0], f: (v: number) => number): number => w.elements.reduce((s, e) => s + f(e.v), 0);
const cases: readonly (readonly [string, Case])[] = [
  ["with padding", { strides: [2, 3], pads: [1, 0, 1, 1] }],
  ["with a last window that sticks out", { strides: [2, 3], pads: [1, 0, 1, 1], ceil: true }],
  ["with holes, and a last window that sticks out", { strides: [3, 2], dilations: [2, 3], pads: [1, 1, 1, 1], ceil: true }],
  ["padded at the end to ⌈size / stride⌉", { strides: [3, 2], auto: "SAME_UPPER" }],
  ["padded at the start to ⌈size / stride⌉", { strides: [2, 1], dilations: [2, 2], auto: "SAME_LOWER" }],
];

describe.each(cases)("windows %s, of known and symbolic sizes", (_, k) => {
  test("MaxPool", () => check("MaxPool", k, {}, (w) => Math.max(...w.elements.map((e) => e.v))));
  test("AveragePool of what exists", () => check("AveragePool", k, {}, (w) => sum(w, (v) => v) / w.elements.length));
  test("AveragePool with the padding", () => check("AveragePool", k, { count_include_pad: 1 }, (w) => sum(w, (v) => v) / w.places));
  test("LpPool", () => check("LpPool", k, { p: 3 }, (w) => Math.cbrt(sum(w, (v) => Math.abs(v) ** 3))));
});

const orders = [0, 1].flatMap((order) => [false, true].map((ceil) => [order, ceil] as const));
test.each(orders)("MaxPool's indices in storage order %i, ceil %s: the first of equal elements", async (order, ceil) => {
  const k: Case = { strides: [2, 3], pads: [1, 0, 1, 1], ceil };
  // Few different values, so that many windows hold their largest element more than once.
  const random = seededRandom(8);
  const x = hostFrom(f32, [2, 3, height, width], () => [Number.NEGATIVE_INFINITY, 1, 2][Math.floor(3 * random() ** 4)] as number);
  const want = Array.from({ length: 6 }, (_, plane) =>
    contents(k, x, plane).map(({ elements }) => {
      const best = elements.reduce((a, b) => (b.v > a.v ? b : a));
      return plane * height * width + (order === 0 ? best.row * width + best.column : best.column * height + best.row);
    }),
  ).flat();
  const m: ModelSpec = {
    opset: 22,
    inputs: { x: ["f32", ["n", 3, "h", "w"]] },
    nodes: [
      {
        op: "MaxPool",
        in: ["x"],
        out: ["y", "i"],
        attrs: { kernel_shape: kernel, strides: k.strides, pads: k.pads as readonly number[], storage_order: order, ceil_mode: Number(ceil) },
      },
    ],
    outputs: ["y", "i"],
  };
  for (const [, i] of await runBoth(m, [x])) expect(Array.from(i?.data ?? [], Number)).toEqual(want);
});
