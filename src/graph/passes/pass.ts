import type { GraphFunction, Op } from "../ir.ts";

export interface GraphPass {
  readonly name: string;
  readonly doc: string;
  /** A pure function; the same object when nothing changed. Counts the rules that fired, by name, and its work. */
  readonly run: (f: GraphFunction, rules: Map<string, number>) => GraphFunction;
  /** Says of an op that must be gone after it, for good, why; the verifier holds it to that. */
  readonly removes?: (op: Op) => string | null;
}
