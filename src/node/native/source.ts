import { type BuiltC, buildC } from "../../build-c.ts";
import type { Source } from "../../importer.ts";
import type { BuildOptions } from "../../load.ts";
import { type LevelName, levels } from "../../targets/c/levels.ts";
import { levelMachine } from "../../targets/c/machine.ts";
import type { CSource } from "./index.ts";
import { nativeLevel, processorCaches } from "./processor.ts";
import { weightsKey } from "./weights-key.ts";

/** A model compiled to C for this machine. */
export interface NativeSource extends CSource {
  readonly compiled: BuiltC["compiled"];
  readonly manifest: BuiltC["artifact"]["manifest"];
}

/**
 * Compiles an imported model to C: for this processor's level of code, or for all where it is not known before the code
 * looks. Deterministic code is portable.
 * @throws UserError, UnsupportedError for what is wrong with the model or the options
 */
export function nativeSource(source: Source, options: BuildOptions, level: LevelName | null = nativeLevel()): NativeSource {
  const all = levels.map((l) => l.name);
  const names: readonly LevelName[] = options.deterministic ? ["portable"] : level === null ? all : [level];
  const caches = processorCaches();
  const { artifact, compiled } = buildC(
    source,
    options,
    names,
    names.map((n) => levelMachine(n, caches)),
  );
  return { ...artifact, compiled, weightsKey: () => weightsKey(compiled) };
}
