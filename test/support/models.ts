import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { type Worst, modelFolder, readModel, suiteFolder } from "../../bench/suite.mjs";
import { runProcess } from "./processes.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Why the model suite cannot be run here; null where it can. */
export const suiteMissing: string | null = suiteFolder() === null ? "the model suite is not there (../shared/models)" : null;
/** Why not every element can be compared; null where it can. */
export const referenceMissing: string | null = existsSync(join(root, "bench/node_modules/onnxruntime-node"))
  ? null
  : "onnxruntime-node is not installed (`npm ci --prefix bench`): only the sampled values are compared";

/** The float models of the suite. */
export const cnns = [
  "squeezenet1_1",
  "mobilenet_v2",
  "mobilenet_v3_small",
  "shufflenet_v2",
  "resnet18",
  "resnet50",
  "efficientnet_b0",
  "densenet121",
  "inception_v3",
  "vgg16",
] as const;
/** With the length of their sequences. */
export const transformers: readonly (readonly [string, number])[] = [
  ["minilm", 128],
  ["bert_base", 128],
  ["gpt2_6l", 64],
  ["vit_tiny", 197],
  ["llama_50m", 32],
  ["whisper_tiny_enc", 1500],
];
export const symbolic = ["minilm_dyn", "gpt_kv"] as const;

/** What a model gave for one case and output. */
export interface CaseResult {
  readonly case: string;
  readonly output: string;
  /** Against the values in `expected.json`. */
  readonly sampled: Worst;
  /** Against every element, where the reference is there. */
  readonly every: Worst | null;
}
interface ChildResult {
  /** CPU milliseconds of the compilation, by step; a step that occurs several times is one entry. */
  readonly steps: Readonly<Record<string, number>>;
  readonly compileCpu: number;
  /** Bytes of each module. */
  readonly code: Readonly<Record<string, number>>;
  readonly maxRssKiB: number;
}
export interface RunResult extends ChildResult {
  readonly cases: readonly CaseResult[];
  /** How often the engine was asked to compile or instantiate something after the model was loaded. */
  readonly compiledAfterLoad: number;
  /** The modules' hashes were the same before and after all cases. */
  readonly unchanged: boolean;
  readonly kernels: number;
  /** What lies in the arena. */
  readonly planned: readonly { readonly name: string; readonly dims: readonly string[]; readonly origin: readonly string[] }[];
}
export interface WriteResult extends ChildResult {
  /** Bytes of the largest constant of the model. */
  readonly largestConstant: number;
}

/** Holds every case to what is allowed; gives the worst deviation, in units of that. */
export function checkAgreement(name: string, cases: readonly CaseResult[]): number {
  let worst = 0;
  for (const c of cases) {
    for (const w of [c.sampled, ...(c.every === null ? [] : [c.every])]) {
      const text = `${name}, ${c.case}: ${c.output}[${w.index}] is ${w.got}, expected ${w.expected} ± ${w.allowed}`;
      expect(w.ratio, text).toBeLessThanOrEqual(1);
      // A comparison of nothing would pass too.
      expect(w.index, text).toBeGreaterThanOrEqual(0);
      worst = Math.max(worst, w.ratio);
    }
    if (referenceMissing === null) expect(c.every, `${name}: every element of ${c.output}`).not.toBeNull();
  }
  expect(cases.length).toBeGreaterThan(0);
  return worst;
}

function run(args: readonly string[], env: NodeJS.ProcessEnv = process.env): string {
  const child = spawnSync(process.execPath, args, { cwd: root, env, encoding: "utf8", maxBuffer: 1 << 26 });
  if (child.status !== 0) throw new Error(`${args[0]} ended with ${child.status ?? child.signal}:\n${child.stdout}${child.stderr}`);
  return child.stdout;
}

/** Compiles the sources, as they are now, for processes of their own; gives the folder. Types are checked elsewhere. */
export function buildSources(): string {
  const out = join(root, ".cache/model-tests");
  run([
    join(root, "node_modules/typescript/bin/tsc"),
    "-p",
    "tsconfig.build.json",
    "--noCheck",
    "--declaration",
    "false",
    "--outDir",
    out,
    "--tsBuildInfoFile",
    `${out}.tsbuildinfo`,
  ]);
  run([join(root, "scripts/bundle-runtime.mjs"), out]);
  return out;
}

/** Writes every element of the model's outputs, as the reference has them, into the model's folder. */
function writeReference(name: string, dir: string): void {
  const there = readModel(name, dir).outputs.every((o) => existsSync(join(dir, `reference-${o.name}.raw`)));
  if (!there && referenceMissing === null) run([join(root, "bench/reference.mjs"), name, dir]);
}

function runChild(dist: string, mode: "run" | "write", name: string): unknown {
  const dir = modelFolder(name);
  if (mode === "run") writeReference(name, dir);
  // What is measured is what users wait for: they compile without the verifiers.
  const env = mode === "run" ? process.env : { ...process.env, TILEWRIGHT_VERIFY: "0" };
  return JSON.parse(run([join(root, "test/support/model-child.mjs"), JSON.stringify({ dist, mode, name, dir })], env));
}

/** Compiles and runs a model of the suite in a process of its own. */
export function runModel(dist: string, name: string): RunResult {
  return runChild(dist, "run", name) as RunResult;
}
/** Compiles a model and writes its artifact (to a temporary folder), in a process of its own. */
export function writeModel(dist: string, name: string): WriteResult {
  return runChild(dist, "write", name) as WriteResult;
}

/** What a model gave as native code. */
export interface NativeResult {
  readonly level: string;
  readonly levels: readonly string[];
  /** How often the C compiler ran. */
  readonly builds: number;
  /** For each number of threads that was asked for. */
  readonly runs: readonly {
    readonly asked: number;
    readonly threads: number;
    readonly reason: string;
    readonly cases: readonly CaseResult[];
    /** Of all bytes of all outputs. */
    readonly hash: string;
  }[];
  /** Launches that threads share. */
  readonly shared: number;
  /** Bytes of the C code. */
  readonly cBytes: number;
}
/** Compiles a model of the suite to native code and runs it on so many threads, in a process of its own. */
export async function runNative(dist: string, name: string, threads: readonly number[]): Promise<NativeResult> {
  const dir = modelFolder(name);
  writeReference(name, dir);
  const job = JSON.stringify({ dist, name, dir, threads });
  return JSON.parse(
    (await runProcess(process.execPath, [join(root, "test/support/native-child.mjs"), job], { cwd: root })).toString(),
  ) as NativeResult;
}
