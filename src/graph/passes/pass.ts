import type { GraphFunction } from "../ir.ts";

export interface GraphPass {
  readonly name: string;
  readonly doc: string;
  /** A pure function; the same object when nothing changed. Counts the rules that fired, by name, and its work. */
  readonly run: (f: GraphFunction, rules: Map<string, number>) => GraphFunction;
}
