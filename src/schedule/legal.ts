import type { Axis, Kernel, Stage } from "../tensor/ir.ts";
import { allStages } from "../tensor/ir.ts";
import { scheduleViolations } from "./stage-rules.ts";
import { hasConstantExtent } from "./parametrize.ts";
import type { KernelSchedule, LoopSpec, StageSchedule } from "./schedule.ts";

/** Bodies that the unrolled loops of a stage may make: above this a schedule is refused, for its code would know no bounds. */
const largestBody = 4096;

/**
 * Every reason why a (rewritten) kernel cannot be scheduled so: what `scheduleViolations` finds in a stage, and besides
 * what the building of loops relies on, so that a schedule without violations can be built.
 */
export function kernelViolations(k: Kernel, schedule: KernelSchedule): string[] {
  const stages = allStages(k);
  const names = new Set(stages.map((s) => s.name));
  const unknown = Object.keys(schedule.stages).filter((n) => !names.has(n));
  return [
    ...unknown.map((n) => `there is no stage @${n}`),
    ...stages.flatMap((s) => {
      const own = schedule.stages[s.name];
      return own === undefined ? [`stage @${s.name} has no schedule`] : stageViolations(s, own).map((v) => `stage @${s.name}: ${v}`);
    }),
  ];
}

function stageViolations(s: Stage, schedule: StageSchedule): string[] {
  const found = scheduleViolations(s, schedule);
  if (found.length > 0) return found;
  for (const name of Object.keys(schedule.tails)) if (!s.axes.some((a) => a.variable.name === name)) found.push(`a tail for '${name}', no axis`);
  const kindOf = new Map(s.axes.map((a) => [a.variable.name, a.kind]));
  const { loops } = schedule;
  const first = loops.findIndex((l) => kindOf.get(l.axis) === "reduction");
  if (first >= 0 && s.accumulators.length > 0) found.push(...tileViolations(s, loops, first));
  for (const [i, l] of loops.entries()) {
    if (l.split === true && kindOf.get(l.axis) !== "reduction") found.push(`a split loop over '${l.axis}', which is no reduction`);
    const span = spanAbove(s, loops, i);
    // Places of their own lie side by side, where the lanes of the tile would.
    if (l.split === true && loops.some((o) => o.kind === "vector" && kindOf.get(o.axis) === "parallel"))
      found.push(`a split loop over '${l.axis}' beside vectors along a parallel axis`);
    if (l.split === true && l.kind === "serial") found.push(`a split loop over '${l.axis}' that is serial`);
    const isPrivate = kindOf.get(l.axis) === "reduction" && (l.kind === "vector" || l.split === true);
    if (isPrivate && (span === null || span % l.size !== 0)) found.push(`the split loop over '${l.axis}' needs a constant number of steps`);
  }
  if (isMixed(s)) found.push(...mixedViolations(s, loops, first));
  if (bodiesOf(s, schedule) > largestBody) found.push(`more than ${largestBody} unrolled bodies`);
  return found;
}

/** Loops over parallel axes inside of the reduction make a tile, whose size must be known. */
function tileViolations(s: Stage, loops: readonly LoopSpec[], first: number): string[] {
  const out: string[] = [];
  for (const [i, l] of loops.entries()) {
    if (i < first || s.axes.find((a) => a.variable.name === l.axis)?.kind !== "parallel") continue;
    const span = spanAbove(s, loops, i);
    if (span === null) out.push(`axis '${l.axis}' has loops inside of the reduction, but its tile has no constant size`);
    else if (span % l.size !== 0) out.push(`axis '${l.axis}': a loop of size ${l.size} inside of the reduction, over ${span} points`);
  }
  return out;
}

/** Accumulators of different widths: the narrow ones are merged once for each step of the reductions, outside of the wide axes' loops. */
function mixedViolations(s: Stage, loops: readonly LoopSpec[], first: number): string[] {
  const narrowest = s.accumulators.reduce((a, b) => (b.axes.length < a.length ? b.axes : a), s.accumulators[0]?.axes ?? []);
  const narrow = new Set(narrowest.map((v) => v.name));
  const kindOf = new Map(s.axes.map((a) => [a.variable.name, a.kind]));
  const inside = first < 0 ? [] : loops.slice(first);
  const lastReduction = inside.findLastIndex((l) => kindOf.get(l.axis) === "reduction");
  const out: string[] = [];
  if (inside.some((l) => kindOf.get(l.axis) === "parallel" && narrow.has(l.axis)))
    out.push("an axis of the narrow accumulators inside of the reduction");
  if (inside.some((l, i) => i < lastReduction && kindOf.get(l.axis) === "parallel")) out.push("a parallel loop between the reductions' loops");
  return out;
}

/** Does the stage hold others, or have accumulators of different widths? */
export function isMixed(s: Stage): boolean {
  const parallel = s.axes.filter((a) => a.kind === "parallel").length;
  return s.inner !== null || s.accumulators.some((a) => a.axes.length !== parallel);
}

/** The points of its axis that a loop runs over, where that is a constant in the kernel's code; else null. */
export function spanAbove(s: Stage, loops: readonly LoopSpec[], at: number): number | null {
  const { axis: name } = loops[at] as LoopSpec;
  const axis = s.axes.find((a) => a.variable.name === name) as Axis;
  const own = loops.slice(0, at + 1).filter((l) => l.axis === name);
  // A loop of a size that the points before it do not reach makes one step, over all of them.
  return own
    .slice(0, -1)
    .reduce<number | null>((span, l) => Math.min(span ?? l.size, l.size), hasConstantExtent(axis, own) ? (axis.extent as number) : null);
}

/** Copies of the innermost body that a stage's unrolled loops make; a vector loop makes one. */
export function bodiesOf(s: Stage, schedule: StageSchedule): number {
  return schedule.loops.reduce((n, l, i) => {
    if (l.kind === "serial") return n;
    const trips = Math.ceil((spanAbove(s, schedule.loops, i) ?? 1) / l.size);
    return n * (l.kind === "vector" && trips <= 4 ? 1 : trips);
  }, 1);
}
