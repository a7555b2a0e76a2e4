/// <reference lib="esnext.disposable" preserve="true" />
import { addDisposal, disposedError } from "./disposal.ts";
import { type Rows, moveTrimmed, runsOf } from "./caches.ts";
import { UserError } from "../base/errors.ts";
import { alignUp, growMemory } from "./memory.ts";

/**
 * An output that stayed in the model's memory; give it back as an input of a later run of the same model. It lies above the
 * arena until it is disposed of (or collected as garbage, which a loop without pauses may never see: dispose of handles
 * that are no longer needed).
 */
export class KeptTensor {
  readonly dtype: string;
  readonly dims: readonly number[];
  /** @internal the place inside the region of kept tensors; null after `dispose` */
  block: Block | null;
  /** @internal */
  readonly region: KeptPlace;
  constructor(dtype: string, dims: readonly number[], block: Block, region: KeptPlace) {
    this.dtype = dtype;
    this.dims = dims;
    this.block = block;
    this.region = region;
    region.watch(this, block);
  }
  /** The same as `dispose`. Only where the engine has `Symbol.dispose`. */
  declare readonly [Symbol.dispose]: () => void;
  /** Frees its memory; the handle cannot be used any more. To call it again does nothing. */
  dispose(): void {
    if (this.block !== null) this.region.unwatch(this, this.block);
    this.block = null;
  }
  static {
    addDisposal(KeptTensor.prototype, (t) => t.dispose());
  }
}

/** Where a model keeps tensors. */
export interface KeptPlace {
  /** The block has one more handle; to collect that as garbage is to dispose of it. */
  readonly watch: (handle: KeptTensor, block: Block) => void;
  /** The handle is disposed of; with its last one the block is freed. */
  readonly unwatch: (handle: KeptTensor, block: Block) => void;
}

export interface Block {
  /** Bytes from the start of the region; blocks move together where room is short. */
  offset: number;
  /** Less where it had room for more than lies in it. */
  bytes: number;
  /** How what can grow lies in it; null for what is packed. */
  readonly rows: Rows | null;
  /** Handles of tensors in it: of a cache that grows there may be several. */
  handles: number;
}

/** What a region of kept tensors may take. */
export interface KeptLimits {
  /** Where the region begins at the latest; null: wherever it must. */
  readonly base: number | null;
  /** Most bytes of it; null: as many as the engine gives. */
  readonly bytes: number | null;
}

/**
 * Kept tensors lie in one region above the arena. It grows with the memory; when the arena needs the room (inputs of larger
 * sizes), the whole region moves up within the memory.
 */
export class KeptRegion implements KeptPlace {
  base: number;
  private memory: WebAssembly.Memory | null;
  private readonly limits: KeptLimits;
  private readonly start: number;
  private readonly blocks = new Set<Block>();
  private readonly registry: FinalizationRegistry<Block> | null;
  constructor(memory: WebAssembly.Memory, base: number, limits: KeptLimits) {
    this.memory = memory;
    this.base = base;
    this.start = base;
    this.limits = limits;
    // Some hosts have none: there handles have to be disposed of.
    this.registry = typeof FinalizationRegistry === "undefined" ? null : new FinalizationRegistry((b) => this.drop(b));
  }
  /** Up to the end of the last block. */
  get bytes(): number {
    let end = 0;
    for (const b of this.blocks) end = Math.max(end, b.offset + b.bytes);
    return end;
  }
  watch(handle: KeptTensor, block: Block): void {
    block.handles++;
    this.registry?.register(handle, block, handle);
  }
  unwatch(handle: KeptTensor, block: Block): void {
    this.registry?.unregister(handle);
    this.drop(block);
  }
  private drop(block: Block): void {
    block.handles--;
    this.freeUnused(block);
  }
  /** Frees a block that no handle speaks of. */
  freeUnused(block: Block): void {
    if (block.handles <= 0) this.blocks.delete(block);
  }
  /** Lets go of the memory: handles may live on in their users' hands. */
  release(): void {
    this.blocks.clear();
    this.memory = null;
  }

  /**
   * The lowest free place of that size; grows the memory when there is none. Where no more may be kept, or the engine gives no more,
   * blocks first move together, and lose their room for more rows.
   * @throws UserError `memory` when that does not suffice
   */
  allocate(size: number, rows: Rows | null = null): Block {
    const bytes = alignUp(size);
    const offset = this.placeFor(bytes);
    const block: Block = { offset, bytes, rows, handles: 0 };
    this.blocks.add(block);
    return block;
  }
  private placeFor(bytes: number): number {
    const { bytes: most } = this.limits;
    const grown = (offset: number) => {
      growMemory(this.held(), this.base + offset + bytes);
      return offset;
    };
    const lowest = this.freePlace(bytes);
    let tight = !this.hasRoom(bytes);
    if (most === null || lowest + bytes <= most) {
      try {
        return grown(lowest);
      } catch (e) {
        if (this.blocks.size === 0) throw e;
        tight = true;
      }
    }
    const end = this.compact(tight);
    if (most !== null && end + bytes > most) throw this.full(bytes, end, most);
    return grown(end);
  }
  /** May a block of that size be allocated while all others stay as large as they are? */
  hasRoom(size: number): boolean {
    const { bytes: most } = this.limits;
    return most === null || [...this.blocks].reduce((n, b) => n + b.bytes, 0) + alignUp(size) <= most;
  }
  private full(bytes: number, kept: number, most: number): UserError {
    return new UserError(
      "memory",
      `an output of ${bytes} bytes cannot be kept: ${kept} of the ${most} bytes that the model's memory has for kept tensors are taken. Dispose of kept tensors that are no longer needed, or compile the model with more room: --kept-memory ${kept + bytes} (keptMemory in the library)`,
    );
  }
  private freePlace(bytes: number): number {
    let offset = 0;
    for (const b of this.inOrder()) {
      if (offset + bytes <= b.offset) break;
      offset = Math.max(offset, b.offset + b.bytes);
    }
    return offset;
  }
  private inOrder(): Block[] {
    return [...this.blocks].sort((x, y) => x.offset - y.offset);
  }
  /** Moves all blocks together; gives where they end. `trim`: room for more rows is given up. */
  private compact(trim: boolean): number {
    const memory = new Uint8Array(this.held().buffer);
    let end = 0;
    for (const b of this.inOrder()) {
      const [from, to] = [this.base + b.offset, this.base + end];
      if (trim && b.rows !== null) b.bytes = alignUp(moveTrimmed(memory, from, to, b.rows));
      else memory.copyWithin(to, from, from + b.bytes);
      b.offset = end;
      end += b.bytes;
    }
    return end;
  }

  /** Makes room for an arena that ends at `end`, and for some growth: sizes that grow from run to run must not move all that is kept each time. */
  moveAbove(end: number): void {
    const { bytes } = this;
    const memory = this.held();
    const base = end <= this.base ? this.base : this.baseAbove(end, bytes);
    growMemory(memory, base + bytes);
    if (base > this.base && bytes > 0) new Uint8Array(memory.buffer).copyWithin(base, this.base, this.base + bytes);
    this.base = base;
  }
  private baseAbove(end: number, bytes: number): number {
    const roomy = alignUp(end + (bytes === 0 ? 0 : (end - this.start) / 2));
    return this.limits.base === null ? roomy : Math.max(end, Math.min(roomy, this.limits.base));
  }
  copyIn(from: number, size: number): Block {
    const block = this.allocate(size);
    new Uint8Array(this.held().buffer).copyWithin(this.base + block.offset, from, from + size);
    return block;
  }
  /** Copies a tensor to an address of the memory. */
  copyOut(block: Block, to: number, dtype: string, dims: readonly number[]): void {
    this.copyTo(new Uint8Array(this.held().buffer), to, block, dtype, dims);
  }
  /** Copies a tensor so that its elements follow one another. */
  copyTo(target: Uint8Array, at: number, block: Block, dtype: string, dims: readonly number[]): void {
    const memory = new Uint8Array(this.held().buffer, this.base + block.offset, block.bytes);
    for (const [from, to, bytes] of runsOf(block, dtype, dims)) target.set(memory.subarray(from, from + bytes), at + to);
  }
  private held(): WebAssembly.Memory {
    if (this.memory === null) throw disposedError();
    return this.memory;
  }
}
