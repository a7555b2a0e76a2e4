import { Bytes, type ValueType, encodeModule } from "./encoder.ts";

/** Vectors that one turn of the loop reads, each into a sum of its own. */
const unrolled = 8;
const pageBytes = 65536;

/** f(from, to): adds up what lies in between, a multiple of the loop's step. */
function readingModule(): Uint8Array {
  const code = new Bytes();
  const simd = (n: number) => code.byte(0xfd).u32(n);
  const sums = Array.from({ length: unrolled }, (_, i) => 2 + i);
  code.byte(0x03, 0x40);
  sums.forEach((sum, i) => {
    code.byte(0x20).u32(sum).byte(0x20).u32(0);
    simd(0);
    code.u32(4).u32(16 * i);
    // i32x4.add
    simd(0xae);
    code.byte(0x21).u32(sum);
  });
  code
    .byte(0x20)
    .u32(0)
    .byte(0x41)
    .s32(16 * unrolled)
    .byte(0x6a, 0x22)
    .u32(0)
    .byte(0x20)
    .u32(1)
    .byte(0x49, 0x0d, 0x00, 0x0b);
  code.byte(0x20).u32(2);
  for (const sum of sums.slice(1)) {
    code.byte(0x20).u32(sum);
    simd(0xae);
  }
  // i32x4.extract_lane 0
  simd(0x1b);
  code.byte(0);
  const locals = new Array<ValueType>(unrolled).fill("v128");
  const sum = { name: "sum", type: { params: ["i32", "i32"] as ValueType[], results: ["i32"] as ValueType[] }, locals, code, exported: true };
  return encodeModule([sum], [], { initial: 1, maximum: null, shared: false });
}

export interface Bandwidth {
  /** Of memory that is in no cache, and of what the first cache holds: GB/s (10^9 bytes). */
  readonly memoryGBs: number;
  readonly cacheGBs: number;
}

/** Beyond most processors' caches; and well inside of the first one. */
const [farBytes, nearBytes] = [1 << 27, 1 << 14];

/**
 * How fast one thread reads memory in this engine, measured: about a third of a second. It takes 128 MiB for that time, less where the engine
 * does not give so much.
 */
export async function measureBandwidth(clock: () => number = () => performance.now()): Promise<Bandwidth> {
  const module = await WebAssembly.compile(readingModule() as BufferSource);
  const memory = makeMemory();
  const instance = await WebAssembly.instantiate(module, { env: { memory } });
  const sum = instance.exports.sum as (from: number, to: number) => number;
  const bytes = memory.buffer.byteLength;
  // Pages that were never written are all one page to some systems.
  const words = new Uint32Array(memory.buffer);
  for (let at = 0; at < words.length; at += 1024) words[at] = at;
  const rate = (size: number, turns: number, rounds: number): number => {
    let best = Number.POSITIVE_INFINITY;
    for (let r = 0; r < rounds; r++) {
      const start = clock();
      for (let t = 0; t < turns; t++) sum(0, size);
      best = Math.min(best, clock() - start);
    }
    return (size * turns) / best / 1e6;
  };
  // First what is near: the engine optimises the function meanwhile.
  rate(nearBytes, 2000, 5);
  const cacheGBs = rate(nearBytes, 20_000, 3);
  return { cacheGBs, memoryGBs: rate(bytes, 1, 4) };
}

function makeMemory(): WebAssembly.Memory {
  for (let bytes = farBytes; ; bytes /= 2) {
    try {
      return new WebAssembly.Memory({ initial: bytes / pageBytes });
    } catch (e) {
      if (bytes <= 1 << 20) throw e;
    }
  }
}
