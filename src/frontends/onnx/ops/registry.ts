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
import { ownDomainOps } from "./microsoft/normalization.ts";
import { microsoftOps } from "./microsoft/table.ts";
import { mlOps } from "./ml/table.ts";

/** The opset versions that are read. Mappings are written for 7 on; what differs before is in `legacy.ts`. */
export const oldestOpset = 1;
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

/** Mappings by domain (the default one is ""); versions are those of the domain's own opset. */
const domains: Readonly<Record<string, readonly OpTable[]>> = {
  "": [...families, ownDomainOps],
  "ai.onnx.preview": [previewAttentionOps],
  "com.microsoft": [microsoftOps],
  "ai.onnx.ml": [mlOps],
};
const tables = new Map(Object.entries(domains).map(([d, list]) => [d, new Map(list.flatMap((t) => Object.entries(t)))]));

/** Are ops of the domain read at all? */
export function hasMappings(domain: string): boolean {
  return tables.has(domain);
}
/** The mapping of an op of a domain, or null. */
export function findMapping(opType: string, domain: string): OpMapping | null {
  return tables.get(domain)?.get(opType) ?? null;
}
