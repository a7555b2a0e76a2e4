import { productOf } from "../base/dim.ts";
import { InternalError } from "../base/errors.ts";
import type { Capabilities } from "../base/machine.ts";
import type { Expr } from "../scalar/expr.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { printExpr } from "../scalar/text.ts";
import { type Kernel, type Tensor, allStages, readsOf } from "../tensor/ir.ts";
import { stageAccesses, typicalSize } from "./access.ts";
import { type Effort, chooseSchedule, plainSchedule } from "./candidates.ts";
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
/** A copy made on every run may be this many times as large as what it copies: windows that overlap would multiply it. */
const largestGrowth = 1.5;
/** Above this many address streams in the innermost loop, strides are baked into the code instead. */
const manyStreams = 10;

/** Costs that were computed before, by the kernel's text. */
export type CostCache = Map<string, number>;

/** The cheapest schedule under the machine's cost model, packing of operands included; kernels of one structure are decided once. */
export function defaultChooser(machine: Capabilities, isConstant: (t: Tensor) => boolean): Chooser {
  const decided = new Map<string, { readonly schedule: KernelSchedule; readonly stages: readonly StageSchedule[] }>();
  return (sc, k) => {
    const key = costKey(k, isConstant);
    const old = decided.get(key);
    if (old !== undefined) return replay(sc, k, old.schedule, old.stages);
    const { kernel, schedule, copies } = cheapest(sc, machine, k, isConstant, "full");
    decided.set(key, { schedule, stages: allStages(kernel).map((s) => schedule.stages[s.name] as StageSchedule) });
    return { kernel, schedule, copies };
  };
}

/** A schedule decided for a kernel of the same structure, whose stages have other names. */
function replay(sc: Scalars, k: Kernel, schedule: KernelSchedule, stages: readonly StageSchedule[]): Scheduled {
  const { kernel, copies } = applySchedule(sc, k, schedule);
  return {
    kernel,
    schedule: { ...schedule, stages: Object.fromEntries(allStages(kernel).map((s, i) => [s.name, stages[i] as StageSchedule])) },
    copies,
  };
}

/** The kernel with a given schedule, as it was printed: its operands are packed as that says. @throws InternalError when it does not fit */
export function applySchedule(sc: Scalars, k: Kernel, schedule: KernelSchedule): Scheduled {
  let kernel = k;
  const copies: Scheduled["copies"][0][] = [];
  for (const pack of schedule.packs) {
    const packed = packOperand(sc, kernel, pack);
    if (packed === null) throw new InternalError("schedule", `kernel @${k.name} cannot be packed as its schedule says: ${JSON.stringify(pack)}`);
    kernel = packed.kernel;
    copies.push({ tensor: packed.copy, packing: packed.packing });
  }
  return { kernel, schedule, copies };
}

/** Cost of a linearised kernel under about its default schedule. */
export function scheduleCost(
  sc: Scalars,
  machine: Capabilities,
  k: Kernel,
  isConstant: (t: Tensor) => boolean,
  cache: CostCache = new Map(),
): number {
  const key = costKey(k, isConstant);
  let cost = cache.get(key);
  if (cost === undefined) {
    cost = cheapest(sc, machine, k, isConstant, "quick").cost;
    cache.set(key, cost);
  }
  return cost;
}

/** A text equal for kernels that cost the same: their axes and accesses. */
function costKey(k: Kernel, isConstant: (t: Tensor) => boolean): string {
  const names = new Map<string, string>();
  const rename = (e: Expr) => printExpr(e).replace(/%[^[]+\[/g, (m) => names.get(m) ?? names.set(m, `%${names.size}[`).get(m) ?? m);
  const lines = allStages(k).map(
    (s) =>
      `${s.axes.map((a) => `${a.variable.name}${a.kind[0]}${a.extent}`).join()};${s.accumulators.map((a) => rename(a.lift)).join()};${s.writes.map((w) => `${rename(w.index[0] as Expr)}=${rename(w.value)}`).join()}`,
  );
  const constants = readsOf(k)
    .map((t) => `${isConstant(t) ? "c" : "t"}${t.dtype}`)
    .join("");
  return `${k.axes.map((a) => a.extent).join()}|${constants}|${lines.join("|")}`;
}

function cheapest(
  sc: Scalars,
  machine: Capabilities,
  k: Kernel,
  isConstant: (t: Tensor) => boolean,
  effort: Effort,
): Scheduled & { readonly cost: number } {
  let best = withoutPacking(sc, machine, k, null, effort);
  for (const pack of packings(sc, machine, k)) {
    if (effort === "quick" && pack.size !== 2 * machine.lanes.f32) continue;
    const packed = packOperand(sc, k, pack);
    if (packed === null) continue;
    const fixed = isConstant(sourceOf(packed));
    if (!fixed && typicalSize(productOf(packed.copy.dims)) > largestGrowth * typicalSize(productOf(sourceOf(packed).dims))) continue;
    const option = withoutPacking(sc, machine, packed.kernel, `${pack.axis}.i`, effort);
    // Copies of constants are made once, when the model is compiled; others on every run.
    const cost = option.cost + (fixed ? 0 : withoutPacking(sc, machine, packed.packing, null, effort).cost);
    if (cost < best.cost)
      best = { ...option, cost, schedule: { ...option.schedule, packs: [pack] }, copies: [{ tensor: packed.copy, packing: packed.packing }] };
  }
  return best;
}

function sourceOf(p: Packed): Tensor {
  const load = p.packing.stages[0]?.writes[0]?.value;
  return load?.attr as Tensor;
}

function withoutPacking(
  sc: Scalars,
  machine: Capabilities,
  k: Kernel,
  only: string | null = null,
  effort: Effort = "full",
): Scheduled & { readonly cost: number } {
  const stages: Record<string, StageSchedule> = {};
  let [cost, streams] = [0, 0];
  for (const s of allStages(k)) {
    const chosen = chooseSchedule(machine, stageFacts(sc, s), only, effort);
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
      if (axis.kind !== "parallel" || !access.strides.has(axis.variable) || reduced.some((o) => o !== access && o.strides.has(axis.variable)))
        continue;
      for (const n of packVectors) yield { operand, axis: axis.variable.name, size: n * machine.lanes.f32 };
    }
  }
}
