import type { ConstantData } from "../../base/constant.ts";
import type { Program } from "../../loop/ir.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { emitModule, exportNames, initialPages } from "./module.ts";

/** A constant of the model, or one that a prepare program computes. */
export interface WeightSource {
  readonly name: string;
  readonly data: ConstantData | null;
}
/** A program that computes constants, with what it reads and what it makes. */
export interface PrepareProgram {
  readonly program: Program;
  readonly inputs: readonly WeightSource[];
  readonly outputs: readonly WeightSource[];
}

/** Takes bytes for a place in the weights. */
export type WeightSink = (offset: number, bytes: Uint8Array) => void;

/** Constants are copied in pieces of this many bytes. */
const pieceBytes = 1 << 22;
const pageBytes = 65536;

/**
 * Computes all weights and hands them to the sink, one constant at a time: what the model's file holds is read when its
 * turn comes and forgotten after it. Constants that are folded or packed are computed by WASM of their own.
 */
export async function writeWeights(
  sc: Scalars,
  program: Program,
  sources: readonly WeightSource[],
  prepare: readonly PrepareProgram[],
  sink: WeightSink,
  signal?: AbortSignal,
): Promise<void> {
  const slots = new Map(sources.map((s, i) => [s, program.weightSlots[i]]));
  for (const [source, slot] of slots) {
    if (source.data === null || slot === undefined) continue;
    for (let at = 0; at < source.data.byteLength; at += pieceBytes)
      sink(slot.offset + at, source.data.read(at, Math.min(pieceBytes, source.data.byteLength - at)));
  }
  if (prepare.length === 0) return;
  const bytes = emitModule(
    sc,
    prepare.map((p, i) => ({ program: p.program, prefix: `prepare_${i}_` })),
    { relaxed: false, shared: false, weightBytes: 0, growable: true },
  );
  const module = await WebAssembly.compile(bytes as BufferSource);
  // One memory for all, as large as the largest needs: no constant is in it longer than its own turn.
  const order = prepare.map((p, i) => ({ p, i, pages: initialPages(p.program, 0) })).sort((a, b) => a.pages - b.pages);
  const memory = new WebAssembly.Memory({ initial: order[0]?.pages ?? 1 });
  const instance = await WebAssembly.instantiate(module, { env: { memory } });
  for (const { p, i, pages } of order) {
    signal?.throwIfAborted();
    const missing = pages - memory.buffer.byteLength / pageBytes;
    if (missing > 0) memory.grow(missing);
    const call = (name: string): number => (instance.exports[`prepare_${i}_${name}`] as () => number)() >>> 0;
    p.inputs.forEach((t, k) => {
      const target = call(exportNames.input(k));
      const data = t.data;
      if (data === null) return;
      for (let at = 0; at < data.byteLength; at += pieceBytes)
        new Uint8Array(memory.buffer).set(data.read(at, Math.min(pieceBytes, data.byteLength - at)), target + at);
    });
    call(exportNames.main);
    p.outputs.forEach((t, k) => {
      const slot = slots.get(t);
      if (slot !== undefined) sink(slot.offset, new Uint8Array(memory.buffer, call(exportNames.output(k)), slot.bytes));
    });
  }
}

/** Bytes of the weights' region, a multiple of 64. */
export function weightBytes(program: Program): number {
  const last = program.weightSlots[program.weightSlots.length - 1];
  return last === undefined ? 0 : Math.ceil((last.offset + last.bytes) / 64) * 64;
}
