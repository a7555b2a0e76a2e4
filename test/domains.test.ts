import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { relative } from "node:path";
import { describe, expect, it } from "vitest";
import { compileGraph } from "../src/compile.ts";
import { decodeModel } from "../src/frontends/onnx/proto.ts";
import type { HostTensor } from "../src/graph/host.ts";
import { interpretGraph } from "../src/graph/interpret.ts";
import { compilerThere } from "./support/c.ts";
import { type CJob, runAsC } from "./support/c-jobs.ts";
import { checkOutputs, outcomeOf } from "./support/conformance.ts";
import { corpus, filesBelow } from "./support/corpora.ts";
import { againstGolden } from "./support/golden.ts";
import { readGolden } from "./support/npz.ts";
import { type Ready, importModel, opsOf } from "./support/onnx-cases.ts";
import { faulty, opCases } from "./support/op-cases.ts";
import { runInWasm } from "./support/run.ts";

/** How many cases of other projects hold each op of com.microsoft and ai.onnx.ml: what docs/coverage-cases.json says. */
type Counts = Record<string, { cases: number; models: number }>;
const committed = new URL("../docs/coverage-cases.json", import.meta.url);
const results = new URL("../out/coverage-cases/", import.meta.url);

const inDomain = (op: string): boolean => /^(com\.microsoft|ai\.onnx\.ml)\.\w+$/.test(op);

/** Something that another project has results for. */
interface Reference {
  readonly name: string;
  readonly kind: "cases" | "models";
  readonly model: Uint8Array;
  readonly import: () => Ready;
  readonly check: (ready: Ready, got: readonly HostTensor[]) => void;
}

function opReferences(suite: string): Reference[] {
  return opCases(`${suite}/ort-web-ops-jsonc/js/web/test/data/ops`)
    .filter((c) => c.domain === "com.microsoft" && !(c.name in faulty))
    .map((c) => ({
      name: c.name,
      kind: "cases",
      model: c.model,
      import: () => importModel(c.model, c.inputs),
      check: (ready, got) => checkOutputs(ready, got, c.outputs),
    }));
}

function realReferences(suite: string): Reference[] {
  return filesBelow(suite, ".onnx").flatMap((file): Reference[] => {
    const golden = file.replace(/onnx$/, "golden.npz");
    if (!existsSync(golden)) return [];
    const model = readFileSync(file);
    if (![...opsOf(decodeModel(model))].some(inDomain)) return [];
    const reference = readGolden(golden);
    if (reference === null) return [];
    return [
      {
        name: relative(suite, file),
        kind: "models",
        model,
        import: () => importModel(model, reference.inputs),
        check: (ready, got) => {
          const wrong = againstGolden(model, ready, got, reference);
          if (wrong.length > 0) throw new Error(wrong.join("; "));
        },
      },
    ];
  });
}

const [suites, real] = [corpus("onnx-suites"), corpus("onnx-real")];

// On WebAssembly alone they run among all cases (onnx-suites.test.ts, onnx-real.test.ts).
describe.skipIf(suites === null || real === null)("cases and models of ONNX Runtime's domains agree on all targets", () => {
  const all = suites === null || real === null ? [] : [...opReferences(suites), ...realReferences(real)];
  const jobs = new Map<Reference, CJob>();

  it("in the interpreter and as WASM", { timeout: 240_000 }, async () => {
    const wrong: string[] = [];
    for (const r of all) {
      const o = await outcomeOf(async () => {
        const ready = r.import();
        const { graph } = ready.model;
        r.check(ready, interpretGraph(graph, ready.inputs));
        r.check(ready, await runInWasm(compileGraph(graph), ready.inputs, false));
        jobs.set(r, { what: r.name, graph, inputs: ready.inputs, check: (got) => r.check(ready, got) });
        return true;
      });
      if (o?.kind !== "pass") wrong.push(`${r.name}: ${JSON.stringify(o)}`);
    }
    expect(wrong).toEqual([]);
  });

  it.skipIf(!compilerThere("gcc"))("as C; the coverage page has their numbers", { timeout: 240_000 }, async () => {
    const outcomes = await runAsC([...jobs.values()]);
    expect([...outcomes].flatMap(([job, o]) => (o.kind === "pass" ? [] : [`${job.what}: ${o.message}`]))).toEqual([]);
    const counts: Counts = {};
    for (const r of jobs.keys()) {
      for (const op of [...opsOf(decodeModel(r.model))].filter(inDomain)) {
        counts[op] ??= { cases: 0, models: 0 };
        counts[op][r.kind]++;
      }
    }
    mkdirSync(results, { recursive: true });
    writeFileSync(new URL("counts.json", results), JSON.stringify(counts));
    const page: Counts = existsSync(committed) ? JSON.parse(readFileSync(committed, "utf8")) : {};
    expect(counts, "run these tests, then `npm run coverage`").toEqual(page);
  });
});
