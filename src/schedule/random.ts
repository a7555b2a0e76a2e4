import type { Capabilities } from "../base/machine.ts";
import { type Kernel, allStages } from "../tensor/ir.ts";
import { candidates, plainSchedule } from "./candidates.ts";
import { type Chooser, blockBytes, kernelCost, packings, rowPackings } from "./choose.ts";
import { stageFacts } from "./model.ts";
import { scheduleViolations } from "./stage-rules.ts";
import { packOperand } from "./primitives/pack.ts";
import { minimalFilter } from "./primitives/winograd.ts";
import { type LoopSpec, type Pack, type StageSchedule, type Tail, algorithms } from "./schedule.ts";

/** A generator of numbers in [0, 1). */
export type Random = () => number;

/** Numbers from a seed (mulberry32). */
export function seededRandom(seed: number): Random {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const pick = <T>(random: Random, items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;

/**
 * Legal schedules at random: every split, order, unrolling, vector axis, tail and packing. `drawn` counts the alternatives
 * that came up, so that a test suite can tell that none was left out.
 */
export function randomChooser(machine: Capabilities, random: Random, drawn: Map<string, number> = new Map()): Chooser {
  const note = (what: string) => drawn.set(what, (drawn.get(what) ?? 0) + 1);
  return (sc, k) => {
    let kernel: Kernel = k;
    const before: Kernel[] = [];
    const packs: Pack[] = [];
    const algorithm = pick(random, algorithms);
    const filter = algorithm === "direct" ? null : minimalFilter(sc, k, algorithm, blockBytes(machine));
    if (filter !== null) {
      note(algorithm);
      kernel = filter.result;
      before.push(filter.weights(), filter.data, filter.product);
    }
    const packWith = (options: readonly Pack[], what: string): boolean => {
      if (options.length === 0 || random() >= 0.5) return false;
      const pack = pick(random, options);
      const packed = packOperand(sc, kernel, pack);
      if (packed === null) return false;
      note(what);
      kernel = packed.kernel;
      packs.push(pack);
      before.push(packed.packing);
      return true;
    };
    if (
      packWith(
        [...kernel.stages.keys()].flatMap((i) => [...packings(sc, machine, kernel, i)]),
        "pack",
      )
    )
      packWith([...rowPackings(sc, machine, kernel, packs)], "pack rows");
    const stages: Record<string, StageSchedule> = {};
    for (const s of allStages(kernel)) {
      const facts = stageFacts(sc, s);
      const enumerated = [...candidates(machine, facts)];
      let chosen = pick(random, enumerated);
      const own = randomLoops(random, kernel, s);
      if (own !== null && random() < 0.6 && scheduleViolations(s, own).length === 0) chosen = own;
      for (const l of chosen.loops) note(l.kind);
      for (const t of Object.values(chosen.tails)) note(`tail ${t}`);
      if (chosen.loops.some((l) => l.split)) note("split");
      stages[s.name] = scheduleViolations(s, chosen).length === 0 ? chosen : plainSchedule({ stage: s });
    }
    const specialize = random() < 0.3;
    if (specialize) note("specialize");
    const joined = random() < 0.3;
    if (joined) note("joined");
    const schedule = { algorithm: filter === null ? ("direct" as const) : algorithm, stages, packs, joined, specialize };
    return { kernel, schedule, before, cost: kernelCost(sc, machine, kernel, schedule) };
  };
}

/** Splits every axis at random, in random order; parallel axes stay outside of reductions where they are not of constant size. */
function randomLoops(random: Random, k: Kernel, s: Kernel["stages"][0]): StageSchedule | null {
  if (s.inner !== null || s.accumulators.some((a) => a.axes.length !== (s.accumulators[0]?.axes.length ?? 0)) || k.axes.length > 0) return null;
  const outer: LoopSpec[] = [];
  const inner: LoopSpec[] = [];
  const reductions: LoopSpec[] = [];
  const tails: Record<string, Tail> = {};
  for (const a of s.axes) {
    const axis = a.variable.name;
    const size = pick(random, [1, 1, 2, 3, 4, 5, 8]);
    if (a.kind === "reduction") {
      if (size > 1) reductions.push({ axis, size, kind: "serial" }, { axis, size: 1, kind: random() < 0.5 ? "unrolled" : "serial" });
      else reductions.push({ axis, size: 1, kind: "serial" });
      continue;
    }
    if (size > 1) {
      outer.push({ axis, size, kind: "serial" });
      inner.push({ axis, size: 1, kind: random() < 0.5 ? "unrolled" : "serial" });
      const combining = s.writes.some((w) => w.combiner !== null);
      tails[axis] = pick(random, combining ? ["peel", "mask"] : ["overlap", "peel", "mask"]);
    } else outer.push({ axis, size: 1, kind: "serial" });
  }
  outer.sort(() => random() - 0.5);
  return { loops: random() < 0.5 ? [...outer, ...reductions, ...inner] : [...outer, ...inner, ...reductions], tails };
}
