import type { OpMapping, OpTable } from "../context.ts";
import { tfidfOps } from "./tfidf.ts";
import { decoderOps } from "./decoder.ts";
import { signalOps } from "./signal.ts";
import { linalgOps } from "./linalg.ts";
import { lossOps } from "./loss.ts";
import { randomOps } from "./random.ts";
import { attentionOps, previewAttentionOps } from "./attention.ts";
import { controlOps } from "./control.ts";
import { elementwiseOps } from "./elementwise.ts";
import { indexingOps } from "./indexing.ts";
import { matmulOps } from "./matmul.ts";
import { nnOps } from "./nn.ts";
import { normalizationOps } from "./normalization.ts";
import { quantizationOps } from "./quantization.ts";
import { poolingOps } from "./pooling.ts";
import { recurrentOps } from "./recurrent.ts";
import { reductionOps } from "./reduction.ts";
import { resizeOps } from "./resize.ts";
import { selectionOps } from "./selection.ts";
import { sequenceOps } from "./sequence.ts";
import { shapeOps } from "./shape.ts";
import { slicingOps } from "./slicing.ts";
import { sortingOps } from "./sorting.ts";
import { paddingOps } from "./padding.ts";
import { generatorOps } from "./generators.ts";
import { visionOps } from "./vision.ts";

/** The opset versions that are read. Mappings are written for 7 on; what differs in 6 is in `legacy.ts`. */
export const oldestOpset = 6;
export const newestOpset = 28;

const families: readonly OpTable[] = [
  elementwiseOps,
  shapeOps,
  slicingOps,
  paddingOps,
  generatorOps,
  indexingOps,
  matmulOps,
  nnOps,
  poolingOps,
  reductionOps,
  normalizationOps,
  controlOps,
  tfidfOps,
  decoderOps,
  signalOps,
  linalgOps,
  lossOps,
  randomOps,
  attentionOps,
  quantizationOps,
  recurrentOps,
  resizeOps,
  selectionOps,
  sequenceOps,
  sortingOps,
  visionOps,
];
const byName = new Map(families.flatMap((t) => Object.entries(t)));

const domains: Readonly<Record<string, ReadonlyMap<string, OpMapping>>> = {
  "": byName,
  "ai.onnx.preview": new Map(Object.entries(previewAttentionOps)),
};

/** The mapping of an op of a domain (the default one is ""), or null. */
export function findMapping(opType: string, domain: string): OpMapping | null {
  return (Object.hasOwn(domains, domain) ? domains[domain]?.get(opType) : null) ?? null;
}
