import { expect, test } from "vitest";
import type { ModelSpec } from "../../../../test/support/onnx.ts";
import { runBoth } from "../../../../test/support/onnx-run.ts";
import { bool, i32 } from "../../../base/dtype.ts";
import { hostFrom } from "../../../graph/host.ts";

test("the norm of integers is rounded towards zero", async () => {
  const node = { op: "ReduceL2", in: ["x", "axes"], out: ["y"], attrs: { keepdims: 0 } };
  const m: ModelSpec = {
    opset: 18,
    inputs: { x: ["i32", [3, 2]] },
    initializers: { axes: { dtype: "i64", dims: [1], values: [1] } },
    nodes: [node],
    outputs: ["y"],
  };
  const x = hostFrom(i32, [3, 2], (i) => [3, 4, -2, 3, 0, 1][i] ?? 0);
  for (const [y] of await runBoth(m, [x])) expect(Array.from(y?.data ?? [], Number)).toEqual([5, 3, 1]);
});

test("truth values that overlap in an image are true where one of them is", async () => {
  const m: ModelSpec = {
    opset: 18,
    inputs: { x: ["bool", [1, 2, 2]] },
    initializers: { image: { dtype: "i64", dims: [2], values: [1, 3] }, block: { dtype: "i64", dims: [2], values: [1, 2] } },
    nodes: [{ op: "Col2Im", in: ["x", "image", "block"], out: ["y"] }],
    outputs: ["y"],
  };
  // Blocks (1, 1) at 0 and (1, 0) at 1: the middle is covered twice.
  const x = hostFrom(bool, [1, 2, 2], (i) => [1, 1, 1, 0][i] ?? 0);
  for (const [y] of await runBoth(m, [x])) {
    expect(y?.dtype).toBe(bool);
    expect(Array.from(y?.data ?? [], Number)).toEqual([1, 1, 0]);
  }
});
