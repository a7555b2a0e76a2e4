import { UnsupportedError, UserError } from "../../base/errors.ts";
import { type Compiled, defaultPasses } from "../../compile.ts";
import { countFlops } from "../../graph/flops.ts";
import type { Source } from "../../importer.ts";
import { type BuildOptions, compileSource } from "../../load.ts";
import { evaluateSize } from "../../loop/interpret.ts";
import { type CArtifact, makeCArtifact } from "../../targets/c/artifact.ts";
import { type LevelName, levelOf, levels } from "../../targets/c/levels.ts";
import { levelMachine } from "../../targets/c/machine.ts";
import { threadBytes } from "../../targets/c/program.ts";
import { weightBytes } from "../../targets/wasm/weights.ts";
import { version } from "../../version.ts";
import type { CSource } from "./index.ts";
import { nativeLevel } from "./processor.ts";
import { weightsKey } from "./weights-key.ts";

/** A model compiled to C for this machine. */
export interface NativeSource extends CSource {
  readonly compiled: Compiled;
  readonly manifest: CArtifact["manifest"];
}

/** Compiles an imported model to C: for this processor's level of code, or for all where it is not known yet. */
export function nativeSource(source: Source, options: BuildOptions, level: LevelName | null = nativeLevel()): NativeSource {
  checkNativeOptions(options);
  const names = level === null ? levels.map((l) => l.name) : [level];
  const machines = names.map((n) => levelMachine(n));
  const compiled = compileSource(source, options.listeners ?? [], options.passes ?? defaultPasses, { exact: options.exact ?? false, machines });
  const { sc, program, weights, prepare, schedules } = compiled;
  const artifact = compiled.trace.step(
    "code",
    "emit-c",
    () =>
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
        threads: options.threads ?? 1,
        flops: source.kind === "graph" ? countFlops(source.graph) : null,
      }),
    () => "",
  );
  checkMemory(compiled, options.threads ?? 1, options.maxMemory);
  return { ...artifact, compiled, weightsKey: () => weightsKey(compiled) };
}

/** @throws UserError `max-memory` when weights, arena and the threads' scratch memory may need more than the limit */
function checkMemory({ sc, levels: all, program }: Compiled, threads: number, limit: number | undefined): void {
  if (limit === undefined) return;
  const most = program.symbols.map((s) => s.max);
  const open = program.symbols.filter((s) => !Number.isFinite(s.max));
  const planned = Math.max(
    ...all.map(({ program: p }) => {
      const changing = sc.add(p.arenaBytes, sc.mul(sc.int(threads > 1 ? threads : 0), threadBytes(sc, p)));
      if (changing.constant === null && open.length > 0)
        throw new UserError(
          "max-memory",
          `the peak depends on symbols without an upper bound (${open.map((s) => s.name).join(", ")}): bound them, for example --shape ${open[0]?.name}=1..16`,
        );
      return weightBytes(p) + evaluateSize(p, changing, { weights: 0, arena: 0 }, most);
    }),
  );
  const mib = (n: number): string => `${(n / 2 ** 20).toFixed(1)} MiB`;
  if (planned > limit)
    throw new UserError(
      "max-memory",
      `the planned peak is ${mib(planned)} (weights ${mib(weightBytes(program))}, arena ${mib(planned - weightBytes(program))}), more than the limit of ${mib(limit)}`,
    );
}

/** @throws UnsupportedError for options of target `wasm` */
function checkNativeOptions(o: BuildOptions): void {
  const refuse = (why: string): never => {
    throw new UnsupportedError("option", why);
  };
  if (o.features !== undefined) refuse("features are modules of target 'wasm'; target 'native' takes what the processor has");
  if (o.deterministic)
    refuse(
      "deterministic is for target 'wasm': native code gives the same bits for any number of threads, but other processors may round differently",
    );
  if (o.database !== undefined) refuse("tuned schedules are for target 'wasm': leave the database out for target 'native'");
}
