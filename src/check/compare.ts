import type { DType } from "../base/dtype.ts";
import type { HostTensor } from "../graph/host.ts";

/** The first element in which two tensors differ by more than rounding explains. */
export interface Divergence {
  readonly index: readonly number[];
  readonly expected: number | bigint;
  readonly got: number | bigint;
  /** How many elements differ. */
  readonly count: number;
}

/** Distance from 1 to the next value of a float dtype. */
function epsilon(d: DType): number {
  return 2 ** -(d.format?.fraction ?? 23);
}

/**
 * Compares with a reference. Integers and bools must be equal; floats may differ by 1e-4 of the reference's deviation, plus
 * 1e-5 of the element (more for narrow floats), plus 1e-6: what sums in another order explain.
 * `only` tells which elements to look at.
 */
export function firstDivergence(expected: HostTensor, got: HostTensor, only: (i: number) => boolean = () => true): Divergence | null {
  if (expected.data.length !== got.data.length)
    return { index: [], expected: expected.data.length, got: got.data.length, count: Math.abs(expected.data.length - got.data.length) };
  const float = expected.dtype.isFloat;
  const relative = Math.max(1e-5, 4 * epsilon(expected.dtype));
  const base = float ? 1e-4 * deviation(expected.data as Float64Array) + 1e-6 : 0;
  let first = -1;
  let count = 0;
  for (let i = 0; i < expected.data.length; i++) {
    if (!only(i)) continue;
    const [e, g] = [expected.data[i] as number, got.data[i] as number];
    if (Object.is(e, g) || e === g) continue;
    if (float && Math.abs(e - g) <= base + relative * Math.abs(e)) continue;
    if (first < 0) first = i;
    count++;
  }
  return first < 0
    ? null
    : { index: unflatten(first, expected.dims), expected: expected.data[first] as number, got: got.data[first] as number, count };
}

function deviation(data: Float64Array): number {
  let [n, mean, squares] = [0, 0, 0];
  for (const v of data) {
    if (!Number.isFinite(v)) continue;
    n++;
    const step = v - mean;
    mean += step / n;
    squares += step * (v - mean);
  }
  return n === 0 ? 0 : Math.sqrt(squares / n);
}

function unflatten(flat: number, dims: readonly number[]): number[] {
  const out = new Array<number>(dims.length);
  let rest = flat;
  for (let d = dims.length - 1; d >= 0; d--) {
    out[d] = rest % (dims[d] as number);
    rest = Math.floor(rest / (dims[d] as number));
  }
  return out;
}
