import type { Capabilities } from "../base/machine.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { type Kernel, type Tensor, allStages } from "../tensor/ir.ts";
import { stageAccesses } from "./access.ts";
import { chooseSchedule, plainSchedule } from "./candidates.ts";
import { stageFacts } from "./model.ts";
import { type Packed, packOperand } from "./primitives/pack.ts";
import type { KernelSchedule, Pack, StageSchedule } from "./schedule.ts";

/** A kernel with the schedule it gets: packing rewrites the kernel and adds copies that run before it. */
export interface Scheduled {
  readonly kernel: Kernel;
  readonly schedule: KernelSchedule;
  readonly copies: readonly { readonly tensor: Tensor; readonly packing: Kernel }[];
}

/** Decides the schedule of a linearised kernel. */
export type Chooser = (sc: Scalars, k: Kernel) => Scheduled;

/** Every axis one serial loop: what correctness is measured against. */
export const emptyChooser: Chooser = (_, k) => ({
  kernel: k,
  schedule: { stages: Object.fromEntries(allStages(k).map((s) => [s.name, plainSchedule({ stage: s })])), packs: [], specialize: false },
  copies: [],
});

/** Sizes of packed tiles, in vectors. */
const packVectors = [1, 2, 3, 4] as const;
/** Above this many address streams in the innermost loop, strides are baked into the code instead. */
const manyStreams = 10;

/** The cheapest schedule under the machine's cost model, packing of operands included. */
export function defaultChooser(machine: Capabilities, isConstant: (t: Tensor) => boolean): Chooser {
  return (sc, k) => {
    let best = withoutPacking(sc, machine, k);
    for (const pack of packings(sc, machine, k)) {
      const packed = packOperand(sc, k, pack);
      if (packed === null) continue;
      const option = withoutPacking(sc, machine, packed.kernel);
      // Copies of constants are made once, when the model is compiled; others on every run.
      const cost = option.cost + (isConstant(sourceOf(packed)) ? 0 : withoutPacking(sc, machine, packed.packing).cost);
      if (cost < best.cost) best = { ...option, cost, schedule: { ...option.schedule, packs: [pack] }, copies: [{ tensor: packed.copy, packing: packed.packing }] };
    }
    return { kernel: best.kernel, schedule: best.schedule, copies: best.copies };
  };
}

function sourceOf(p: Packed): Tensor {
  const load = p.packing.stages[0]?.writes[0]?.value;
  return load?.attr as Tensor;
}

function withoutPacking(sc: Scalars, machine: Capabilities, k: Kernel): Scheduled & { readonly cost: number } {
  const stages: Record<string, StageSchedule> = {};
  let [cost, streams] = [0, 0];
  for (const s of allStages(k)) {
    const chosen = chooseSchedule(machine, stageFacts(sc, s));
    stages[s.name] = chosen.schedule;
    cost += chosen.cost;
    streams = Math.max(streams, chosen.streams);
  }
  return { kernel: k, schedule: { stages, packs: [], specialize: streams > manyStreams }, copies: [], cost };
}

/** Ways to pack one operand of a reduction along an axis that the other operands do not have. */
export function* packings(sc: Scalars, machine: Capabilities, k: Kernel): Generator<Pack> {
  const [s] = k.stages;
  if (k.stages.length !== 1 || s === undefined || s.accumulators.length !== 1 || !s.axes.some((a) => a.kind === "reduction")) return;
  const { reduced } = stageAccesses(sc, s);
  if (reduced.length < 2) return;
  for (const [operand, access] of reduced.entries()) {
    for (const axis of s.axes) {
      if (axis.kind !== "parallel" || !access.strides.has(axis.variable) || reduced.some((o) => o !== access && o.strides.has(axis.variable))) continue;
      for (const n of packVectors) yield { operand, axis: axis.variable.name, size: n * machine.lanes.f32 };
    }
  }
}
