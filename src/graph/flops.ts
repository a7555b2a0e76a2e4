import { substituteDim } from "../base/dim.ts";
import type { GraphFunction, Op, Region } from "./ir.ts";
import type { TensorType } from "./op.ts";
import { decomposeComposites } from "./passes/decompose.ts";

/** Values of symbols by name; those that lack one stay open. */
type Sizes = ReadonlyMap<string, number>;

function typeAt(t: TensorType, sizes: Sizes): TensorType {
  return sizes.size === 0 ? t : { dtype: t.dtype, dims: t.dims.map((d) => substituteDim(d, sizes)) };
}

/** Additions and multiplications of one op, its regions counted once; 0 where the op states none, NaN where symbols decide. */
function opFlops(op: Op, sizes: Sizes): number {
  const at = (t: TensorType) => typeAt(t, sizes);
  const own = op.def.flops?.(op.operands.map(at), op.results.map(at), op.attrs as never) ?? 0;
  return own + op.regions.reduce((n, r) => n + regionFlops(r, sizes), 0);
}
function regionFlops(r: Region, sizes: Sizes): number {
  return r.ops.reduce((n, op) => n + opFlops(op, sizes), 0);
}

/** Additions and multiplications of one run; null when they depend on symbols. A multiply-add counts two. */
export function countFlops(f: GraphFunction, sizes: Sizes = new Map()): number | null {
  const n = regionFlops(decomposeComposites(f), sizes);
  return Number.isFinite(n) ? n : null;
}

/** The same by node of the source model. */
export function flopsByOrigin(f: GraphFunction, sizes: Sizes = new Map()): Map<string, number> {
  const out = new Map<string, number>();
  for (const op of decomposeComposites(f).ops) {
    const origin = op.results[0]?.origin[0];
    const n = opFlops(op, sizes);
    if (origin !== undefined && Number.isFinite(n)) out.set(origin, (out.get(origin) ?? 0) + n);
  }
  return out;
}
