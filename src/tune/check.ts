import type { DType } from "../base/dtype.ts";
import { typicalSize } from "../schedule/access.ts";
import { errorFactor } from "../schedule/primitives/winograd.ts";
import type { Algorithm } from "../schedule/schedule.ts";
import { type Kernel, type TensorFunction, allStages, writesOf } from "../tensor/ir.ts";
import type { Candidate } from "./candidate.ts";
import { type Range, perturbed, randomBytes, toNumbers } from "./data.ts";
import type { Engine, Runnable } from "./engine.ts";

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

/** What a reference is made of: something that runs, and the bytes of its buffers. */
export interface Subject {
  readonly inputs: readonly { readonly dtype: DType; readonly elements: number }[];
  readonly outputs: readonly DType[];
  /** Points that reductions run over for one result. */
  readonly terms: number;
  readonly run: (inputs: readonly Uint8Array[]) => Promise<readonly Uint8Array[]>;
}

/** The reference of an isolated kernel: its default schedule on random data. */
export function makeReference(engine: Engine, f: TensorFunction, standard: Candidate, sizes: readonly number[]): Promise<Reference> {
  const kernel = f.kernels[0] as Kernel;
  const written = new Set(writesOf(kernel));
  return referenceOf({
    inputs: f.inputs.map((t, i) => ({ dtype: t.dtype, elements: sizes[i] as number })),
    outputs: f.outputs.filter((t) => written.has(t)).map((t) => t.dtype),
    terms: reducedPoints(kernel),
    run: async (inputs) => runOnce(engine, await standard.runnable(inputs)),
  });
}

/** Runs what is right by definition. @throws NoReference when it does not come to an end */
export async function runOnce(engine: Engine, r: Runnable): Promise<readonly Uint8Array[]> {
  const done = await engine.load(r);
  if (done.kind !== "ran") throw new NoReference(`the default schedule ${done.kind === "trap" ? "traps" : "does not come to an end"}: ${done.why}`);
  engine.unload(done.id);
  return done.outputs;
}

/**
 * Runs the default on random data. A sum of n terms in another order differs by at most 4·√n·ε·Σ|terms|; what
 * Σ|terms| is in a kernel that does more than add is found by trying: operands changed at random by a part δ each move a
 * result by about δ·√Σterms², and Σ|terms| ≤ √n·√Σterms² (Cauchy, Schwarz). So the bound is 4·n·ε times the movement
 * that was seen, per δ: of the element, or of the output on the whole where that is more, lest chance made it small.
 * Integers that are made of floats are not compared where they moved.
 */
export async function referenceOf(subject: Subject): Promise<Reference> {
  const { outputs: results, terms } = subject;
  const run = async (inputs: readonly Uint8Array[]): Promise<Float64Array[]> => {
    const found = await subject.run(inputs);
    return results.map((d, i) => toNumbers(d, found[i] as Uint8Array, countOf(d, found[i] as Uint8Array)));
  };
  const draw = (range: Range) => subject.inputs.map(({ dtype, elements }, i) => randomBytes(dtype, elements, 7 + i, range));
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
    const other = (i: number) => 100 + k * subject.inputs.length + i;
    const moved = await run(subject.inputs.map(({ dtype, elements }, i) => perturbed(dtype, inputs[i] as Uint8Array, elements, other(i), part)));
    moved.forEach((m, o) => {
      const sum = squares[o] as Float64Array;
      m.forEach((v, i) => {
        sum[i] = (sum[i] as number) + ((v - (values[o]?.[i] as number)) / part) ** 2 / perturbations;
      });
    });
  }
  return {
    inputs,
    outputs: results.map((dtype, o) => {
      const own = values[o] as Float64Array;
      return { dtype, values: own, bound: bounds(dtype, own, squares[o] as Float64Array, terms) };
    }),
  };
}

function countOf(d: DType, bytes: Uint8Array): number {
  return Math.floor((bytes.length * 8) / d.bits);
}
function undefinedIn(values: readonly Float64Array[]): number {
  return values.reduce((n, v) => n + v.reduce((m, x) => m + (Number.isFinite(x) ? 0 : 1), 0), 0);
}

/** Points that reductions run over for one result, all stages together. */
export function reducedPoints(k: Kernel): number {
  return allStages(k).reduce((n, s) => n + s.axes.reduce((p, a) => (a.kind === "reduction" ? p * typicalSize(a.extent) : p), 1), 0);
}

/** Constants of functions, and steps of a polynomial, round too. */
const steps = 8;

function bounds(d: DType, values: Float64Array, squares: Float64Array, terms: number): Float64Array {
  if (!d.isFloat) return squares.map((s) => (s === 0 ? 0 : Number.POSITIVE_INFINITY));
  // Functions of f64 run through f32.
  const epsilon = 2 ** -(d.format?.fraction ?? 23);
  const finite = squares.filter((s) => Number.isFinite(s));
  const mean = finite.reduce((n, s) => n + s, 0) / Math.max(1, finite.length);
  return squares.map((s, i) => {
    const moved = Number.isFinite(s) ? Math.sqrt(Math.max(s, mean)) : Number.POSITIVE_INFINITY;
    return 4 * (terms + steps) * epsilon * Math.max(moved, Math.abs(values[i] as number));
  });
}

/** An algorithm's own bound, in multiples of the direct sum's; windows have two axes at most. */
export function factorOf(a: Algorithm): number {
  return a === "direct" ? 1 : errorFactor(a, 2);
}

/** The first element that is further off than the bound times `factor`, in words; null when there is none. */
export function differenceOf(r: Reference, outputs: readonly Uint8Array[], factor: number): string | null {
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
