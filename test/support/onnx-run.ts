import { compileGraph } from "../../src/compile.ts";
import { type ImportOptions, importOnnx } from "../../src/frontends/onnx/import.ts";
import type { HostTensor } from "../../src/graph/host.ts";
import { interpretGraph } from "../../src/graph/interpret.ts";
import { type ModelSpec, model } from "./onnx.ts";
import { runInWasm } from "./run.ts";

/** What a small ONNX model gives, by the graph interpreter and as WASM. */
export async function runBoth(m: ModelSpec, inputs: readonly HostTensor[], options: ImportOptions = {}): Promise<readonly (readonly HostTensor[])[]> {
  const { graph } = importOnnx(model(m), options);
  return [interpretGraph(graph, inputs), await runInWasm(compileGraph(graph), inputs, false)];
}
