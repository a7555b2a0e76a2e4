import { defaultPasses } from "../../compile.ts";
import type { Source } from "../../importer.ts";
import { placementPasses } from "../../tensor/passes/pipeline.ts";
import type { Stage } from "../protocol.ts";

/** The steps that are no passes, in words. */
const others: Readonly<Record<string, string>> = {
  source: "The model as it was read, before any pass.",
  "lower-graph": "Operations become stages: every element of a result as an expression of the elements that are read.",
  "assign-layouts": "Decides where the elements of every tensor lie: order of dims, zeros around it, views of other tensors.",
  "choose-schedules": "Decides for every kernel in which loops it runs: tiles, order, vectors, unrolling, packing.",
  "build-loops": "Builds the loops of all kernels, and the host program that launches them.",
  "build-prepare": "Builds the programs that compute packed and folded weights when the model is compiled.",
  "plan-memory": "Gives every intermediate result its place in the arena.",
  "emit-wasm": "Writes the WebAssembly modules.",
};

/** What a step of the compiler is for, in a sentence. */
export function docOf(stage: Stage, name: string): string {
  const passes =
    stage === "graph"
      ? defaultPasses.graph
      : stage === "tensor"
        ? [...defaultPasses.tensor, ...placementPasses]
        : stage === "loop"
          ? defaultPasses.kernel
          : [];
  return passes.find((p) => p.name === name)?.doc ?? others[name] ?? "";
}

/** How many steps it takes to compile a source of a kind. */
export function stepsOf(kind: Source["kind"]): number {
  const { graph, tensor, kernel } = defaultPasses;
  const program = kernel.length + ["plan-memory", "emit-wasm"].length;
  if (kind === "program") return program;
  const between = ["assign-layouts", "choose-schedules", "build-loops", "build-prepare"].length;
  return program + tensor.length + placementPasses.length + between + (kind === "graph" ? ["lower-graph"].length + graph.length : 0);
}
