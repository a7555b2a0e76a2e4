import type { Given } from "./inputs.ts";
import type { Block, KeptRegion } from "./kept.ts";
import { storedBytes } from "./values.ts";

/**
 * Caches that grow where they lie. A kept output that begins with a kept input's rows is one place with it while there is
 * room for more: only new rows are written, and the input's handle stays what it was.
 */

/** An output that begins with an input's rows, along `dim`: part of the manifest. */
export interface Growth {
  readonly input: number;
  readonly output: number;
  readonly dim: number;
}

/** How a tensor that can grow lies in its block: along `dim` there is room for `capacity` rows, of which the handle that has most of them uses `filled`. */
export interface Rows {
  readonly dim: number;
  /** How many times there are so many rows in the block, one after the other. */
  readonly outer: number;
  readonly rowBytes: number;
  capacity: number;
  filled: number;
}

/** Rows that a new block has room for, beside those it must have: a half more, so that what grows row by row is seldom copied. */
const roomFor = (rows: number) => rows + Math.max(16, rows >> 1);

/** An output to be kept: its dtype, its dims, and the most rows that it may ever have (null: unknown). */
export interface GrowingOutput {
  readonly dtype: string;
  readonly dims: readonly number[];
  readonly most: number | null;
}

/** The block that an output is kept in: the input's own where it has the room and nobody has added rows to it yet, else a new one. */
export function blockFor(region: KeptRegion, { dim }: Growth, given: Given, out: GrowingOutput, taken: ReadonlySet<Block>): Block {
  const rows = out.dims[dim] as number;
  const old = given.kept?.rows ?? null;
  const extends_ = old !== null && old.dim === dim && old.filled === given.dims[dim] && old.capacity >= rows;
  if (extends_ && given.kept !== null && !taken.has(given.kept)) {
    old.filled = rows;
    return given.kept;
  }
  const capacity = Math.max(rows, Math.min(roomFor(rows), out.most ?? Number.POSITIVE_INFINITY));
  const outer = out.dims.slice(0, dim).reduce((n, d) => n * d, 1);
  const rowBytes = storedBytes(out.dtype, out.dims.slice(dim + 1));
  const roomy = region.hasRoom(outer * capacity * rowBytes) ? capacity : rows;
  return region.allocate(outer * roomy * rowBytes, { dim, outer, rowBytes, capacity: roomy, filled: rows });
}

/** Moves what lies in a block to a place that is not above it, without room for more rows; gives its bytes there. */
export function moveTrimmed(memory: Uint8Array, from: number, to: number, rows: Rows): number {
  const { outer, rowBytes, capacity, filled } = rows;
  for (let i = 0; i < outer; i++) {
    const at = from + i * capacity * rowBytes;
    memory.copyWithin(to + i * filled * rowBytes, at, at + filled * rowBytes);
  }
  rows.capacity = filled;
  return outer * filled * rowBytes;
}

/** Rows along `dim` that a tensor's place has room for. */
export function capacityOf(block: Block | null, dim: number, dims: readonly number[]): number {
  return block?.rows?.dim === dim ? block.rows.capacity : (dims[dim] as number);
}

/** Do a kept tensor's elements follow one another? */
export function isPacked({ rows }: Block, dims: readonly number[]): boolean {
  return rows === null || rows.capacity === dims[rows.dim] || dims.slice(0, rows.dim).every((d) => d === 1);
}

/** A kept tensor's pieces without gaps: where each begins in its block, where in the packed tensor, and its bytes. */
export function runsOf(block: Block, dtype: string, dims: readonly number[]): (readonly [number, number, number])[] {
  const { rows } = block;
  if (rows === null || isPacked(block, dims)) return [[0, 0, storedBytes(dtype, dims)]];
  const row = storedBytes(dtype, dims.slice(rows.dim + 1));
  const bytes = row * (dims[rows.dim] as number);
  const outer = dims.slice(0, rows.dim).reduce((n, d) => n * d, 1);
  return Array.from({ length: outer }, (_, i) => [i * row * rows.capacity, i * bytes, bytes]);
}
