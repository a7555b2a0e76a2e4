import { VerifyError, invariant } from "../base/errors.ts";
import { loadsOf } from "../scalar/expr.ts";
import { type Axis, type Stage, stageExprs } from "../tensor/ir.ts";
import type { LoopSpec, StageSchedule, Tail } from "./schedule.ts";

/** What the loops of one stage may be, and how they treat what is left over: rules that building and drawing schedules share. */

/** May a point be computed twice? Not where colliding writes combine, nor where a stage reads what it writes. */
function mayRepeat(s: Stage): boolean {
  const written = new Set<unknown>(s.writes.map((w) => w.tensor));
  return s.writes.every((w) => w.combiner === null) && loadsOf(...stageExprs(s)).every((e) => !written.has(e.attr));
}

export function axisOf(s: Stage, spec: LoopSpec): Axis {
  const axis = s.axes.find((a) => a.variable.name === spec.axis);
  invariant(axis !== undefined, `schedule names axis '${spec.axis}', which stage @${s.name} lacks`);
  return axis;
}

/** How a loop treats what is left over: as its schedule says, or the usual way. */
export function tailOf(s: Stage, schedule: StageSchedule, spec: LoopSpec): Tail {
  return schedule.tails[spec.axis] ?? (axisOf(s, spec).kind === "parallel" && mayRepeat(s) ? "overlap" : "peel");
}

/** Every reason why a stage cannot be scheduled so. */
export function scheduleViolations(s: Stage, schedule: StageSchedule): string[] {
  const out: string[] = [];
  const axes = new Map(s.axes.map((a) => [a.variable.name, a]));
  const last = new Map<string, number>();
  for (const l of schedule.loops) {
    const axis = axes.get(l.axis);
    if (axis === undefined) {
      out.push(`there is no axis '${l.axis}'`);
      continue;
    }
    const above = last.get(l.axis);
    if (above !== undefined && (above % l.size !== 0 || above <= l.size))
      out.push(`axis '${l.axis}': a loop of size ${l.size} inside one of size ${above}`);
    if (l.kind === "vector" && l.size !== 1) out.push(`axis '${l.axis}': a vector loop has size 1`);
    if (l.kind !== "serial" && above === undefined && typeof axis.extent !== "number")
      out.push(`axis '${l.axis}': an ${l.kind} loop over a symbolic extent`);
    last.set(l.axis, l.size);
  }
  for (const a of s.axes) if (a.extent !== 1 && last.get(a.variable.name) !== 1) out.push(`axis '${a.variable.name}' has no loop of size 1`);
  if (schedule.loops.filter((l) => l.kind === "vector").length > 1) out.push("more than one vector loop");
  const vector = schedule.loops.findIndex((l) => l.kind === "vector");
  if (vector >= 0 && schedule.loops.slice(vector + 1).some((l) => l.kind === "serial")) out.push("a serial loop inside of the vector loop");
  for (const [name, tail] of Object.entries(schedule.tails)) {
    if (tail === "overlap" && (axes.get(name)?.kind === "reduction" || !mayRepeat(s)))
      out.push(`axis '${name}': overlapping tiles would count points twice`);
  }
  return out;
}

/** @throws VerifyError `schedule` with every reason why the stage cannot be scheduled so */
export function verifyStageSchedule(s: Stage, schedule: StageSchedule): void {
  const violations = scheduleViolations(s, schedule);
  if (violations.length > 0) throw new VerifyError("schedule", `illegal schedule for stage @${s.name}: ${violations.join("; ")}`, violations);
}
