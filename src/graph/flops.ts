import type { GraphFunction, Op, Region } from "./ir.ts";
import { decomposeComposites } from "./passes/decompose.ts";

/** Additions and multiplications of one op, its regions counted once; 0 where the op states none, NaN where symbols decide. */
function opFlops(op: Op): number {
  const own = op.def.flops?.(op.operands, op.results, op.attrs as never) ?? 0;
  return own + op.regions.reduce((n, r) => n + regionFlops(r), 0);
}
function regionFlops(r: Region): number {
  return r.ops.reduce((n, op) => n + opFlops(op), 0);
}

/** Additions and multiplications of one run; null when they depend on symbols. A multiply-add counts two. */
export function countFlops(f: GraphFunction): number | null {
  const n = regionFlops(decomposeComposites(f));
  return Number.isFinite(n) ? n : null;
}

/** The same by node of the source model. */
export function flopsByOrigin(f: GraphFunction): Map<string, number> {
  const out = new Map<string, number>();
  for (const op of decomposeComposites(f).ops) {
    const origin = op.results[0]?.origin[0];
    const n = opFlops(op);
    if (origin !== undefined && Number.isFinite(n)) out.set(origin, (out.get(origin) ?? 0) + n);
  }
  return out;
}
