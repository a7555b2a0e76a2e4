import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { compilerThere } from "./c.ts";
import { type CJob, runAsC } from "./c-jobs.ts";
import { type Execution, type Outcome, checkCase, importedCase, outcomeOf, runCase } from "./conformance.ts";
import { corpus } from "./corpora.ts";
import { type Case, caseNames, outOfScope, readCase } from "./onnx-cases.ts";

/** A case that is known to fail, and why. */
export interface Exception {
  readonly name: string;
  readonly reason: string;
  /** Where it fails; everywhere if absent. */
  readonly executions?: readonly Execution[];
}
export const exceptions: readonly Exception[] = JSON.parse(readFileSync(new URL("../conformance-exceptions.json", import.meta.url), "utf8"));

/** In how many files the cases are run, so that some run side by side. */
const shards = 8;

/** What became of each case, to be looked at. */
const results = new URL("../../out/conformance/", import.meta.url);

/** The tests of one shard: its cases by each of the executions. */
export function testShard(shard: number): void {
  const suite = corpus("onnx-conformance");
  describe.skipIf(suite === null)(`ONNX backend conformance, shard ${shard} of ${shards}`, () => {
    const cases = suite === null ? [] : shardCases(suite, shard);
    const outcomes: Record<string, Partial<Record<Execution, Outcome>>> = Object.fromEntries(cases.map((c) => [c.name, {}]));
    const judge = (e: Execution, found: ReadonlyMap<Case, Outcome | null>): void => {
      for (const [c, o] of found) if (o !== null) (outcomes[c.name] as Partial<Record<Execution, Outcome>>)[e] = o;
      mkdirSync(results, { recursive: true });
      writeFileSync(new URL(`${shard}.json`, results), JSON.stringify(outcomes));
      expect(complaints(e, found)).toEqual([]);
    };
    for (const [e, title] of inProcess) {
      it(title, { timeout: 600_000 }, async () => {
        const found = new Map<Case, Outcome | null>();
        for (const c of cases) found.set(c, await runCase(c, e));
        judge(e, found);
      });
    }
    it.skipIf(!compilerThere("gcc"))("as C", { timeout: 600_000 }, async () => judge("c", await casesAsC(cases)));
  });
}

const inProcess = [
  ["interpreter", "through the graph interpreter"],
  ["wasm", "as WASM"],
  ["wasm-inputs", "as WASM, constants being inputs"],
] as const;

/** Every n-th case, so that cases of one op, which take about as long, are spread. `CONFORMANCE=resize` runs only those of that name. */
function shardCases(suite: string, shard: number): Case[] {
  const only = process.env["CONFORMANCE"] ?? "";
  return caseNames(suite)
    .filter((name, i) => i % shards === shard && name.includes(only) && !name.startsWith("light/"))
    .map((name) => readCase(suite, name));
}

/** What is wrong with what was found: failures that are not listed, and passes that are. */
function complaints(e: Execution, found: ReadonlyMap<Case, Outcome | null>): string[] {
  const listed = new Set(exceptions.filter((x) => x.executions?.includes(e) ?? true).map((x) => x.name));
  return [...found].flatMap(([c, o]) => {
    if (o === null) return [];
    const scope = outOfScope(c);
    if (scope !== null) return o.kind === "unsupported" ? [] : [`${c.name}: holds a ${scope}, so it must be refused: ${JSON.stringify(o)}`];
    if (o.kind === "pass") return listed.has(c.name) ? [`${c.name} passes, but stands in conformance-exceptions.json`] : [];
    return listed.has(c.name) ? [] : [`${c.name}: ${o.kind}: ${o.message}`];
  });
}

/** Runs the cases as C, all in one program. */
async function casesAsC(cases: readonly Case[]): Promise<Map<Case, Outcome | null>> {
  const found = new Map<Case, Outcome | null>();
  const jobs = new Map<Case, CJob>();
  for (const c of cases) {
    const o = await outcomeOf(async () => {
      const ready = importedCase(c);
      jobs.set(c, { what: c.name, graph: ready.model.graph, inputs: ready.inputs, check: (got) => checkCase(c, ready, got) });
      return false;
    });
    found.set(c, o);
  }
  const outcomes = await runAsC([...jobs.values()]);
  for (const [c, job] of jobs) found.set(c, outcomes.get(job) ?? null);
  return found;
}
