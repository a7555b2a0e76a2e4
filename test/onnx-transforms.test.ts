import { readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, it } from "vitest";
import { UnsupportedError, UserError } from "../src/base/errors.ts";
import { compileGraph } from "../src/compile.ts";
import { type Dim, evaluateDim, isDataDependent } from "../src/base/dim.ts";
import { importOnnx } from "../src/frontends/onnx/import.ts";
import type { HostTensor } from "../src/graph/host.ts";
import { interpretGraph } from "../src/graph/interpret.ts";
import type { GraphFunction, Value } from "../src/graph/ir.ts";
import { seededRandom } from "../src/schedule/random.ts";
import { boundGraph, firstDifference } from "./support/bounds.ts";
import { brief, differences, toleranceOf } from "./support/compare.ts";
import { corpus, filesBelow } from "./support/corpora.ts";
import { algorithmFactor } from "./support/executions.ts";
import { randomTensor, runInWasm } from "./support/run.ts";

// Models that ONNX Runtime tests its transformations on: patterns that optimisers look for, and what nearly is one.

const suites = corpus("onnx-suites");

describe.skipIf(suites === null)("models for ONNX Runtime's transformations", () => {
  it("give what the graph as it was imported gives", { timeout: 600_000 }, async () => {
    const folder = join(suites ?? "", "ort-testdata", "onnxruntime", "test", "testdata", "transform");
    const wrong: string[] = [];
    const counts: Record<Verdict, number> = { equal: 0, refused: 0, large: 0, empty: 0 };
    for (const file of filesBelow(folder, ".onnx")) {
      try {
        counts[await verdict(readFileSync(file))]++;
      } catch (e) {
        wrong.push(`${relative(folder, file)}: ${brief(e)}`);
      }
    }
    console.log(`models of transformations: ${JSON.stringify(counts)}`);
    expect(wrong).toEqual([]);
    expect(counts.equal).toBeGreaterThan(100);
  });
});

/** `refused`: when it is imported, or by both executions with a user's error; `large`: compiled, but more than is run here; `empty`: it has no results. */
type Verdict = "equal" | "refused" | "large" | "empty";

/** Most elements of inputs, and multiplications in contractions, that are run: the reference and the bounds of its errors take long for more. */
const largest = { elements: 2_000_000, products: 150_000_000 };

/** @throws Error when WASM does not give what the interpreter makes of the graph before any pass, on random inputs */
async function verdict(bytes: Uint8Array): Promise<Verdict> {
  const graph = importedOrNull(bytes);
  if (graph === null) return "refused";
  if (graph.results.length === 0) return "empty";
  const symbols = symbolSizes(graph);
  if (elements(graph, symbols) > largest.elements || products(graph, symbols) > largest.products) {
    compileGraph(graph);
    return "large";
  }
  const random = seededRandom(7);
  const inputs = graph.params.map((p) => randomTensor(p, random, p.dtype.isFloat ? [-1, 1] : [0, 2], symbols));
  const want = await settled(async () => interpretGraph(graph, inputs));
  const compiled = compileGraph(graph);
  const got = await settled(() => runInWasm(compiled, inputs, false));
  if (want instanceof UserError && got instanceof UserError) return "refused";
  if (want instanceof UserError) throw want;
  if (got instanceof UserError) throw got;
  const d = differences(got, want, (t) => toleranceOf(t, true));
  if (d !== null && beyondBounds(graph, inputs, got, algorithmFactor(compiled))) throw new Error(`wrong result: ${d}`);
  return "equal";
}

/** Are results further off than the errors of the graph's own roundings explain? */
function beyondBounds(graph: GraphFunction, inputs: readonly HostTensor[], got: readonly HostTensor[], factor: number): boolean {
  return boundGraph(graph, inputs).some((b, i) => firstDifference(got[i] as HostTensor, b, factor) !== null);
}

function importedOrNull(bytes: Uint8Array): GraphFunction | null {
  try {
    return importOnnx(bytes).graph;
  } catch (e) {
    // Not all of these models are complete, and some hold ops of ONNX Runtime's own.
    if (e instanceof UserError || e instanceof UnsupportedError) return null;
    throw e;
  }
}

/** A result, or the user's error instead of it: values may be such that the model has no result. */
async function settled<T>(run: () => Promise<T>): Promise<T | UserError> {
  try {
    return await run();
  } catch (e) {
    // The runtime in an artifact has a class of its own.
    if (e instanceof Error && e.name === "UserError") return e instanceof UserError ? e : new UserError("run", e.message);
    throw e;
  }
}

/** Symbolic sizes are 3, or the least that they may be where that makes much data. */
function symbolSizes(graph: GraphFunction): Map<string, number> {
  const sizes = (wanted: number) => new Map(graph.symbols.map((s) => [s.name, Math.min(s.max, Math.max(s.min, wanted * s.multiple))]));
  return elements(graph, sizes(3)) > 300_000 ? sizes(1) : sizes(3);
}

/** Multiplications in the contractions whose sizes follow from those of the inputs. */
function products(graph: GraphFunction, symbols: ReadonlyMap<string, number>): number {
  const size = (dims: readonly Dim[]) => dims.reduce((n: number, d) => n * (isDataDependent(d) ? 1 : evaluateDim(d, symbols)), 1);
  return graph.ops.reduce((n, { def, attrs, operands, results: [y] }) => {
    const [a, b] = operands;
    if (a === undefined || b === undefined || y === undefined) return n;
    const pick = (v: Value, name: string) => (attrs[name] as readonly number[]).map((i) => v.dims[i] as Dim);
    if (def.name === "dot") return n + size([...y.dims, ...pick(a, "contractA")]);
    return def.name === "convolution" ? n + size([...y.dims, ...pick(b, "wDims").slice(1)]) : n;
  }, 0);
}

function elements(graph: GraphFunction, symbols: ReadonlyMap<string, number>): number {
  return graph.params.reduce((n, p) => n + p.dims.reduce((a: number, d) => a * evaluateDim(d, symbols), 1), 0);
}
