import { describe, expect, test } from "vitest";
import type { AttrSpec, ModelSpec } from "../../../../test/support/onnx.ts";
import { runBoth } from "../../../../test/support/onnx-run.ts";
import { bool, f32 } from "../../../base/dtype.ts";
import { type HostTensor, hostFrom } from "../../../graph/host.ts";

const n = 20_000;
const single = (op: string, attrs: Record<string, AttrSpec>, out: readonly string[] = ["y"]): ModelSpec => ({
  opset: 22,
  inputs: {},
  nodes: [{ op, in: [], out, attrs }],
  outputs: out,
});
const numbers = (t: HostTensor | undefined): number[] => Array.from(t?.data ?? [], Number);
const mean = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0) / x.length;
const moment = (x: readonly number[], k: number): number => {
  const m = mean(x);
  return mean(x.map((v) => (v - m) ** k));
};
/** Both executions give the same, the floats up to the last places. */
async function drawn(m: ModelSpec, inputs: readonly HostTensor[] = []): Promise<number[]> {
  const [a, b] = (await runBoth(m, inputs)).map((r) => numbers(r[0])) as [number[], number[]];
  a.forEach((v, i) => void expect(Math.abs(v - (b[i] as number))).toBeLessThanOrEqual(1e-5 * Math.max(1, Math.abs(v))));
  return b;
}

describe("random numbers", () => {
  test("uniform ones fill their range evenly", async () => {
    const x = await drawn(single("RandomUniform", { shape: [n], low: { float: -1 }, high: { float: 3 }, seed: { float: 7 } }));
    expect(Math.min(...x)).toBeGreaterThanOrEqual(-1);
    expect(Math.max(...x)).toBeLessThanOrEqual(3);
    const counts = Array.from({ length: 8 }, (_, k) => x.filter((v) => v >= -1 + k / 2 && v < -0.5 + k / 2).length);
    // Each count is binomial, with a deviation of 47; six of them.
    for (const c of counts) expect(Math.abs(c - n / 8)).toBeLessThan(280);
  });
  test("normal ones have the moments of the normal distribution", async () => {
    const x = await drawn(single("RandomNormal", { shape: [n], mean: { float: 2 }, scale: { float: 3 } }));
    expect(Math.abs(mean(x) - 2)).toBeLessThan((6 * 3) / Math.sqrt(n));
    expect(Math.abs(Math.sqrt(moment(x, 2)) - 3)).toBeLessThan((6 * 3) / Math.sqrt(2 * n));
    expect(Math.abs(moment(x, 3) / 27)).toBeLessThan(6 * Math.sqrt(6 / n));
    expect(Math.abs(moment(x, 4) / 81 - 3)).toBeLessThan(6 * Math.sqrt(24 / n));
  });
  test("a seed decides them, and without one the name of the output does", async () => {
    const uniform = (attrs: Record<string, AttrSpec>, out = "y") => drawn(single("RandomUniform", { shape: [8], ...attrs }, [out]));
    const [a, again, b, unnamed, other] = await Promise.all([
      uniform({ seed: { float: 1 } }),
      uniform({ seed: { float: 1 } }, "z"),
      uniform({ seed: { float: 2 } }),
      uniform({}),
      uniform({}, "z"),
    ]);
    expect(again).toEqual(a);
    expect(b).not.toEqual(a);
    expect(unnamed).not.toEqual(other);
  });
  test("Bernoulli draws ones as often as it is told", async () => {
    const p = hostFrom(f32, [4, n / 4], (i) => [0, 0.2, 0.7, 1][Math.floor(i / (n / 4))] as number);
    const m: ModelSpec = { opset: 15, inputs: { p: ["f32", [4, n / 4]] }, nodes: [{ op: "Bernoulli", in: ["p"], out: ["y"] }], outputs: ["y"] };
    const x = await drawn(m, [p]);
    const share = (row: number) => mean(x.slice((row * n) / 4, ((row + 1) * n) / 4));
    expect([share(0), share(3)]).toEqual([0, 1]);
    expect(Math.abs(share(1) - 0.2)).toBeLessThan(6 * Math.sqrt(0.16 / (n / 4)));
    expect(Math.abs(share(2) - 0.7)).toBeLessThan(6 * Math.sqrt(0.21 / (n / 4)));
  });
  test("Multinomial draws classes by their log-probabilities", async () => {
    const p = [0.5, 0.25, 0, 0.25];
    const x = hostFrom(f32, [1, 4], (i) => (p[i] === 0 ? Number.NEGATIVE_INFINITY : Math.log(p[i] as number) + 5));
    const node = { op: "Multinomial", in: ["x"], out: ["y"], attrs: { sample_size: 4000 } };
    const y = await drawn({ inputs: { x: ["f32", [1, 4]] }, nodes: [node], outputs: ["y"] }, [x]);
    p.forEach((share, k) => {
      const got = y.filter((v) => v === k).length / 4000;
      expect(Math.abs(got - share)).toBeLessThanOrEqual(6 * Math.sqrt((share * (1 - share)) / 4000));
    });
  });
});

describe("Dropout", () => {
  const x = hostFrom(f32, [n], (i) => i + 1);
  const m: ModelSpec = {
    opset: 13,
    inputs: { x: ["f32", [n]], ratio: ["f32", []], training: ["bool", []] },
    nodes: [{ op: "Dropout", in: ["x", "ratio", "training"], out: ["y", "mask"], attrs: { seed: 3 } }],
    outputs: ["y", "mask"],
  };
  const give = (ratio: number, training: number) => runBoth(m, [x, hostFrom(f32, [], () => ratio), hostFrom(bool, [], () => training)]);

  test("drops in training, and makes up for it", async () => {
    for (const [y, mask] of await give(0.25, 1)) {
      const kept = numbers(mask);
      expect(Math.abs(mean(kept) - 0.75)).toBeLessThan(6 * Math.sqrt(0.1875 / n));
      numbers(y).forEach((v, i) => void expect(Math.abs(v - ((kept[i] as number) * (i + 1)) / 0.75)).toBeLessThanOrEqual(1e-6 * (i + 1)));
    }
  });
  test("passes everything on where training is off when the model runs", async () => {
    for (const [y, mask] of await give(0.25, 0)) {
      expect(numbers(y)).toEqual(numbers(x));
      expect(mean(numbers(mask))).toBe(1);
    }
  });
});
