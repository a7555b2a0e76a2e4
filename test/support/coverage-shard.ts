import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { UnsupportedError, UserError } from "../../src/base/errors.ts";
import { compileGraph } from "../../src/compile.ts";
import type { HostTensor } from "../../src/graph/host.ts";
import { interpretGraph } from "../../src/graph/interpret.ts";
import { boundGraph, firstDifference } from "./bounds.ts";
import { compilerThere } from "./c.ts";
import { type CJob, runAsC } from "./c-jobs.ts";
import { differences, toleranceOf } from "./compare.ts";
import { type Outcome, outcomeOf } from "./conformance.ts";
import { corpus } from "./corpora.ts";
import { ownModel } from "./coverage-models.ts";
import { domainModelBytes } from "./domain-models.ts";
import { type Variant, dtypeNamed, dtypesOf, schemas, templates, variant } from "./coverage.ts";
import { type Case, type Ready, importModel } from "./onnx-cases.ts";
import { runInWasm } from "./run.ts";

/** How an op of a dtype does, by target: `yes`, or why not. */
export interface Cell {
  readonly interpreter: string;
  readonly wasm: string;
  readonly c: string;
}
/** Op → dtype → cell: what docs/coverage.json holds. */
export type Coverage = Readonly<Record<string, Readonly<Record<string, Cell>>>>;

const coverageShards = 8;
const results = new URL("../../out/coverage/", import.meta.url);
const committed = new URL("../../docs/coverage.json", import.meta.url);

/** Runs every op in every dtype that its schema allows, by all targets, and holds the result to docs/coverage.json. `COVERAGE=Abs,Add` runs only those ops. */
export function testCoverage(shard: number): void {
  const suite = corpus("onnx-conformance");
  describe.skipIf(suite === null || !compilerThere("gcc"))(`coverage, part ${shard} of ${coverageShards}`, () => {
    it("is what docs/coverage.json says, and nothing that is supported fails", { timeout: 600_000 }, async () => {
      const only = process.env["COVERAGE"]?.split(",");
      const mine = Object.keys(schemas).filter((op, i) => i % coverageShards === shard && schemas[op]?.deprecated !== true);
      const ops = mine.filter((op) => only?.includes(op) ?? true);
      const found = await coverageOf(suite ?? "", ops);
      mkdirSync(results, { recursive: true });
      writeFileSync(new URL(`${shard}.json`, results), JSON.stringify(found));
      const failures = Object.entries(found).flatMap(([op, row]) =>
        Object.entries(row).flatMap(([d, cell]) =>
          Object.entries(cell).flatMap(([target, text]) => (text.startsWith("fails: ") ? [`${op} ${d} ${target}: ${text}`] : [])),
        ),
      );
      expect(failures).toEqual([]);
      const page: Coverage = existsSync(committed) ? JSON.parse(readFileSync(committed, "utf8")) : {};
      const now = (c: Coverage) =>
        ops.flatMap((op) =>
          Object.entries(c[op] ?? {}).map(
            ([d, cell]) =>
              `${op} ${d}: ${Object.values(cell)
                .map((t) => t === "yes")
                .join()}`,
          ),
        );
      expect(now(found), "run these tests, then `npm run coverage`").toEqual(now(page));
    });
  });
}

const noComplex = "there are no complex dtypes: DFT and STFT take the parts of complex numbers as a dimension, as ONNX has it";

interface Attempt {
  readonly op: string;
  readonly dtype: string;
  readonly job: CJob | null;
  interpreter: Outcome | null;
  wasm: Outcome | null;
}

async function coverageOf(suite: string, ops: readonly string[]): Promise<Coverage> {
  const cases = templates(suite);
  const attempts: Attempt[] = [];
  for (const op of ops) for (const d of dtypesOf(op)) attempts.push(await attempt(op, d, cases.get(op) ?? []));
  const jobs = attempts.flatMap((a) => (a.job === null ? [] : [a.job]));
  const asC = await runAsC(jobs);
  const out: Record<string, Record<string, Cell>> = {};
  for (const a of attempts) {
    const c = a.job === null ? a.interpreter : (asC.get(a.job) ?? null);
    out[a.op] = { ...out[a.op], [a.dtype]: { interpreter: text(a.interpreter), wasm: text(a.wasm), c: text(c) } };
  }
  return out;
}

function text(o: Outcome | null): string {
  if (o === null) return "no conformance case of it can be given this dtype";
  if (o.kind === "pass") return "yes";
  const line = o.message.split("\n")[0] ?? "";
  return o.kind === "fail" ? `fails: ${line}` : line.replace(/^[\w.]+ \(opset \d+\) '[^']*': /, "");
}

/** How many cases of an op are tried in a dtype. */
const mostCases = 12;

/** A case in another dtype may break a rule of its op, as when widths have to be equal: then it says nothing about the dtype. */
function importOrRefuse(v: Variant): Ready {
  try {
    return importModel(v.model, v.values);
  } catch (e) {
    if (e instanceof UserError) throw new UnsupportedError("variant", `no conformance case of it can be given this dtype: ${e.message}`);
    throw e;
  }
}

/** The op in a dtype, by the first of its cases that can be given it. */
async function attempt(op: string, name: string, cases: readonly Case[]): Promise<Attempt> {
  const dtype = dtypeNamed(name);
  const none = { op, dtype: name, job: null };
  if (dtype === null) {
    const o: Outcome = { kind: "unsupported", message: name === "string" ? "there are no tensors of strings" : noComplex };
    return { ...none, interpreter: o, wasm: o };
  }
  let refused: Outcome | null = null;
  const own = ownModel(op, dtype) ?? domainModelBytes(op, dtype);
  const variants = own !== null ? [() => own] : cases.slice(0, mostCases).map((c) => () => variant(op, c, dtype));
  for (const make of variants) {
    let ready: Ready | null = null;
    const o = await outcomeOf(async () => {
      const v = make();
      if (v !== null) ready = importOrRefuse(v);
      return false;
    });
    refused ??= o;
    if (ready !== null) return run(op, name, ready);
  }
  return { ...none, interpreter: refused, wasm: refused };
}

async function run(op: string, dtype: string, ready: Ready): Promise<Attempt> {
  const { graph } = ready.model;
  const { inputs } = ready;
  let want: HostTensor[] = [];
  const interpreter = await outcomeOf(async () => {
    want = interpretGraph(graph, inputs);
    return true;
  });
  if (interpreter?.kind !== "pass") return { op, dtype, job: null, interpreter, wasm: interpreter };
  const check = (got: readonly HostTensor[]): void => {
    const d = differences(got, want, (t) => toleranceOf(t, true));
    if (d !== null && boundGraph(graph, inputs).some((b, i) => firstDifference(got[i] as HostTensor, b) !== null))
      throw new Error(`wrong result: ${d}`);
  };
  const wasm = await outcomeOf(async () => {
    check(await runInWasm(compileGraph(graph), inputs, false));
    return true;
  });
  return { op, dtype, job: { what: `${op} ${dtype}`, graph, inputs, check }, interpreter, wasm };
}
