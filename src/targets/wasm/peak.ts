import { Bytes, type ValueType, encodeModule } from "./encoder.ts";

/** Chains of multiply-adds that do not depend on one another, enough to hide their latency, few enough for the registers. */
const chains = 12;
const unrolled = 4;

/** f(n): n rounds of multiply-adds in registers. */
function peakModule(relaxed: boolean): Uint8Array {
  const code = new Bytes();
  const simd = (n: number) => code.byte(0xfd).u32(n);
  const [first, x, y] = [1, 1 + chains, 2 + chains];
  code.byte(0x03, 0x40);
  for (let u = 0; u < unrolled; u++) {
    for (let i = first; i < first + chains; i++) {
      code.byte(0x20).u32(x).byte(0x20).u32(y);
      if (relaxed) {
        code.byte(0x20).u32(i);
        simd(0x105);
      } else {
        simd(0xe6);
        code.byte(0x20).u32(i);
        simd(0xe4);
      }
      code.byte(0x21).u32(i);
    }
  }
  code.byte(0x20).u32(0).byte(0x41).s32(1).byte(0x6b, 0x22).u32(0).byte(0x0d, 0x00, 0x0b);
  // The sum keeps every chain alive.
  code.byte(0x20).u32(first);
  for (let i = first + 1; i < first + chains; i++) {
    code.byte(0x20).u32(i);
    simd(0xe4);
  }
  simd(0x1f);
  code.byte(0);
  const locals = new Array<ValueType>(chains + 2).fill("v128");
  return encodeModule([{ name: "rounds", type: { params: ["i32"], results: ["f32"] }, locals, code, exported: true }], [], {
    initial: 1,
    maximum: null,
    shared: false,
  });
}

/** The machine's multiply-add ceiling in this engine, on one thread, in GFLOP/s (a multiply-add counts two): measured, about a third of a second. */
export async function measurePeak(relaxed: boolean, clock: () => number = () => performance.now()): Promise<number> {
  const module = await WebAssembly.compile(peakModule(relaxed) as BufferSource);
  const instance = await WebAssembly.instantiate(module, { env: { memory: new WebAssembly.Memory({ initial: 1 }) } });
  const rounds = instance.exports.rounds as (n: number) => number;
  for (let i = 0; i < 200; i++) rounds(1000);
  const n = 200_000;
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 12; i++) {
    const start = clock();
    rounds(n);
    best = Math.min(best, clock() - start);
  }
  return (n * chains * unrolled * 4 * 2) / best / 1e6;
}
