import type { Capabilities } from "../base/machine.ts";
import { hashText } from "../base/hash.ts";
import { compileTensor } from "../compile.ts";
import { evaluateDim } from "../base/dim.ts";
import { evaluateSize } from "../loop/interpret.ts";
import type { Program } from "../loop/ir.ts";
import { kernelPasses } from "../loop/passes/pipeline.ts";
import { applySchedule, defaultChooser } from "../schedule/choose.ts";
import { type ScheduleDatabase, databaseChooser } from "../schedule/database.ts";
import type { KernelSchedule } from "../schedule/schedule.ts";
import { emitModule, initialPages, weightsBase } from "../targets/wasm/module.ts";
import { weightBytes, writeWeights } from "../targets/wasm/weights.ts";
import { type Tensor, type TensorFunction, writesOf } from "../tensor/ir.ts";
import type { Runnable } from "./engine.ts";
import { type Features, programFeatures } from "./features.ts";
import { openTask } from "./open.ts";
import { symbolValues } from "./task.ts";

/** How candidates are compiled: as the model would be. */
export interface BuildContext {
  readonly machine: Capabilities;
  readonly relaxed: boolean;
  readonly exact: boolean;
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
  const { sc, program } = compiled;
  const symbols = symbolValues(f);
  const weights = weightBytes(program);
  const module = emitModule(sc, [{ program, prefix: "" }], { relaxed: c.relaxed, shared: false, weightBytes: weights });
  const base = { weights: weightsBase, arena: weightsBase + weights };
  const arena = evaluateSize(program, program.arenaBytes, base, symbols);
  const env = new Map(f.symbols.map((s, i) => [s.name, symbols[i] as number]));
  const written = new Set(writesOf(open.kernel));
  const outputs = open.function.outputs.flatMap((t, i) => {
    const port = program.outputs[i];
    if (!written.has(t) || port === undefined) return [];
    return [{ at: evaluateSize(program, port.address, base, symbols), bytes: t.dtype.bytes(evaluateDim(t.dims[0] ?? 1, env)) }];
  });
  const places = program.inputs.map((p) => evaluateSize(program, p.address, base, symbols));
  return {
    schedule,
    program,
    features: programFeatures(program, symbols, weights + arena),
    codeId: hashText(Array.from(module, (b) => String.fromCharCode(b)).join("")),
    runnable: async (inputs) => {
      const bytes = new Uint8Array(weights);
      await writeWeights(sc, program, compiled.weights, compiled.prepare, (offset, b) => bytes.set(b, offset));
      const fills = inputs.map((b, i) => ({ at: places[i] as number, bytes: b }));
      return {
        module,
        pages: Math.max(initialPages(program, weights), Math.ceil((base.arena + arena) / 65536) + 1),
        fills: [...(weights === 0 ? [] : [{ at: weightsBase, bytes }]), ...fills],
        outputs,
        symbols,
      };
    },
  };
}
