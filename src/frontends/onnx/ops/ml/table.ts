import type { OpTable } from "../../context.ts";
import { labelOps, refused } from "./labels.ts";
import { linearOps } from "./linear.ts";
import { scalingOps } from "./scaling.ts";
import { svmOps } from "./svm.ts";
import { treeOps } from "./trees.ts";

/** The ops of `ai.onnx.ml`, classical models; strings are not supported. */
export const mlOps: OpTable = {
  ...labelOps,
  ...refused,
  ...linearOps,
  ...scalingOps,
  ...svmOps,
  ...treeOps,
};
