import type { GraphFunction } from "../../src/graph/ir.ts";

export function launchBytes(
  launches: readonly { readonly origin: readonly string[] }[],
  times: readonly number[],
  graph: GraphFunction,
): readonly (number | null)[];
