import { symbolDim } from "../base/dim.ts";
import type { PortInfo, SymbolInfo } from "../runtime/model.ts";
import { typicalSize } from "../schedule/access.ts";

/**
 * What symbols are taken to be where nobody says: what the cost model reckons with; but the least for one that stands first
 * in every input that it is in, and is not all of it: most often the batch.
 */
export function usualSizes(symbols: readonly SymbolInfo[], inputs: readonly Pick<PortInfo, "dims">[]): Record<string, number> {
  const isBatch = (name: string): boolean => {
    const holding = inputs.filter((p) => p.dims.some((d) => typeof d === "string" && d.split(/\W+/).includes(name)));
    return holding.length > 0 && holding.every((p) => p.dims.length > 1 && p.dims.lastIndexOf(name) === 0);
  };
  return Object.fromEntries(symbols.map((s) => [s.name, isBatch(s.name) ? inRange(s, 1) : inRange(s, typicalOf(s))]));
}

function typicalOf({ name, min, max, multiple }: SymbolInfo): number {
  return typicalSize(symbolDim({ kind: "symbol", name, min, max: max ?? Number.POSITIVE_INFINITY, multiple, source: "input", bound: null }));
}

/** A size that the symbol may have, not above the given one where that can be; at least 1 where that can be. */
function inRange({ min, max, multiple }: SymbolInfo, size: number): number {
  const least = Math.ceil(Math.max(min, Math.min(1, max ?? 1)) / multiple) * multiple;
  return Math.max(least, Math.floor(Math.min(size, max ?? size) / multiple) * multiple);
}
