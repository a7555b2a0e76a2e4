import { describe, expect, test } from "vitest";
import { type AttrSpec, type ModelSpec, failure } from "../../../../test/support/onnx.ts";
import { runBoth } from "../../../../test/support/onnx-run.ts";
import { f32, i64, u8 } from "../../../base/dtype.ts";
import { type HostTensor, hostFrom } from "../../../graph/host.ts";
import { seededRandom } from "../../../schedule/random.ts";

interface Case {
  readonly mode: "nearest" | "linear" | "cubic";
  readonly coordinates?: string;
  readonly nearest?: "floor" | "ceil" | "round_prefer_floor" | "round_prefer_ceil";
  readonly antialias?: boolean;
  readonly excludeOutside?: boolean;
}

/** Where point `o` of `to` points lies on an axis of `from` elements, by ONNX's formulas. */
function place(k: Case, o: number, from: number, to: number, scale: number): number {
  const length = scale * from;
  switch (k.coordinates ?? "half_pixel") {
    case "asymmetric":
      return o / scale;
    case "align_corners":
      return length === 1 ? 0 : (o * (from - 1)) / (length - 1);
    case "pytorch_half_pixel":
      return length === 1 ? -0.5 : (o + 0.5) / scale - 0.5;
    case "half_pixel_symmetric":
      return (from / 2) * (1 - to / length) + (o + 0.5) / scale - 0.5;
    default:
      return (o + 0.5) / scale - 0.5;
  }
}

/** One axis resized by the definition: all elements, each weighted by the kernel at its distance. */
function resized(k: Case, x: readonly number[], to: number, scale: number): number[] {
  const n = x.length;
  const at = (i: number): number => x[Math.max(0, Math.min(n - 1, i))] as number;
  const whole = {
    floor: Math.floor,
    ceil: Math.ceil,
    round_prefer_floor: (v: number) => Math.ceil(v - 0.5),
    round_prefer_ceil: (v: number) => Math.floor(v + 0.5),
  };
  return Array.from({ length: to }, (_, o) => {
    const p = place(k, o, n, to, scale);
    if (k.mode === "nearest") return at(whole[k.nearest ?? "round_prefer_floor"](p));
    const shrink = k.antialias === true ? Math.min(1, scale) : 1;
    const kernel = (t: number): number => {
      const d = Math.abs(t);
      if (k.mode === "linear") return Math.max(0, 1 - d);
      return d <= 1 ? 1.25 * d ** 3 - 2.25 * d ** 2 + 1 : d < 2 ? -0.75 * d ** 3 + 3.75 * d ** 2 - 6 * d + 3 : 0;
    };
    let [sum, total] = [0, 0];
    for (let i = Math.floor(p) - Math.ceil(2 / shrink) - 1; i <= Math.ceil(p) + Math.ceil(2 / shrink) + 1; i++) {
      if (k.excludeOutside === true && (i < 0 || i >= n)) continue;
      const w = kernel((i - p) * shrink);
      sum += w * at(i);
      total += w;
    }
    return sum / total;
  });
}

/** Rows, then columns. */
function plane(k: Case, x: HostTensor, to: readonly [number, number], scale: readonly [number, number]): number[] {
  const [h, w] = x.dims as [number, number];
  const rows = Array.from({ length: h }, (_, r) => resized(k, Array.from(x.data.slice(r * w, (r + 1) * w) as Float64Array), to[1], scale[1]));
  const columns = Array.from({ length: to[1] }, (_, c) =>
    resized(
      k,
      rows.map((row) => row[c] as number),
      to[0],
      scale[0],
    ),
  );
  return Array.from({ length: to[0] }, (_, r) => columns.map((column) => column[r] as number)).flat();
}

const attrs = (k: Case): Record<string, AttrSpec> => ({
  mode: k.mode,
  coordinate_transformation_mode: k.coordinates ?? "half_pixel",
  ...(k.nearest === undefined ? {} : { nearest_mode: k.nearest }),
  ...(k.antialias === true ? { antialias: 1 } : {}),
  ...(k.excludeOutside === true ? { exclude_outside: 1 } : {}),
});

/** A plane of 9 × 14 elements, resized by what the model holds or by what it is given; of known or symbolic sizes. */
async function check(k: Case, to: { readonly sizes: readonly [number, number] } | { readonly scales: readonly [number, number] }): Promise<void> {
  const dims = [9, 14] as const;
  const x = hostFrom(f32, dims, seededRandom(11));
  const bySize = "sizes" in to;
  const scale = bySize ? ([to.sizes[0] / 9, to.sizes[1] / 14] as const) : to.scales;
  const size = bySize ? to.sizes : ([Math.floor(9 * to.scales[0]), Math.floor(14 * to.scales[1])] as const);
  const want = plane(k, x, size, scale);
  const values = bySize ? to.sizes : to.scales;
  for (const symbolic of [false, true]) {
    for (const byData of [false, true]) {
      const m: ModelSpec = {
        opset: 19,
        inputs: {
          x: ["f32", symbolic ? ["h", "w"] : dims],
          ...(byData ? { by: [bySize ? "i64" : "f32", [2]] as const } : {}),
        },
        initializers: byData ? {} : { by: { dtype: bySize ? "i64" : "f32", dims: [2], values } },
        nodes: [{ op: "Resize", in: bySize ? ["x", "", "", "by"] : ["x", "", "by"], out: ["y"], attrs: attrs(k) }],
        outputs: ["y"],
      };
      const by = hostFrom(bySize ? i64 : f32, [2], (i) => (bySize ? BigInt(values[i] as number) : (values[i] as number)));
      for (const [y] of await runBoth(m, byData ? [x, by] : [x])) {
        expect(y?.dims).toEqual(size);
        expect(Math.max(...want.map((v, i) => Math.abs(v - Number(y?.data[i]))))).toBeLessThan(2e-6);
      }
    }
  }
}

describe("Resize gives what its formulas say, of known and symbolic sizes, by constants and by data", () => {
  test.each(["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"])("linear, %s", (coordinates) =>
    check({ mode: "linear", coordinates }, { sizes: [20, 6] }),
  );
  test.each(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"] as const)("nearest, %s", (nearest) =>
    check({ mode: "nearest", coordinates: "asymmetric", nearest }, { sizes: [23, 5] }),
  );
  test("nearest by whole factors", () => check({ mode: "nearest", nearest: "floor", coordinates: "asymmetric" }, { scales: [2, 3] }));
  test("nearest by halves", () => check({ mode: "nearest" }, { scales: [1, 0.5] }));
  test("cubic by scales that are no fractions of small powers of two", () => check({ mode: "cubic" }, { scales: [1.7, 0.6] }));
  test("cubic without what lies outside", () => check({ mode: "cubic", excludeOutside: true }, { sizes: [13, 21] }));
  test("linear with antialiasing", () => check({ mode: "linear", antialias: true }, { sizes: [4, 20] }));
  test("cubic with antialiasing over so many elements that a reduction sums them", () =>
    check({ mode: "cubic", antialias: true }, { sizes: [1, 2] }));
});

test("integers are rounded to the nearest and kept in range", async () => {
  const m: ModelSpec = {
    opset: 19,
    inputs: { x: ["u8", [1, 4]] },
    initializers: { by: { dtype: "f32", dims: [2], values: [1, 2] } },
    nodes: [{ op: "Resize", in: ["x", "", "by"], out: ["y"], attrs: { mode: "cubic" } }],
    outputs: ["y"],
  };
  const x = hostFrom(u8, [1, 4], (i) => [0, 255, 255, 0][i] as number);
  const want = resized({ mode: "cubic" }, [0, 255, 255, 0], 8, 2).map((v) => Math.max(0, Math.min(255, Math.round(v))));
  for (const [y] of await runBoth(m, [x])) expect(Array.from(y?.data ?? [], Number)).toEqual(want);
});

test("a scale of zero is an error that says so", () => {
  const m: ModelSpec = {
    inputs: { x: ["f32", [2, 3]] },
    initializers: { by: { dtype: "f32", dims: [2], values: [1, 0] } },
    nodes: [{ op: "Resize", in: ["x", "", "by"], out: ["y"], attrs: { mode: "linear" } }],
    outputs: ["y"],
  };
  expect(failure(m).message).toContain("scale 0 of axis 1, expected more than 0");
});
