import { UserError } from "./base/errors.ts";
import type { Capabilities } from "./base/machine.ts";
import { type Compiled, defaultPasses } from "./compile.ts";
import { countFlops } from "./graph/flops.ts";
import type { Source } from "./importer.ts";
import { type BuildOptions, checkOptions, compileSource } from "./load.ts";
import { evaluateSize } from "./loop/interpret.ts";
import { openPeak } from "./memory.ts";
import { describeSchedule, parseSchedule } from "./schedule/schedule.ts";
import { type CArtifact, makeCArtifact } from "./targets/c/artifact.ts";
import { type LevelName, levelOf, levels } from "./targets/c/levels.ts";
import { levelMachine } from "./targets/c/machine.ts";
import { threadBytes } from "./targets/c/program.ts";
import { weightBytes } from "./targets/wasm/weights.ts";
import { version } from "./version.ts";

export interface BuiltC {
  readonly artifact: CArtifact;
  readonly compiled: Compiled;
}

/** What processors are called that code can be limited to, and the levels that they have. */
const processors: Readonly<Record<string, readonly LevelName[]>> = {
  portable: ["portable"],
  "x86-64": ["portable"],
  "x86-64-v2": ["sse42", "portable"],
  "x86-64-v3": ["avx2", "sse42", "portable"],
  "x86-64-v4": ["avx512", "avx2", "sse42", "portable"],
};

/**
 * The levels of code for a processor: all without one, for `native` those up to the widest that this machine has. Levels
 * round differently; so deterministic code is of one level only, portable where no processor is named.
 * @throws UserError `cpu` for a name that is none
 */
export function levelsFor(cpu: string | undefined, deterministic: boolean, native: () => LevelName | null): readonly LevelName[] {
  const all = levels.map((l) => l.name);
  const named = (): readonly LevelName[] => {
    if (cpu === undefined) return deterministic ? ["portable"] : all;
    if (cpu === "native") return all.slice(all.indexOf(native() ?? "avx512"));
    const found = Object.hasOwn(processors, cpu) ? processors[cpu] : undefined;
    if (found === undefined) throw new UserError("cpu", `unknown processor '${cpu}'; there are: native, ${Object.keys(processors).join(", ")}`);
    return found;
  };
  return deterministic ? named().slice(0, 1) : named();
}

/**
 * Compiles an imported model to C, for some levels (widest first).
 * @throws UserError, UnsupportedError for what is wrong with the options, or more than C code can reach
 */
export function buildC(
  source: Source,
  options: BuildOptions,
  names: readonly LevelName[],
  machines: readonly Capabilities[] = machinesOf(names),
): BuiltC {
  checkOptions(options);
  if (options.features !== undefined) throw new UserError("features", "features are modules of target 'wasm'; for C choose levels with --cpu");
  if (options.keptMemory !== undefined)
    throw new UserError("kept-memory", "keptMemory is for target 'wasm': native code keeps each tensor in memory of its own, as much as there is");
  if (options.database !== undefined) throw new UserError("db", "tuned schedules are for target 'wasm': leave the database out for C");
  const exact = options.exact ?? false;
  const compiled = compileSource(source, options.listeners ?? [], options.passes ?? defaultPasses, { exact, machines });
  checkMemory(compiled, options.threads ?? 1, options.maxMemory);
  const { sc, program, weights, prepare } = compiled;
  const schedules = new Map([...compiled.schedules].map(([k, text]) => [k, describeSchedule(parseSchedule(text))]));
  const make = (): CArtifact =>
    makeCArtifact({
      sc,
      program,
      weights,
      prepare,
      schedules,
      levels: compiled.levels.map((l) => ({ level: levelOf(l.machine), program: l.program })),
      name: options.name ?? source.name,
      version,
      sourceHash: options.sourceHash ?? "",
      inputNames: source.inputNames,
      outputNames: source.outputNames,
      outputLabels: source.outputLabels ?? [],
      threads: options.threads ?? 1,
      flops: source.kind === "graph" ? countFlops(source.graph) : null,
    });
  return { artifact: compiled.trace.step("code", "emit-c", make, () => ""), compiled };
}

function machinesOf(names: readonly LevelName[]): readonly Capabilities[] {
  return names.map((n) => levelMachine(n));
}

/** @throws UserError `max-memory` when weights, arena and the threads' scratch memory may need more than the limit */
function checkMemory(compiled: Compiled, threads: number, limit: number | undefined): void {
  const { sc, levels: all, program } = compiled;
  if (limit === undefined) return;
  if (program.room !== null) throw openPeak(compiled);
  const most = program.symbols.map((s) => s.max);
  const open = program.symbols.some((s) => !Number.isFinite(s.max));
  const planned = all.map(({ program: p }) => {
    const changing = sc.add(p.arenaBytes, sc.mul(sc.int(threads > 1 ? threads : 0), threadBytes(sc, p)));
    if (changing.constant === null && open) throw openPeak(compiled);
    return evaluateSize(p, changing, { weights: 0, arena: 0 }, most);
  });
  const [weights, arena] = [weightBytes(program), Math.max(...planned)];
  const mib = (n: number): string => `${(n / 2 ** 20).toFixed(1)} MiB`;
  if (weights + arena > limit)
    throw new UserError(
      "max-memory",
      `the planned peak is ${mib(weights + arena)} (weights ${mib(weights)}, arena ${mib(arena)}), more than the limit of ${mib(limit)}`,
    );
}
