import type { Compiled } from "../compile.ts";
import { evaluateSize } from "../loop/interpret.ts";
import type { Program } from "../loop/ir.ts";
import type { Expr } from "../scalar/expr.ts";
import { printExpr } from "../scalar/text.ts";
import { weightBytes } from "../targets/wasm/weights.ts";
import { launchesOf } from "./kernel-times.ts";
import { viewDim } from "./graph.ts";
import { usualSizes } from "./sizes.ts";
import { viewSymbol } from "./source.ts";
import type { MemoryView, WeightView } from "./types.ts";

/** The plan of the arena at these sizes of symbols. */
export function viewMemory(c: Compiled, sizes: Readonly<Record<string, number>> = {}): MemoryView {
  const { program: p } = c;
  const usual = usualSizes(
    p.symbols.map(viewSymbol),
    p.inputs.map(({ dims }) => ({ dims: dims.map(viewDim) })),
  );
  const symbols = p.symbols.map((s) => sizes[s.name] ?? (usual[s.name] as number));
  const at = sizeReader(p, symbols);
  return {
    sizes: Object.fromEntries(p.symbols.map((s, i) => [s.name, symbols[i] as number])),
    arenaBytes: at(p.arenaBytes),
    weightBytes: weightBytes(p),
    buffers: (p.placements ?? []).map(({ name, role, offset, bytes, first, last }) => ({
      name,
      role,
      offset: at(offset),
      bytes: at(bytes),
      offsetText: printExpr(offset),
      bytesText: printExpr(bytes),
      first,
      last,
    })),
    grows: p.room !== null,
    launches: launchesOf(p.main).length,
  };
}

/** Evaluates sizes, which are kept modulo 2^32. */
function sizeReader(p: Program, symbols: readonly number[]): (e: Expr) => number {
  return (e) => (e.constant === null ? evaluateSize(p, e, { weights: 0, arena: 0 }, symbols) : Number(e.constant)) >>> 0;
}

export function viewWeights({ program, weights }: Compiled): WeightView[] {
  return program.weightSlots.map((slot, i) => {
    const t = weights[i];
    return {
      name: slot.name,
      dtype: t?.dtype.name ?? "",
      dims: t?.dims.map(viewDim) ?? [],
      offset: slot.offset,
      bytes: slot.bytes,
      origins: t?.origin ?? [],
    };
  });
}
