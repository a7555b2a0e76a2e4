import type { OpTable } from "../../context.ts";
import { activationOps } from "./activation.ts";
import { attentionOps } from "./attention.ts";
import { fusedOps } from "./fused.ts";
import { normalizationOps } from "./normalization.ts";
import { productOps } from "./products.ts";
import { quantizedOps } from "./quantized.ts";

/** The ops that ONNX Runtime adds in a domain of its own (its contrib_ops documentation describes them). */
export const microsoftOps: OpTable = {
  ...activationOps,
  ...attentionOps,
  ...fusedOps,
  ...normalizationOps,
  ...productOps,
  ...quantizedOps,
};
