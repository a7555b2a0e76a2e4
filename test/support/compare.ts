import type { DType } from "../../src/base/dtype.ts";
import { TilewrightError } from "../../src/base/errors.ts";
import type { HostTensor } from "../../src/graph/host.ts";

/** `|got - expected| <= relative * |expected| + absolute`, as numpy's assert_allclose has it. */
export interface Tolerance {
  readonly relative: number;
  readonly absolute: number;
}

/** Bits of the fraction of a float dtype. */
const fractionBits: Readonly<Record<string, number>> = { f64: 52, f32: 23, f16: 10, bf16: 7 };

/**
 * What ONNX's own runner allows (1e-3 and 1e-7). Where values are summed, an element near zero may be the difference of large
 * ones: 1e-5 absolute. Floats of 16 bits: two units in the last place (the expected values are those of a reference that
 * rounds after each of its own steps, and these need not be ours), absolute for sums, whose terms are around 1. Narrower
 * floats are results of conversions, which are exact, as integers are.
 */
export function toleranceOf(d: DType, sums: boolean): Tolerance {
  const bits = d.isFloat ? fractionBits[d.name] : undefined;
  if (bits === undefined) return { relative: 0, absolute: 0 };
  const ulps = 2 * 2 ** -bits;
  return { relative: Math.max(1e-3, ulps), absolute: sums ? Math.max(1e-5, ulps) : Math.max(1e-7, ulps * 2 ** -14) };
}

/** The first difference of two tensors, or null. */
function difference(got: HostTensor, expected: HostTensor, { relative, absolute }: Tolerance): string | null {
  const type = (t: HostTensor) => `${t.dtype}[${t.dims.join(", ")}]`;
  if (type(got) !== type(expected)) return `${type(got)}, expected ${type(expected)}`;
  let [first, wrong] = [-1, 0];
  for (let i = 0; i < expected.data.length; i++) {
    const [a, b] = [got.data[i], expected.data[i]] as [number | bigint, number | bigint];
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
    if (relative > 0 && Math.abs(Number(a) - Number(b)) <= relative * Math.abs(Number(b)) + absolute && Number.isFinite(b)) continue;
    wrong++;
    if (first < 0) first = i;
  }
  if (first < 0) return null;
  return `element ${first}: ${got.data[first]}, expected ${expected.data[first]}; ${wrong} of ${expected.data.length} differ`;
}

/** The first difference of two lists of tensors, or null. */
export function differences(got: readonly HostTensor[], expected: readonly HostTensor[], tolerance: (d: DType) => Tolerance): string | null {
  if (got.length !== expected.length) return `${got.length} outputs, expected ${expected.length}`;
  for (const [i, want] of expected.entries()) {
    const d = difference(got[i] as HostTensor, want, tolerance(want.dtype));
    if (d !== null) return `output ${i}: ${d}`;
  }
  return null;
}

/** An error as one line of a report. */
export function brief(e: unknown): string {
  return e instanceof TilewrightError ? `${e.code}: ${e.message}` : e instanceof Error ? (e.stack ?? e.message) : String(e);
}
