import { describe, expect, test } from "vitest";
import type { ModelSpec } from "../../../../test/support/onnx.ts";
import { runBoth } from "../../../../test/support/onnx-run.ts";
import { f32 } from "../../../base/dtype.ts";
import { hostFrom } from "../../../graph/host.ts";
import { seededRandom } from "../../../schedule/random.ts";

const model = (dims: readonly (number | string)[]): ModelSpec => ({
  inputs: { x: ["f32", dims] },
  nodes: [{ op: "Det", in: ["x"], out: ["y"] }],
  outputs: ["y"],
});

/** Laplace's expansion, in double precision. */
function det(a: readonly (readonly number[])[]): number {
  if (a.length === 0) return 1;
  const [first = [], ...rest] = a;
  return first.reduce((sum, v, j) => (v === 0 ? sum : sum + (j % 2 === 0 ? v : -v) * det(rest.map((row) => row.toSpliced(j, 1)))), 0);
}
const matrix = (data: ArrayLike<number | bigint>, n: number, b: number): number[][] =>
  Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => Number(data[(b * n + i) * n + j])));

describe("Det", () => {
  test.each([1, 2, 3, 4, 7])("of matrices of %i rows", async (n) => {
    const random = seededRandom(n);
    const x = hostFrom(f32, [2, 2, n, n], () => random() * 4 - 2);
    for (const [y] of await runBoth(model([2, 2, n, n]), [x])) {
      expect(y?.dims).toEqual([2, 2]);
      for (let b = 0; b < 4; b++) {
        const want = det(matrix(x.data, n, b));
        expect(Math.abs(Number(y?.data[b]) - want)).toBeLessThanOrEqual(1e-4 * Math.max(1, Math.abs(want)));
      }
    }
  });
  test("needs rows swapped, or has none to divide by", async () => {
    const n = 4;
    const cases = [
      [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0],
      [0, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 5, 7, 0, 0, 0],
      [1, 2, 3, 4, 2, 4, 6, 8, 1, 0, 0, 1, 0, 1, 1, 0],
      new Array<number>(16).fill(0),
    ];
    const x = hostFrom(f32, [4, n, n], (i) => cases.flat()[i] as number);
    for (const [y] of await runBoth(model(["batch", "n", "n"]), [x]))
      expect(Array.from(y?.data ?? [], Number).map((v) => v + 0)).toEqual([1, -210, 0, 0]);
  });
});
