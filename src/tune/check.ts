import type { DType } from "../base/dtype.ts";
import { typicalSize } from "../schedule/access.ts";
import { errorFactor } from "../schedule/primitives/winograd.ts";
import type { Algorithm } from "../schedule/schedule.ts";
import { type Kernel, type TensorFunction, allStages, writesOf } from "../tensor/ir.ts";
import type { Candidate } from "./candidate.ts";
import { type Range, perturbed, randomBytes, toNumbers } from "./data.ts";
import type { Engine } from "./engine.ts";

/** What a task's results must be, and how far from them a correct schedule may be. */
export interface Reference {
  readonly inputs: readonly Uint8Array[];
  readonly outputs: readonly ExpectedOutput[];
}
interface ExpectedOutput {
  readonly dtype: DType;
  readonly values: Float64Array;
  /** Largest |difference| of each element; Infinity where the data leaves it undefined. */
  readonly bound: Float64Array;
}

/** The default schedule failed: there is nothing to compare with. */
export class NoReference extends Error {}

/** Inputs are made larger or smaller by this part to see how results depend on them. */
const part = 2 ** -12;
const perturbations = 4;

/**
 * Runs the default schedule on random data. A sum of n terms in another order differs by at most 4·√n·ε·Σ|terms|; what
 * Σ|terms| is in a kernel that does more than add is found by trying: operands changed at random by a part δ each move a
 * result by about δ·√Σterms², and Σ|terms| ≤ √n·√Σterms² (Cauchy, Schwarz). So the bound is 4·n·ε times the movement
 * that was seen, per δ: of the element, or of the output on the whole where that is more, lest chance made it small.
 * Integers that are made of floats are not compared where they moved.
 */
export async function makeReference(engine: Engine, f: TensorFunction, standard: Candidate, sizes: readonly number[]): Promise<Reference> {
  const kernel = f.kernels[0] as Kernel;
  const dtypes = f.inputs.map((t) => t.dtype);
  const run = async (inputs: readonly Uint8Array[]): Promise<Float64Array[]> => {
    const r = await engine.load(await standard.runnable(inputs));
    if (r.kind !== "ran") throw new NoReference(`the default schedule ${r.kind === "trap" ? "traps" : "does not come to an end"}: ${r.why}`);
    engine.unload(r.id);
    return results.map((t, i) => toNumbers(t.dtype, r.outputs[i] as Uint8Array, countOf(t.dtype, r.outputs[i] as Uint8Array)));
  };
  const written = new Set(writesOf(kernel));
  const results = f.outputs.filter((t) => written.has(t));
  const draw = (range: Range) => dtypes.map((d, i) => randomBytes(d, sizes[i] as number, 7 + i, range));
  let inputs = draw("signed");
  let values = await run(inputs);
  if (undefinedIn(values) > 0) {
    const positive = draw("positive");
    const again = await run(positive);
    if (undefinedIn(again) < undefinedIn(values)) [inputs, values] = [positive, again];
  }
  const count = values.reduce((n, v) => n + v.length, 0);
  if (undefinedIn(values) * 2 > count) throw new NoReference("the default schedule gives no finite results on random data");
  const squares = values.map((v) => new Float64Array(v.length));
  for (let k = 0; k < perturbations; k++) {
    const moved = await run(inputs.map((b, i) => perturbed(dtypes[i] as DType, b, sizes[i] as number, 100 + k * dtypes.length + i, part)));
    moved.forEach((m, o) => {
      const sum = squares[o] as Float64Array;
      m.forEach((v, i) => {
        sum[i] = (sum[i] as number) + ((v - (values[o]?.[i] as number)) / part) ** 2 / perturbations;
      });
    });
  }
  const terms = reducedPoints(kernel);
  return {
    inputs,
    outputs: results.map((t, o) => ({
      dtype: t.dtype,
      values: values[o] as Float64Array,
      bound: bounds(t.dtype, values[o] as Float64Array, squares[o] as Float64Array, terms),
    })),
  };
}

function countOf(d: DType, bytes: Uint8Array): number {
  return Math.floor((bytes.length * 8) / d.bits);
}
function undefinedIn(values: readonly Float64Array[]): number {
  return values.reduce((n, v) => n + v.reduce((m, x) => m + (Number.isFinite(x) ? 0 : 1), 0), 0);
}

/** Points that reductions run over for one result, all stages together. */
function reducedPoints(k: Kernel): number {
  return allStages(k).reduce((n, s) => n + s.axes.reduce((p, a) => (a.kind === "reduction" ? p * typicalSize(a.extent) : p), 1), 0);
}

const mantissa: Readonly<Record<string, number>> = { f16: 10, bf16: 7 };
/** Constants of functions, and steps of a polynomial, round too. */
const steps = 8;

function bounds(d: DType, values: Float64Array, squares: Float64Array, terms: number): Float64Array {
  if (!d.isFloat) return squares.map((s) => (s === 0 ? 0 : Number.POSITIVE_INFINITY));
  // Functions of f64 run through f32.
  const epsilon = 2 ** -(mantissa[d.name] ?? 23);
  const finite = squares.filter((s) => Number.isFinite(s));
  const mean = finite.reduce((n, s) => n + s, 0) / Math.max(1, finite.length);
  return squares.map((s, i) => {
    const moved = Number.isFinite(s) ? Math.sqrt(Math.max(s, mean)) : Number.POSITIVE_INFINITY;
    return 4 * (terms + steps) * epsilon * Math.max(moved, Math.abs(values[i] as number));
  });
}

/** An algorithm's own bound, in multiples of the direct sum's; windows have two axes at most. */
function factorOf(a: Algorithm): number {
  return a === "direct" ? 1 : errorFactor(a, 2);
}

/** The first element that is too far off, in words; null when there is none. */
export function differenceOf(r: Reference, outputs: readonly Uint8Array[], algorithm: Algorithm): string | null {
  const factor = factorOf(algorithm);
  for (const [o, want] of r.outputs.entries()) {
    const got = toNumbers(want.dtype, outputs[o] as Uint8Array, want.values.length);
    for (let i = 0; i < got.length; i++) {
      const [g, w] = [got[i] as number, want.values[i] as number];
      if (Object.is(g, w) || g === w) continue;
      const bound = factor * (want.bound[i] as number);
      if (bound !== Number.POSITIVE_INFINITY && !(Math.abs(g - w) <= bound)) return `output ${o}, element ${i}: ${g}, expected ${w} ± ${bound}`;
    }
  }
  return null;
}
