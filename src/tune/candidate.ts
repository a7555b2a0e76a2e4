import type { Capabilities } from "../base/machine.ts";
import { compileTensor } from "../compile.ts";
import { evaluateDim } from "../base/dim.ts";
import type { Program } from "../loop/ir.ts";
import { kernelPasses } from "../loop/passes/pipeline.ts";
import { applySchedule, defaultChooser } from "../schedule/choose.ts";
import { type ScheduleDatabase, databaseChooser } from "../schedule/database.ts";
import type { KernelSchedule } from "../schedule/schedule.ts";
import { type Tensor, type TensorFunction, writesOf } from "../tensor/ir.ts";
import type { Runnable } from "./engine.ts";
import { type Features, programFeatures } from "./features.ts";
import { openTask } from "./open.ts";
import { packageProgram } from "./package.ts";
import { symbolValues } from "./task.ts";

/** How candidates are compiled: as the model would be. */
export interface BuildContext {
  readonly machine: Capabilities;
  readonly relaxed: boolean;
  readonly exact: boolean;
  /** Threads that candidates run on. */
  readonly threads: number;
  /** Schedules of what a schedule adds before the kernel. */
  readonly database: ScheduleDatabase;
  readonly machineId: string;
}

/** A kernel under one schedule, compiled to a module of its own. */
export interface Candidate {
  readonly schedule: KernelSchedule;
  readonly features: Features;
  readonly program: Program;
  /** Equal for equal code. */
  readonly codeId: string;
  /** The module with its memory, given what the task's inputs hold. Packed constants are made here, ahead of time. */
  readonly runnable: (inputs: readonly Uint8Array[]) => Promise<Runnable>;
}

/**
 * Builds an isolated kernel under a schedule.
 * @throws VerifyError or InternalError when the schedule cannot be built
 */
export function buildCandidate(f: TensorFunction, schedule: KernelSchedule, c: BuildContext): Candidate {
  const open = openTask(f);
  const isConstant = (t: Tensor) => t.data !== null;
  const parts = databaseChooser(defaultChooser(c.machine, isConstant, { exact: c.exact }), c.database, { ...c, isConstant });
  let first = true;
  const compiled = compileTensor(open.sc, open.function, {
    schedule: (sc, k) => {
      if (!first) return parts(sc, k);
      first = false;
      return applySchedule(sc, c.machine, open.kernel, schedule);
    },
    exact: c.exact,
    // A linearised kernel is no tensor IR as the verifier knows it; the results are checked instead.
    verify: false,
    passes: { graph: [], tensor: [], kernel: kernelPasses },
  });
  const { program } = compiled;
  const symbols = symbolValues(f);
  const env = new Map(f.symbols.map((s, i) => [s.name, symbols[i] as number]));
  const written = new Set(writesOf(open.kernel));
  const results = open.function.outputs.flatMap((t, port) =>
    written.has(t) ? [{ port, bytes: t.dtype.bytes(evaluateDim(t.dims[0] ?? 1, env)) }] : [],
  );
  const { codeId, memoryBytes, runnable } = packageProgram(compiled, { ...c, symbols, results });
  return { schedule, program, features: programFeatures(program, symbols, memoryBytes), codeId, runnable };
}
