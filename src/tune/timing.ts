import type { Engine } from "./engine.ts";
import { median } from "./statistics.ts";

/** Rounds of the first look, of the second one for what looks better than the best, and of the last comparison with the default. */
export const rounds = { first: 3, second: 9, last: 21 } as const;
/** A candidate this much slower than the best is not looked at again. */
const clearlySlower = 1.04;

/** The comparison that decides. */
export interface Verdict {
  readonly ms: number;
  readonly defaultMs: number;
  /** Time relative to the default's, and how far it spreads over the rounds (half of what lies between the tenth and the ninetieth percentile). */
  readonly ratio: number;
  readonly spread: number;
  readonly kept: boolean;
}

/** Time of one loaded program relative to another's, with a second look where it may be better; null where one does not come to an end. */
export async function compareFirst(engine: Engine, id: number, other: number): Promise<number | null> {
  const first = relativeTime(await engine.time([id, other], rounds.first));
  return first !== null && first < clearlySlower ? relativeTime(await engine.time([id, other], rounds.second)) : first;
}

/** Compares two loaded programs in turns. The first is kept if it wins by more than the spread; null where one does not come to an end. */
export async function compareLast(engine: Engine, id: number, other: number): Promise<Verdict | null> {
  const times = await engine.time([id, other], rounds.last);
  if (times === null) return null;
  const [own = [], standard = []] = times;
  const ratios = own.map((t, i) => t / (standard[i] as number)).sort((a, b) => a - b);
  const at = (q: number) => ratios[Math.round((ratios.length - 1) * q)] as number;
  const [ratio, spread] = [at(0.5), (at(0.9) - at(0.1)) / 2];
  return { ms: median(own), defaultMs: median(standard), ratio, spread, kept: 1 - ratio > spread };
}

/** Median over the rounds of the first's time by the second's. */
function relativeTime(times: readonly (readonly number[])[] | null): number | null {
  if (times === null) return null;
  const [a = [], b = []] = times;
  return median(a.map((t, i) => t / (b[i] as number)));
}
