import type { Capabilities } from "../../base/machine.ts";
import type { LevelName } from "./levels.ts";

/** What differs between CPUs of one level: caches. Bytes for one core. */
export interface Caches {
  lineBytes: number;
  l1Bytes: number;
  l2Bytes: number;
}

/** What the CPUs that run an artifact made for others have at least. */
export const usualCaches: Readonly<Caches> = { lineBytes: 64, l1Bytes: 32 * 1024, l2Bytes: 512 * 1024 };

/** What a C compiler leaves of the registers, and costs relative to one multiply-add of the widest vector. */
function vectorMachine(name: LevelName, lanes: number, registers: number, fusedMultiplyAdd: boolean, caches: Readonly<Caches>): Capabilities {
  const wide = lanes > 1;
  return {
    name,
    lanes: { f32: lanes, f64: Math.max(1, lanes / 2), i32: lanes, i64: Math.max(1, lanes / 2) },
    vectorRegisters: registers,
    addressRegisters: 9,
    bodyOps: 16,
    tileOps: wide ? 3 * registers : 16,
    loadsFirst: false,
    fusedMultiplyAdd,
    loadSplat: true,
    ownShares: true,
    ...caches,
    cost: {
      vectorLoad: 1,
      splatLoad: lanes === 16 ? 0.5 : 1,
      gatherLane: wide ? 1.5 : 1,
      scalarOp: 1,
      vectorOp: 1,
      chain: lanes === 16 ? 6 : 8,
      memoryChain: 16,
      issue: 0.3,
      pointer: 1,
      spilledPointer: 3,
      // A counter and a branch are issued beside the rest.
      loopOverhead: wide ? 0 : 1,
      l2Byte: lanes === 16 ? 0.03 : 0.04,
      farLine: 2.5,
      memoryByte: 0.1,
      fork: 6000,
    },
  };
}

/** The machine record of a level, as schedules read it. */
export function levelMachine(name: LevelName, caches: Readonly<Caches> = usualCaches): Capabilities {
  switch (name) {
    case "avx512":
      return vectorMachine(name, 16, 31, true, caches);
    case "avx2":
      return vectorMachine(name, 8, 15, true, caches);
    case "sse42":
      return vectorMachine(name, 4, 15, false, caches);
    case "portable":
      return vectorMachine(name, 1, 12, false, caches);
    default:
      throw name satisfies never;
  }
}
