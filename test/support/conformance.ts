import { compileGraph } from "../../src/compile.ts";
import { UnsupportedError } from "../../src/base/errors.ts";
import type { HostTensor } from "../../src/graph/host.ts";
import { interpretGraph } from "../../src/graph/interpret.ts";
import type { Region } from "../../src/graph/ir.ts";
import { scalarOps } from "../../src/scalar/ops/table.ts";
import { brief, differences, toleranceOf } from "./compare.ts";
import { drawnDifference, isDrawn } from "./drawn.ts";
import { type Case, type Ready, expectedOutputs, importModel, inputValues, withoutConstants } from "./onnx-cases.ts";
import { runInWasm } from "./run.ts";

/** How a case is executed: `wasm-inputs` is WASM with the model's constants as inputs. */
export type Execution = "interpreter" | "wasm" | "wasm-inputs" | "c";

/** What became of a case. */
export type Outcome = { readonly kind: "pass" } | { readonly kind: "unsupported" | "fail"; readonly message: string };

/** Graph ops that move elements, and do not add any up. */
const movers = new Set("constant iota iota_size broadcast reshape transpose slice pad concat reverse gather bind_size require_equal".split(" "));

/** Does the graph add up elements somewhere? */
function sums(r: Region): boolean {
  return r.ops.some((o) => (!(o.def.name in scalarOps) && !movers.has(o.def.name) && o.regions.length === 0) || o.regions.some(sums));
}

/** Compares results with what a case expects. @throws Error that says where they differ */
export function checkOutputs(ready: Ready, got: readonly HostTensor[], expected: readonly HostTensor[]): void {
  const adds = sums(ready.model.graph);
  const d = differences(got, expected, (t) => toleranceOf(t, adds));
  if (d !== null) throw new Error(`wrong result: ${d}`);
}

/** The same for a case whose results may be drawn at random. */
export function checkCase(c: Case, ready: Ready, got: readonly HostTensor[]): void {
  const expected = expectedOutputs(c);
  const [x] = ready.inputs;
  if (x === undefined || !isDrawn(c)) checkOutputs(ready, got, expected);
  else {
    const d = drawnDifference(x, got, expected);
    if (d !== null) throw new Error(`wrong result: ${d}`);
  }
}

/** The case's model and inputs as they are. */
export function importedCase(c: Case): Ready {
  return importModel(c.model, inputValues(c));
}

/** The case as an execution takes it; null where it would be the same as another one. */
function readyFor(c: Case, e: Execution): Ready | null {
  if (e !== "wasm-inputs") return importedCase(c);
  const free = withoutConstants(c);
  return free === null ? null : importModel(free.model, free.values);
}

/** Runs a case in this process; null where the execution would be the same as another one. */
export async function runCase(c: Case, e: Exclude<Execution, "c">): Promise<Outcome | null> {
  return outcomeOf(async () => {
    const ready = readyFor(c, e);
    if (ready === null) return false;
    const { graph } = ready.model;
    const got = e === "interpreter" ? interpretGraph(graph, ready.inputs) : await runInWasm(compileGraph(graph), ready.inputs, false);
    checkCase(c, ready, got);
    return true;
  });
}

/** What becomes of a run: `run` throws unless all is right, and gives false where there is nothing to run. */
export async function outcomeOf(run: () => Promise<boolean>): Promise<Outcome | null> {
  try {
    return (await run()) ? { kind: "pass" } : null;
  } catch (e) {
    if (!(e instanceof UnsupportedError)) return { kind: "fail", message: brief(e) };
    return { kind: "unsupported", message: (e.items[0] ?? e.message).split("\n")[0] ?? "" };
  }
}
