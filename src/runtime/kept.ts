import { UserError } from "./errors.ts";

export const pageBytes = 65536;
export const alignUp = (n: number) => Math.ceil(n / 64) * 64;

/** Grows the memory to at least that many bytes. */
function growMemory(memory: WebAssembly.Memory, bytes: number): void {
  const missing = Math.ceil(bytes / pageBytes) - memory.buffer.byteLength / pageBytes;
  if (missing <= 0) return;
  try {
    if (bytes > 2 ** 32) throw new RangeError("beyond 32 bits");
    memory.grow(missing);
  } catch {
    throw new UserError("memory", `${Math.ceil(bytes / 2 ** 20)} MiB are needed, more than this engine gives: use smaller sizes`);
  }
}

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
  /** Frees its memory; the handle cannot be used any more. */
  dispose(): void {
    if (this.block !== null) this.region.free(this.block);
    this.block = null;
  }
}

/** Where a model keeps tensors. */
export interface KeptPlace {
  /** Frees the block when the handle is collected as garbage. */
  readonly watch: (handle: KeptTensor, block: Block) => void;
  readonly free: (block: Block) => void;
}

export interface Block {
  /** Bytes from the start of the region. */
  readonly offset: number;
  readonly bytes: number;
}

/**
 * Kept tensors lie in one region above the arena. It grows with the memory; when the arena needs the room (inputs of larger
 * sizes), the whole region moves up within the memory.
 */
export class KeptRegion implements KeptPlace {
  readonly memory: WebAssembly.Memory;
  base: number;
  private readonly start: number;
  private readonly blocks = new Set<Block>();
  private readonly registry: FinalizationRegistry<Block>;
  constructor(memory: WebAssembly.Memory, base: number) {
    this.memory = memory;
    this.base = base;
    this.start = base;
    this.registry = new FinalizationRegistry((b) => this.blocks.delete(b));
  }
  get bytes(): number {
    let end = 0;
    for (const b of this.blocks) end = Math.max(end, b.offset + b.bytes);
    return end;
  }
  watch(handle: KeptTensor, block: Block): void {
    this.registry.register(handle, block);
  }
  free(block: Block): void {
    this.blocks.delete(block);
  }
  /** The lowest free place of that size; grows the memory when there is none. */
  allocate(size: number): Block {
    const bytes = alignUp(size);
    let offset = 0;
    for (const b of [...this.blocks].sort((x, y) => x.offset - y.offset)) {
      if (offset + bytes <= b.offset) break;
      offset = Math.max(offset, b.offset + b.bytes);
    }
    growMemory(this.memory, this.base + offset + bytes);
    const block = { offset, bytes };
    this.blocks.add(block);
    return block;
  }
  /** Makes room for an arena that ends at `end`, and for some growth: sizes that grow from run to run must not move all that is kept each time. */
  moveAbove(end: number): void {
    const { bytes } = this;
    const base = end <= this.base ? this.base : alignUp(end + (bytes === 0 ? 0 : (end - this.start) / 2));
    growMemory(this.memory, base + bytes);
    if (base > this.base && bytes > 0) new Uint8Array(this.memory.buffer).copyWithin(base, this.base, this.base + bytes);
    this.base = base;
  }
  copyIn(from: number, size: number): Block {
    const block = this.allocate(size);
    new Uint8Array(this.memory.buffer).copyWithin(this.base + block.offset, from, from + size);
    return block;
  }
  copyOut(block: Block, to: number, size: number): void {
    const from = this.base + block.offset;
    new Uint8Array(this.memory.buffer).copyWithin(to, from, from + size);
  }
}
