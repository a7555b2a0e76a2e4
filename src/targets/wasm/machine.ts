import type { Capabilities } from "../../base/machine.ts";

/**
 * The WebAssembly machine: 128-bit vectors on today's 64-bit hosts. Register counts are those of x86-64 and of what its
 * engines leave free; costs are relative to one vector multiply-add.
 */
export const wasmMachine: Capabilities = {
  name: "wasm",
  lanes: { f32: 4, f64: 2, i32: 4, i64: 2 },
  vectorRegisters: 15,
  addressRegisters: 16,
  bodyOps: 16,
  tileOps: 256,
  loadsFirst: true,
  fusedMultiplyAdd: true,
  loadSplat: true,
  ownShares: false,
  lineBytes: 64,
  l1Bytes: 32 * 1024,
  l2Bytes: 512 * 1024,
  cost: {
    vectorLoad: 1,
    splatLoad: 1,
    gatherLane: 2,
    scalarOp: 1,
    vectorOp: 1,
    chain: 8,
    memoryChain: 16,
    issue: 0.4,
    pointer: 3,
    spilledPointer: 3,
    loopOverhead: 1,
    l2Byte: 0.03,
    farLine: 2.5,
    memoryByte: 0.2,
    fork: 20_000,
  },
};
