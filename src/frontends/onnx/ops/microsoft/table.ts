import type { OpTable } from "../../context.ts";
import { activationOps } from "./activation.ts";
import { attentionOps } from "./attention.ts";
import { bitOps } from "./bits.ts";
import { codebookOps } from "./codebooks.ts";
import { expertOps } from "./experts.ts";
import { fusedOps } from "./fused.ts";
import { groupedOps } from "./grouped.ts";
import { matrixOps } from "./matrices.ts";
import { normalizationOps } from "./normalization.ts";
import { productOps } from "./products.ts";
import { quantizedOps } from "./quantized.ts";
import { rotaryOps } from "./rotary.ts";
import { tensorOps } from "./tensors.ts";

/** The ops that ONNX Runtime adds in a domain of its own (its contrib_ops documentation describes them). */
export const microsoftOps: OpTable = {
  ...activationOps,
  ...attentionOps,
  ...bitOps,
  ...codebookOps,
  ...expertOps,
  ...fusedOps,
  ...groupedOps,
  ...matrixOps,
  ...normalizationOps,
  ...productOps,
  ...quantizedOps,
  ...rotaryOps,
  ...tensorOps,
};
