import type { Capabilities } from "../../base/machine.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import type { Kernel } from "../ir.ts";
import type { LoopForm } from "../verify.ts";
import { lowerAddresses } from "./addresses.ts";
import { decomposeOps } from "./decompose.ts";
import { expandWords } from "./expand-words.ts";
import { fuseMultiplyAdd } from "./fuse-multiply-add.ts";
import { hoistInvariants } from "./hoist.ts";
import { promoteRegisters } from "./registers.ts";
import { shareSubexpressions } from "./share.ts";
import { unpackBits } from "./unpack-bits.ts";
import { unpackFloats } from "./unpack-floats.ts";
import { unrollLoops } from "./unroll.ts";
import { vectorizeLoops } from "./vectorize.ts";

export interface KernelPass {
  readonly name: string;
  readonly doc: string;
  readonly run: (sc: Scalars, k: Kernel, machine: Capabilities) => Kernel;
  /** Forms that are gone after it, for good; the verifier holds it to that. */
  readonly removes?: readonly LoopForm[];
}

/** The passes that every kernel goes through, in order. */
export const kernelPasses: readonly KernelPass[] = [
  { name: "unpack-bits", doc: "Elements narrower than a byte become parts of bytes.", run: unpackBits, removes: ["packed buffer"] },
  {
    name: "unpack-floats",
    doc: "Floats narrower than 32 bits become f32, rounded after every operation.",
    run: unpackFloats,
    removes: ["narrow float"],
  },
  {
    name: "decompose-ops",
    doc: "Derived scalar ops become core ones; division rounded down becomes truncating division.",
    run: decomposeOps,
    removes: ["derived op", "floor division"],
  },
  { name: "vectorize-loops", doc: "Vector loops become vector expressions.", run: vectorizeLoops, removes: ["vector loop"] },
  {
    name: "expand-words",
    doc: "Ops that only vectors have become others where they stand on scalars.",
    run: expandWords,
    removes: ["scalar word op"],
  },
  { name: "unroll-loops", doc: "Unrolled loops are written out.", run: unrollLoops, removes: ["unrolled loop"] },
  { name: "promote-registers", doc: "Register buffers become variables.", run: promoteRegisters, removes: ["register buffer"] },
  { name: "fuse-multiply-add", doc: "Products that are added become multiply-adds.", run: fuseMultiplyAdd },
  { name: "lower-addresses", doc: "Indices become byte addresses with stepped pointers.", run: lowerAddresses, removes: ["indexed access"] },
  { name: "hoist-invariants", doc: "What a loop does not change moves in front of it.", run: hoistInvariants },
  { name: "share-subexpressions", doc: "What is used twice is computed once.", run: shareSubexpressions },
];
