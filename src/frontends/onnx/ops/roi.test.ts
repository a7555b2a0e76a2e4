import { expect, test } from "vitest";
import type { ModelSpec } from "../../../../test/support/onnx.ts";
import { runBoth } from "../../../../test/support/onnx-run.ts";
import { f32, i64 } from "../../../base/dtype.ts";
import { type HostTensor, hostFrom } from "../../../graph/host.ts";
import { seededRandom } from "../../../schedule/random.ts";

const [channels, height, width] = [2, 10, 12];
const regions = [
  [1.5, 2.2, 7.9, 8.1],
  [-3, -2, 6, 4.5],
  [4, 1, 4.4, 1.2],
  [5, 6, 20, 17],
];
const images = [0, 1, 1, 0];
const bins = [3, 2] as const;
const image = hostFrom(f32, [2, channels, height, width], seededRandom(3));
const at = (n: number, c: number, row: number, column: number): number => Number(image.data[((n * channels + c) * height + row) * width + column]);

/** The four neighbours of a place with their bilinear weights; nothing beyond one element outside of the image. */
function corners(y: number, x: number): { row: number; column: number; weight: number }[] {
  if (y < -1 || y > height || x < -1 || x > width) return [];
  const axis = (v: number, n: number) => {
    const inside = Math.max(0, Math.min(n - 1, v));
    const low = Math.floor(inside);
    return [
      { i: low, w: 1 - (inside - low) },
      { i: Math.min(n - 1, low + 1), w: inside - low },
    ];
  };
  return axis(y, height).flatMap((a) => axis(x, width).map((b) => ({ row: a.i, column: b.i, weight: a.w * b.w })));
}

function pooled(mode: "avg" | "max", ratio: number): number[] {
  return regions.flatMap(([x1, y1, x2, y2], r) => {
    const start = [Number(y1) - 0.5, Number(x1) - 0.5] as const;
    const bin = [(Number(y2) - Number(y1)) / bins[0], (Number(x2) - Number(x1)) / bins[1]] as const;
    const samples = bin.map((b) => (ratio > 0 ? ratio : Math.ceil(b))) as [number, number];
    return Array.from({ length: channels }, (_, c) =>
      Array.from({ length: bins[0] }, (_, py) =>
        Array.from({ length: bins[1] }, (_, px) => {
          const values: number[] = [];
          for (let i = 0; i < samples[0]; i++) {
            for (let j = 0; j < samples[1]; j++) {
              const y = start[0] + bin[0] * (py + (i + 0.5) / samples[0]);
              const x = start[1] + bin[1] * (px + (j + 0.5) / samples[1]);
              const terms = corners(y, x).map((k) => k.weight * at(images[r] as number, c, k.row, k.column));
              values.push(mode === "avg" ? terms.reduce((a, b) => a + b, 0) : Math.max(...(terms.length === 0 ? [0] : terms)));
            }
          }
          return mode === "avg" ? values.reduce((a, b) => a + b, 0) / values.length : Math.max(...values);
        }),
      ),
    ).flat(2);
  });
}

function expectClose(y: HostTensor | undefined, want: readonly number[]): void {
  expect(y?.data.length).toBe(want.length);
  expect(Math.max(...want.map((v, i) => Math.abs(v - Number(y?.data[i]))))).toBeLessThan(2e-6);
}

// 2 × 2 samples are written out, 3 × 3 taken in a loop; 0 is as many as a bin has elements, which differs from region to region.
test.each([0, 1, 2, 3].flatMap((ratio) => [["avg", ratio] as const, ["max", ratio] as const]))("RoiAlign: %s of %i samples", async (mode, ratio) => {
  const m: ModelSpec = {
    opset: 16,
    inputs: { x: ["f32", ["n", channels, "h", "w"]], rois: ["f32", ["r", 4]], at: ["i64", ["r"]] },
    nodes: [
      { op: "RoiAlign", in: ["x", "rois", "at"], out: ["y"], attrs: { mode, sampling_ratio: ratio, output_height: bins[0], output_width: bins[1] } },
    ],
    outputs: ["y"],
  };
  const rois = hostFrom(f32, [4, 4], (i) => regions[Math.floor(i / 4)]?.[i % 4] as number);
  const where = hostFrom(i64, [4], (i) => BigInt(images[i] as number));
  for (const [y] of await runBoth(m, [image, rois, where])) expectClose(y, pooled(mode, ratio));
});

test("MaxRoiPool: the largest element of bins of whole elements, 0 where there are none", async () => {
  const m: ModelSpec = {
    opset: 16,
    inputs: { x: ["f32", [2, channels, height, width]], rois: ["f32", ["r", 5]] },
    nodes: [{ op: "MaxRoiPool", in: ["x", "rois"], out: ["y"], attrs: { pooled_shape: bins } }],
    outputs: ["y"],
  };
  const boxes = [
    [0, 1, 2, 7, 8],
    [1, 4, 1, 4, 1],
    [1, 9, 8, 30, 40],
    [0, 2.6, 3.4, 5.5, 9],
  ];
  const rois = hostFrom(f32, [4, 5], (i) => boxes[Math.floor(i / 5)]?.[i % 5] as number);
  const want = boxes.flatMap(([n, ...box]) => {
    const [x1, y1, x2, y2] = box.map(Math.round) as [number, number, number, number];
    const span = (start: number, end: number, count: number, p: number, limit: number): [number, number] => {
      const size = Math.max(1, end - start + 1) / count;
      const clamp = (v: number): number => Math.max(0, Math.min(limit, v));
      return [clamp(start + Math.floor(p * size)), clamp(start + Math.ceil((p + 1) * size))];
    };
    return Array.from({ length: channels * bins[0] * bins[1] }, (_, k) => {
      const [c, py, px] = [Math.floor(k / (bins[0] * bins[1])), Math.floor(k / bins[1]) % bins[0], k % bins[1]];
      const [[top, bottom], [left, right]] = [span(y1, y2, bins[0], py, height), span(x1, x2, bins[1], px, width)];
      let best = Number.NEGATIVE_INFINITY;
      for (let row = top; row < bottom; row++)
        for (let column = left; column < right; column++) best = Math.max(best, at(n as number, c, row, column));
      return best === Number.NEGATIVE_INFINITY ? 0 : best;
    });
  });
  for (const [y] of await runBoth(m, [image, rois])) expectClose(y, want);
});
