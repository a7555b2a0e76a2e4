import { UserError } from "../base/errors.ts";
import type { LoopKind } from "../loop/ir.ts";

/**
 * A schedule is plain data: it says how the stages of a kernel become loops, and nothing of what they compute. Any legal
 * schedule gives the same results (up to the rounding of reordered sums).
 */

/**
 * One loop of a stage, outermost first. `size` is the number of points of the axis that one iteration covers: an axis of
 * 56 split by loops of size 6 and 1 runs tiles of six. The last loop of every axis has size 1. A `vector` loop over a
 * reduction axis, and one that is `split`, accumulates into places of its own, which are combined afterwards.
 */
export interface LoopSpec {
  readonly axis: string;
  readonly size: number;
  readonly kind: LoopKind;
  readonly split?: boolean;
}

/**
 * What happens where an axis is no multiple of a loop's size. `overlap` moves the last tile back, so that it computes
 * some points twice (parallel axes only); `peel` runs the rest point by point; `mask` tests every point.
 */
export type Tail = "overlap" | "peel" | "mask";

export interface StageSchedule {
  readonly loops: readonly LoopSpec[];
  readonly tails: Readonly<Record<string, Tail>>;
}

/**
 * An operand that is copied into the order in which the tile reads it, before the kernel runs (constants: when the model
 * is compiled). The copy has the axes in `order`, where a tiled axis stands for its tiles, and the tile itself is innermost.
 */
export interface Pack {
  /** Which stage of the kernel, by its position. */
  readonly stage: number;
  /** Which of the reads inside the stage's reduction, by position. */
  readonly operand: number;
  readonly axis: string;
  readonly size: number;
}

/**
 * How a kernel's sums are computed. `direct`: as they are written. The others change the arithmetic and split the kernel
 * into several, of which the schedule's stages are the last one's (`primitives/winograd.ts`).
 */
export const algorithms = ["direct", "winograd-2", "winograd-4"] as const;
export type Algorithm = (typeof algorithms)[number];

export interface KernelSchedule {
  readonly algorithm: Algorithm;
  readonly stages: Readonly<Record<string, StageSchedule>>;
  readonly packs: readonly Pack[];
  /** Are the two outermost loops cut into pieces together, where the first alone has few iterations? */
  readonly joined: boolean;
  /** Are strides baked into the code (a kernel for each shape) or parameters (one kernel for many)? */
  readonly specialize: boolean;
}

/** One line of JSON; `parseSchedule` reads it back. */
export function printSchedule(s: KernelSchedule): string {
  return JSON.stringify(s);
}

const marks: Readonly<Record<LoopKind, string>> = { serial: "", unrolled: " unrolled", vector: " vector" };

/** One line for readers: the loops of each stage, outermost first, as `axis` or `axis:points`, and what else was decided. */
export function describeSchedule(s: KernelSchedule): string {
  const loops = Object.values(s.stages).map((x) => x.loops.map((l) => `${l.axis}${l.size > 1 ? `:${l.size}` : ""}${marks[l.kind]}`).join(", "));
  const packs = s.packs.map((p) => `operand ${p.operand} packed along ${p.axis} by ${p.size}`);
  const more = [...(s.algorithm === "direct" ? [] : [s.algorithm]), ...packs, ...(s.specialize ? ["for this shape"] : [])];
  return [loops.join(" | "), ...more].join("; ");
}

/** @throws UserError `schedule` when the text is no schedule */
export function parseSchedule(text: string): KernelSchedule {
  let v: unknown;
  try {
    v = JSON.parse(text);
  } catch (e) {
    throw new UserError("schedule", `a schedule is one JSON object: ${(e as Error).message}`);
  }
  const s = v as Partial<KernelSchedule>;
  const ok =
    typeof s === "object" &&
    s !== null &&
    algorithms.some((a) => a === s.algorithm) &&
    typeof s.stages === "object" &&
    Array.isArray(s.packs) &&
    typeof s.joined === "boolean" &&
    typeof s.specialize === "boolean" &&
    Object.values(s.stages as Record<string, Partial<StageSchedule>>).every(
      (x) =>
        Array.isArray(x.loops) &&
        x.loops.every(
          (l: Partial<LoopSpec>) =>
            typeof l.axis === "string" &&
            Number.isInteger(l.size) &&
            (l.size as number) >= 1 &&
            ["serial", "unrolled", "vector"].includes(l.kind ?? ""),
        ) &&
        typeof x.tails === "object",
    );
  if (!ok) throw new UserError("schedule", `not a schedule: expected { algorithm, stages, packs, joined, specialize }, got ${text.slice(0, 200)}`);
  return v as KernelSchedule;
}
