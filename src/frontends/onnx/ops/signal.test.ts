import { describe, expect, test } from "vitest";
import type { ModelSpec } from "../../../../test/support/onnx.ts";
import { runBoth } from "../../../../test/support/onnx-run.ts";
import { f32, i64 } from "../../../base/dtype.ts";
import { type HostTensor, hostFrom } from "../../../graph/host.ts";
import { seededRandom } from "../../../schedule/random.ts";

type Complex = readonly [number, number];

/** The definition: bins of complex samples, in double precision. */
function bins(x: readonly Complex[], sign: 1 | -1): Complex[] {
  const n = x.length;
  return x.map((_, k) => {
    let [re, im] = [0, 0];
    x.forEach(([a, b], j) => {
      const angle = (sign * 2 * Math.PI * ((j * k) % n)) / n;
      re += a * Math.cos(angle) - b * Math.sin(angle);
      im += a * Math.sin(angle) + b * Math.cos(angle);
    });
    return sign === 1 ? [re / n, im / n] : [re, im];
  });
}
function samples(t: HostTensor, row: number, n: number, parts: number): Complex[] {
  const at = (j: number, p: number) => (p < parts ? Number(t.data[(row * n + j) * parts + p]) : 0);
  return Array.from({ length: n }, (_, j) => [at(j, 0), at(j, 1)]);
}
const dft = (attrs: Record<string, number>, dims: readonly (number | string)[]): ModelSpec => ({
  inputs: { x: ["f32", dims] },
  nodes: [{ op: "DFT", in: ["x"], out: ["y"], attrs: { axis: 1, ...attrs } }],
  outputs: ["y"],
});

/** Largest difference, in relation to the largest expected value. */
function expectClose(got: HostTensor | undefined, want: readonly number[]): void {
  const scale = Math.max(...want.map(Math.abs));
  expect(got?.data.length).toBe(want.length);
  const worst = Math.max(...want.map((w, i) => Math.abs(Number(got?.data[i]) - w)));
  expect(worst).toBeLessThanOrEqual(1e-6 * scale);
}

describe("DFT", () => {
  // By one matrix; by factors (700 = 25 · 28); by a chirp for a large prime (734 = 2 · 367).
  test.each([1, 2, 5, 16, 700, 734])("of %i complex samples, and back", async (n) => {
    const x = hostFrom(f32, [2, n, 2], seededRandom(n));
    for (const inverse of [0, 1]) {
      const want = [0, 1].flatMap((row) => bins(samples(x, row, n, 2), inverse === 1 ? 1 : -1).flat());
      for (const [y] of await runBoth(dft({ inverse }, [2, n, 2]), [x])) expectClose(y, want);
    }
  });
  test.each([8, 9, 1000])("of %i real samples, one side", async (n) => {
    const x = hostFrom(f32, [2, n, 1], seededRandom(n));
    const want = [0, 1].flatMap((row) =>
      bins(samples(x, row, n, 1), -1)
        .slice(0, Math.floor(n / 2) + 1)
        .flat(),
    );
    for (const [y] of await runBoth(dft({ onesided: 1 }, [2, n, 1]), [x])) expectClose(y, want);
  });
  test.each([5, 513])("of one side with %i bins to real samples", async (n) => {
    const x = hostFrom(f32, [1, n, 2], seededRandom(n));
    const side = samples(x, 0, n, 2).map(([re, im], k): Complex => [re, k === 0 || k === n - 1 ? 0 : im]);
    const mirrored = side.slice(1, -1).reverse();
    const all = [...side, ...mirrored.map(([re, im]): Complex => [re, -im])];
    for (const [y] of await runBoth(dft({ inverse: 1, onesided: 1 }, [1, n, 2]), [x]))
      expectClose(
        y,
        bins(all, 1).map(([re]) => re),
      );
  });
  test("of a symbolic number of samples", async () => {
    for (const n of [6, 45]) {
      const x = hostFrom(f32, [1, n, 1], seededRandom(n));
      for (const [y] of await runBoth(dft({}, [1, "n", 1]), [x])) expectClose(y, bins(samples(x, 0, n, 1), -1).flat());
    }
  });
});

describe("STFT", () => {
  const n = 16;
  const x = hostFrom(f32, [1, 100, 1], seededRandom(3));
  const window = hostFrom(f32, [n], (i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / n));
  const want = Array.from({ length: 1 + Math.floor((100 - n) / 7) }, (_, f) =>
    bins(
      Array.from({ length: n }, (_, j) => [Number(x.data[f * 7 + j]) * Number(window.data[j]), 0] as const),
      -1,
    ).slice(0, n / 2 + 1),
  ).flat(2);
  test("of a known step is a convolution, and of a step from data gathers frames", async () => {
    const node = { op: "STFT", in: ["x", "step", "window"], out: ["y"] };
    const known: ModelSpec = {
      inputs: { x: ["f32", [1, 100, 1]], window: ["f32", [n]] },
      initializers: { step: { dtype: "i64", dims: [], values: [7] } },
      nodes: [node],
      outputs: ["y"],
    };
    for (const [y] of await runBoth(known, [x, window])) expectClose(y, want);
    const data: ModelSpec = { inputs: { x: ["f32", [1, 100, 1]], step: ["i64", []], window: ["f32", [n]] }, nodes: [node], outputs: ["y"] };
    for (const [y] of await runBoth(data, [x, hostFrom(i64, [], () => 7n), window])) expectClose(y, want);
  });
});

describe("sizes that are known and sizes from data give the same", () => {
  test.each(["HannWindow", "HammingWindow", "BlackmanWindow"])("%s", async (op) => {
    const node = { op, in: ["size"], out: ["y"], attrs: { periodic: 0 } };
    const known: ModelSpec = { inputs: {}, initializers: { size: { dtype: "i64", dims: [], values: [25] } }, nodes: [node], outputs: ["y"] };
    const [[a]] = (await runBoth(known, [])) as [[HostTensor]];
    expect(a.data[12]).toBeCloseTo(1, 6);
    const data: ModelSpec = { inputs: { size: ["i64", []] }, nodes: [node], outputs: ["y"] };
    for (const [y] of await runBoth(data, [hostFrom(i64, [], () => 25n)])) expectClose(y, Array.from(a.data, Number));
  });
  test("MelWeightMatrix", async () => {
    const numbers = { bands: 8n, length: 64n, rate: 8192n };
    const names = [...Object.keys(numbers), "low", "high"];
    const node = { op: "MelWeightMatrix", in: names, out: ["y"] };
    const int = (v: bigint) => ({ dtype: "i64", dims: [], values: [Number(v)] }) as const;
    const float = (v: number) => ({ dtype: "f32", dims: [], values: [v] }) as const;
    const known: ModelSpec = {
      inputs: {},
      initializers: { bands: int(8n), length: int(64n), rate: int(8192n), low: float(100), high: float(3900) },
      nodes: [node],
      outputs: ["y"],
    };
    const [[a]] = (await runBoth(known, [])) as [[HostTensor]];
    expect(a.dims).toEqual([33, 8]);
    const data: ModelSpec = {
      inputs: { bands: ["i64", []], length: ["i64", []], rate: ["i64", []], low: ["f32", []], high: ["f32", []] },
      nodes: [node],
      outputs: ["y"],
    };
    const inputs = [...Object.values(numbers).map((v) => hostFrom(i64, [], () => v)), hostFrom(f32, [], () => 100), hostFrom(f32, [], () => 3900)];
    for (const [y] of await runBoth(data, inputs)) expectClose(y, Array.from(a.data, Number));
  });
});
