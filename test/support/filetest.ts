import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Reader } from "../../src/base/text.ts";
import { type Compiled, type PipelineOptions, compileGraph, compileTensor } from "../../src/compile.ts";
import type { HostTensor } from "../../src/graph/host.ts";
import { interpretGraph } from "../../src/graph/interpret.ts";
import type { GraphFunction } from "../../src/graph/ir.ts";
import type { TensorType } from "../../src/graph/op.ts";
import { lowerGraph } from "../../src/graph/lower.ts";
import { parseGraph } from "../../src/graph/parse.ts";
import { graphPasses } from "../../src/graph/passes/pipeline.ts";
import { printGraph } from "../../src/graph/print.ts";
import { verifyGraph } from "../../src/graph/verify.ts";
import { parseProgram } from "../../src/loop/parse.ts";
import { kernelPasses } from "../../src/loop/passes/pipeline.ts";
import { printProgram } from "../../src/loop/print.ts";
import { verifyProgram } from "../../src/loop/verify.ts";
import { simplifyBook } from "../../src/scalar/rules/simplify.ts";
import { Scalars } from "../../src/scalar/scalars.ts";
import { seededRandom } from "../../src/schedule/random.ts";
import type { TensorFunction } from "../../src/tensor/ir.ts";
import { parseTensor } from "../../src/tensor/parse.ts";
import { wasmMachine } from "../../src/targets/wasm/machine.ts";
import { placementPasses, tensorPasses } from "../../src/tensor/passes/pipeline.ts";
import { printTensor } from "../../src/tensor/print.ts";
import { verifyTensor } from "../../src/tensor/verify.ts";
import { type Bounded, boundGraph } from "./bounds.ts";
import { type Batch, disagreements } from "./executions.ts";
import { stepChecker } from "./steps.ts";
import { randomTensor, runInInterpreter } from "./run.ts";

/**
 * A golden file. Its first lines are `// test: MODE` and other `// key: value` lines; then comes IR text; then, after a line
 * `// expect`, what the mode makes of it (`BLESS=1` writes that). A line `// reference` ends the text of a `run` test and
 * begins a graph that computes the same. Modes:
 *
 * - `parse`: reads, verifies and prints the text.
 * - `pass graph/NAME`, `pass tensor/NAME`, `pass loop/NAME`: prints the text after that pass; several names in order, by
 *   commas, among which `lower` takes a graph to tensor IR.
 * - `error`: the text is refused, or does not verify; the expectation is the message.
 * - `run`: compiles and runs the text in every execution, with random inputs: `// range %x: -1 1`, `// size n: 5`,
 *   `// seed: 3`; `// bound: 4` widens the error bounds of the reference, for an algorithm that changes the arithmetic.
 */
export interface Filetest {
  readonly path: string;
  readonly mode: string;
  readonly text: string;
  readonly reference: string | null;
  readonly expected: string | null;
  readonly settings: ReadonlyMap<string, string>;
}

const marker = /^\/\/ (expect|reference)$/m;

export function findFiletests(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((f) => f.endsWith(".tw"))
    .map((f) => f.replaceAll("\\", "/"))
    .sort();
}

export function readFiletest(folder: string, path: string): Filetest {
  const whole = readFileSync(join(folder, path), "utf8");
  const settings = new Map<string, string>();
  for (const line of whole.split("\n")) {
    const m = /^\/\/ ([a-z]+(?: [%A-Za-z0-9_.]+)?): (.*)$/.exec(line);
    if (m === null) break;
    settings.set(m[1] as string, m[2] as string);
  }
  const [text, ...rest] = whole.split(marker);
  const section = (name: string): string | null => {
    const i = rest.indexOf(name);
    return i < 0 ? null : (rest[i + 1] as string).replace(/^\n/, "");
  };
  const mode = settings.get("test");
  if (mode === undefined) throw new Error(`${path}: the first line must be '// test: MODE'`);
  return { path, mode, text: text as string, reference: section("reference"), expected: section("expect"), settings };
}

/** Runs one; gives what its mode makes of the text. `run` gives nothing: it throws when executions disagree, and leaves C to the batch. */
export async function runFiletest(t: Filetest, batch: Batch): Promise<string | null> {
  const [mode, passes = ""] = t.mode.split(" ");
  switch (mode) {
    case "parse":
    case "pass": {
      const made = transform(t, mode === "parse" ? [] : passes.split(","));
      if (!made.includes("elided(") && transform({ ...t, text: made }, []) !== made) throw new Error(`what was made does not read back:\n${made}`);
      return made;
    }
    case "error":
      try {
        transform(t, []);
      } catch (e) {
        return `${(e as Error).name}: ${(e as Error).message.trimEnd()}\n`;
      }
      throw new Error("expected an error, but the text is well formed");
    case "run":
      await runText(t, batch);
      return null;
    default:
      throw new Error(`unknown mode '${t.mode}'; there are: parse, pass STAGE/NAME, error, run`);
  }
}

/** Writes the expectation, as `BLESS=1` asks for. */
export function blessFiletest(folder: string, t: Filetest, made: string): void {
  writeFileSync(join(folder, t.path), `${t.text.trimEnd()}\n// expect\n${made}`);
}

function find<T extends { readonly name: string }>(stage: string, list: readonly T[], wanted: string): T {
  const [s, name] = wanted.split("/");
  const pass = s === stage ? list.find((p) => p.name === name) : undefined;
  if (pass === undefined)
    throw new Error(`there is no pass '${wanted}' on ${stage} IR; there are: ${list.map((p) => `${stage}/${p.name}`).join(", ")}`);
  return pass;
}

function transform(t: Filetest, passes: readonly string[]): string {
  const r = new Reader(t.text, t.path);
  const sc = new Scalars(simplifyBook);
  if (r.is("graph")) {
    let f = parseGraph(r);
    r.end();
    verifyGraph(f);
    for (const [i, name] of passes.entries()) {
      if (name === "lower") return tensorPassed(sc, lowerGraph(f, sc), passes.slice(i + 1));
      f = find("graph", graphPasses, name).run(f, new Map());
      verifyGraph(f, { after: `after ${name}` });
    }
    return printGraph(f);
  }
  if (r.is("tensor")) {
    const f = parseTensor(r, sc);
    r.end();
    return tensorPassed(sc, f, passes);
  }
  if (!r.is("program")) r.fail(`expected 'graph', 'tensor' or 'program', got '${r.peek().text}'`);
  let p = parseProgram(r, sc);
  r.end();
  verifyProgram(p);
  for (const name of passes) {
    const pass = find("loop", kernelPasses, name);
    const made = new Map(p.kernels.map((k) => [k, pass.run(sc, k, wasmMachine)]));
    p = { ...p, kernels: [...made.values()], main: p.main.map((s) => (s.kind === "launch" ? { ...s, kernel: made.get(s.kernel) ?? s.kernel } : s)) };
    verifyProgram(p, { after: `after ${name}` });
  }
  return printProgram(p);
}

function tensorPassed(sc: Scalars, source: TensorFunction, passes: readonly string[]): string {
  let f = source;
  verifyTensor(f);
  for (const name of passes) {
    f = find("tensor", [...tensorPasses, ...placementPasses], name).run(sc, f, wasmMachine);
    verifyTensor(f, { after: `after ${name}` });
  }
  return printTensor(f);
}

/** Random schedules that a text is run under. */
const schedules = 5;

/** What a `run` test asks for: how to compile its text, with which inputs, and what must come of them. */
export interface RunTest {
  readonly compile: (o: PipelineOptions) => Compiled;
  readonly inputs: readonly HostTensor[];
  readonly want: readonly Bounded[];
  readonly factor: number;
}

export async function prepareRun(t: Filetest): Promise<RunTest> {
  const isGraph = new Reader(t.text, t.path).is("graph");
  const parse = (): TensorFunction | GraphFunction => {
    const r = new Reader(t.text, t.path);
    const f = isGraph ? parseGraph(r) : parseTensor(r, new Scalars(simplifyBook));
    r.end();
    return f;
  };
  const compile = (o: PipelineOptions): Compiled => {
    if (isGraph) return compileGraph(parse() as GraphFunction, o);
    const sc = new Scalars(simplifyBook);
    const f = parseTensor(new Reader(t.text, t.path), sc);
    verifyTensor(f);
    return compileTensor(sc, f, o);
  };
  const random = seededRandom(Number(t.settings.get("seed") ?? 1));
  const f = parse();
  const symbols = new Map(f.symbols.map((s) => [s.name, Number(t.settings.get(`size ${s.name}`) ?? s.max)]));
  const params: readonly (TensorType & { readonly name: string })[] = "params" in f ? f.params : f.inputs;
  const inputs = params.map((p) => randomTensor(p, random, rangeFor(t, p.name), symbols));
  const want = isGraph ? boundGraph(f as GraphFunction, inputs) : await referenceOf(t, compile, inputs);
  return { compile, inputs, want, factor: Number(t.settings.get("bound") ?? 1) };
}

async function runText(t: Filetest, batch: Batch): Promise<void> {
  const { compile, inputs, want, factor } = await prepareRun(t);
  const { options, faults } = stepChecker();
  compile({ ...options, schedule: "default" });
  if (faults.length > 0) throw new Error(`steps do not read back or verify:\n${faults.join("\n")}`);
  const wrong = await disagreements(compile, inputs, want, { schedules, seed: 7, factor, batch });
  if (wrong.length > 0) throw new Error(`${wrong.length} executions disagree:\n${wrong.join("\n")}`);
}

function rangeFor(t: Filetest, name: string): readonly [number, number] | undefined {
  const text = t.settings.get(`range %${name}`);
  if (text === undefined) return undefined;
  const [low, high] = text.split(" ").map(Number);
  return [low as number, high as number];
}

/** The graph given as a reference, or else the text itself, in the loop interpreter under the empty schedule. */
async function referenceOf(t: Filetest, compile: (o: PipelineOptions) => Compiled, inputs: readonly HostTensor[]): Promise<Bounded[]> {
  if (t.reference === null) {
    const out = await runInInterpreter(compile({ schedule: "empty" }), inputs);
    // Without a graph there is nothing to derive bounds from: 4 ulp of the largest element, for each of 8 roundings.
    return out.map((value) => {
      let most = 0;
      for (const v of value.data) most = Math.max(most, Math.abs(Number(v)));
      return { value, error: new Float64Array(value.data.length).fill(value.dtype.isFloat ? 32 * 2 ** -23 * most : 0) };
    });
  }
  const r = new Reader(t.reference, `${t.path} (reference)`);
  const f = parseGraph(r);
  r.end();
  verifyGraph(f);
  const bounds = boundGraph(f, inputs);
  const plain = interpretGraph(f, inputs);
  plain.forEach((p, i) => {
    if (p.data.some((v, k) => v !== bounds[i]?.value.data[k])) throw new Error("the bounds were derived for other values than the reference gives");
  });
  return bounds;
}
