import type { Capabilities } from "../base/machine.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { type Kernel, type Stage, allStages } from "../tensor/ir.ts";
import { stageAccesses } from "./access.ts";
import { blockBytes } from "./choose.ts";
import { axisName, mentionedReads } from "./kernel-key.ts";
import { kernelViolations } from "./legal.ts";
import { packOperand } from "./primitives/pack.ts";
import { minimalFilter } from "./primitives/winograd.ts";
import type { KernelSchedule, Pack, StageSchedule, Tail } from "./schedule.ts";

/**
 * A schedule free of names: stages are called by their position in the rewritten kernel, axes by kind and position (`p0`,
 * `r2`), packed operands by the order in which the stage mentions them. So it fits every kernel of the same key.
 */
export type PortableSchedule = KernelSchedule;

/** The schedule of a kernel in portable form. */
export function toPortable(sc: Scalars, machine: Capabilities, k: Kernel, schedule: KernelSchedule): PortableSchedule {
  const packs: Pack[] = [];
  let kernel = afterAlgorithm(sc, machine, k, schedule) ?? k;
  for (const pack of schedule.packs) {
    const s = kernel.stages[pack.stage] as Stage;
    const load = stageAccesses(sc, s).reduced[pack.operand]?.load;
    packs.push({
      stage: pack.stage,
      operand: load === undefined ? -1 : mentionedReads(s).indexOf(load),
      axis: axisName(
        s,
        s.axes.findIndex((a) => a.variable.name === pack.axis),
      ),
      size: pack.size,
    });
    kernel = packOperand(sc, kernel, pack)?.kernel ?? kernel;
  }
  const stages = allStages(kernel).map((s, i): [string, StageSchedule] => {
    const own = schedule.stages[s.name] ?? { loops: [], tails: {} };
    return [String(i), renamed(own, new Map(s.axes.map((a, j) => [a.variable.name, axisName(s, j)])))];
  });
  return inOrder({ ...schedule, packs, stages: Object.fromEntries(stages) });
}

/** The same schedule with its fields in one order, so that equal ones print alike. */
export function inOrder(s: PortableSchedule): PortableSchedule {
  const { algorithm, stages, packs, joined, specialize } = s;
  const stage = ({ loops, tails }: StageSchedule): StageSchedule => ({
    loops: loops.map((l) => {
      const { axis, size, kind, ...rest } = l;
      return { axis, size, kind, ...rest };
    }),
    tails: Object.fromEntries(Object.entries(tails).sort(([a], [b]) => (a < b ? -1 : 1))),
  });
  return {
    algorithm,
    stages: Object.fromEntries(Object.entries(stages).map(([n, x]) => [n, stage(x)])),
    packs: packs.map((p) => ({ stage: p.stage, operand: p.operand, axis: p.axis, size: p.size })),
    joined,
    specialize,
  };
}

/** The portable schedule with the kernel's names; null, with the reason, where it does not fit. */
export function fromPortable(
  sc: Scalars,
  machine: Capabilities,
  k: Kernel,
  portable: PortableSchedule,
): { readonly schedule: KernelSchedule; readonly why: null } | { readonly schedule: null; readonly why: string } {
  const no = (why: string) => ({ schedule: null, why }) as const;
  let kernel = afterAlgorithm(sc, machine, k, portable);
  if (kernel === null) return no(`algorithm '${portable.algorithm}' does not apply`);
  const packs: Pack[] = [];
  for (const p of portable.packs) {
    const s: Stage | undefined = kernel.stages[p.stage];
    const load = s === undefined ? undefined : mentionedReads(s)[p.operand];
    const axis = s?.axes.find((_, j) => axisName(s, j) === p.axis);
    if (s === undefined || load === undefined || axis === undefined) return no(`stage ${p.stage} has no operand ${p.operand} with an axis ${p.axis}`);
    const pack = { stage: p.stage, operand: stageAccesses(sc, s).reduced.findIndex((a) => a.load === load), axis: axis.variable.name, size: p.size };
    const packed = packOperand(sc, kernel, pack);
    if (packed === null) return no(`operand ${p.operand} cannot be packed along ${p.axis} by ${p.size}`);
    packs.push(pack);
    kernel = packed.kernel;
  }
  const all = allStages(kernel);
  if (Object.keys(portable.stages).length !== all.length)
    return no(`it has ${Object.keys(portable.stages).length} stages, the kernel has ${all.length}`);
  const stages: Record<string, StageSchedule> = {};
  for (const [i, s] of all.entries()) {
    const own = portable.stages[String(i)];
    if (own === undefined) return no(`it has no stage ${i}`);
    stages[s.name] = renamed(own, new Map(s.axes.map((a, j) => [axisName(s, j), a.variable.name])));
  }
  const schedule = { ...portable, packs, stages };
  const [violation] = kernelViolations(kernel, schedule);
  return violation === undefined ? { schedule, why: null } : no(violation);
}

function afterAlgorithm(sc: Scalars, machine: Capabilities, k: Kernel, s: KernelSchedule): Kernel | null {
  return s.algorithm === "direct" ? k : (minimalFilter(sc, k, s.algorithm, blockBytes(machine))?.result ?? null);
}

/** Names that the map does not know stay, marked, so that they fit no axis. */
function renamed(s: StageSchedule, names: ReadonlyMap<string, string>): StageSchedule {
  const of = (n: string) => names.get(n) ?? `?${n}`;
  return {
    loops: s.loops.map((l) => ({ ...l, axis: of(l.axis) })),
    tails: Object.fromEntries(Object.entries(s.tails).map(([n, t]): [string, Tail] => [of(n), t])),
  };
}
