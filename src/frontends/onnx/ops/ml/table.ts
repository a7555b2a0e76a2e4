import type { OpTable } from "../../context.ts";
import { treeOps } from "./trees.ts";

/** The ops of `ai.onnx.ml`, classical models; strings are not supported. */
export const mlOps: OpTable = {
  ...treeOps,
};
