import type { Scalars } from "../../scalar/scalars.ts";
import type { TensorFunction } from "../ir.ts";

export interface TensorPass {
  readonly name: string;
  readonly doc: string;
  readonly run: (sc: Scalars, f: TensorFunction) => TensorFunction;
}

/** The passes on tensor IR, in order. */
export const tensorPasses: readonly TensorPass[] = [];
