import type { GraphFunction } from "../ir.ts";
import { decomposeComposites } from "./decompose.ts";

export interface GraphPass {
  readonly name: string;
  readonly doc: string;
  readonly run: (f: GraphFunction, rules: Map<string, number>) => GraphFunction;
}

/** The passes on graph IR, in order. */
export const graphPasses: readonly GraphPass[] = [{ name: "decompose-composites", doc: "Composites become core ops.", run: decomposeComposites }];
