import type { Capabilities } from "../../base/machine.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import type { TensorFunction } from "../ir.ts";
import { fuseEpilogues } from "./fuse-epilogues.ts";
import { fuseSiblings } from "./fuse-siblings.ts";
import { fuseRowBlocks } from "./fuse-row-blocks.ts";
import { growInPlace } from "./grow-in-place.ts";
import { groupRows } from "./group-rows.ts";
import { pairIntegers } from "./pair-integers.ts";
import { placeViews } from "./place-views.ts";
import { inlineProducers } from "./inline-producers.ts";

export interface TensorPass {
  readonly name: string;
  readonly doc: string;
  readonly run: (sc: Scalars, f: TensorFunction, machine: Capabilities) => TensorFunction;
}

/** The passes on tensor IR, in order. */
export const tensorPasses: readonly TensorPass[] = [
  // While products are written as the graph has them: their factors are single reads, and what they are made of has kernels of its own.
  { name: "pair-integers", doc: "Sums of products of small integers take two at a time.", run: pairIntegers },
  // Pointwise chains first become one stage each, so that a reduction sees its whole epilogue at once.
  {
    name: "inline-pointwise",
    doc: "Pointwise producers are computed in their pointwise readers.",
    run: (sc, f) => inlineProducers(sc, f, "pointwise"),
  },
  { name: "fuse-epilogues", doc: "Pointwise readers of a reduction become its end.", run: fuseEpilogues },
  // What is left may go into reductions: the prologues.
  { name: "inline-producers", doc: "Pointwise producers are computed in whatever reads them.", run: (sc, f) => inlineProducers(sc, f, "all") },
  { name: "place-views", doc: "What is only copied into another tensor is made there.", run: placeViews },
  { name: "group-rows", doc: "Stages over the same rows become one kernel.", run: groupRows },
  { name: "fuse-row-blocks", doc: "Contraction, row-wise chain and contraction (attention) run block by block of rows.", run: fuseRowBlocks },
  // Rows first: a chain over one row already reads it from the cache.
  { name: "fuse-siblings", doc: "Reductions over the same tensor become one stage.", run: fuseSiblings },
];

/** The passes that follow once it is decided where the elements of every tensor lie; they see the function whole, with its steps of the host program. */
export const placementPasses: readonly TensorPass[] = [
  { name: "grow-in-place", doc: "Outputs that are an input with more rows (caches) may lie where that lies.", run: growInPlace },
];
