import { printGraph } from "../graph/print.ts";
import type { Source } from "../importer.ts";
import { printProgram } from "../loop/print.ts";
import { printTensor } from "../tensor/print.ts";

/** The IR text of a model as it was read, before any pass. */
export function sourceText(s: Source): string {
  switch (s.kind) {
    case "graph":
      return printGraph(s.graph);
    case "tensor":
      return printTensor(s.function);
    case "program":
      return printProgram(s.program);
    default:
      throw s satisfies never;
  }
}
