/**
 * The machine record: what a target's machine can do, as shared code needs to know it. Schedules and passes read this
 * record and never ask which target it is. Numbers that differ between machines are probed or stated by the target.
 */
export interface Capabilities {
  readonly name: string;
  /** Lanes of a vector of each compute type; 1 where the type has no vectors. */
  readonly lanes: { readonly f32: number; readonly f64: number; readonly i32: number; readonly i64: number };
  /** Vector registers that a register tile may fill with accumulators and operands. */
  readonly vectorRegisters: number;
  /** Pointers that an innermost loop may move along before they go through memory. */
  readonly addressRegisters: number;
  /** Operations that the body of an innermost loop may hold before register allocation below us gets worse (measured). */
  readonly bodyOps: number;
  /** Operations that a tile may be written out as: more are more code to fetch than loop to save. */
  readonly tileOps: number;
  /**
   * Are all operands of a body loaded before the first is used, so that each takes a register (engines that keep the order of
   * instructions and allocate in it)? Else one at a time is enough beside the vectors that all rows of a tile share.
   */
  readonly loadsFirst: boolean;
  /** Is there a fused (or relaxed) multiply-add? */
  readonly fusedMultiplyAdd: boolean;
  /** Can one instruction load a scalar into all lanes? */
  readonly loadSplat: boolean;
  /**
   * Does each thread of a launch begin with a share of its own, always of the same place in the range? Then it matters to caches
   * how the range lies: what one kernel left in a core's caches may be what the next one needs there.
   */
  readonly ownShares: boolean;
  readonly lineBytes: number;
  /** Bytes of the caches that a working set should fit in. */
  readonly l1Bytes: number;
  readonly l2Bytes: number;
  /** Costs in units of one vector multiply-add, for the cost model. */
  readonly cost: {
    readonly vectorLoad: number;
    readonly splatLoad: number;
    readonly gatherLane: number;
    readonly scalarOp: number;
    readonly vectorOp: number;
    /** Time until the sum of a multiply-add can be added to again, and what a way through memory adds to that. */
    readonly chain: number;
    readonly memoryChain: number;
    /** One instruction more, whatever it does, beside those that take longer. */
    readonly issue: number;
    /** Making an address that a loop then moves along; moving one along that has no register. */
    readonly pointer: number;
    readonly spilledPointer: number;
    readonly loopOverhead: number;
    readonly l2Byte: number;
    /** How many times as much a line of the second cache costs that no prefetcher saw coming. */
    readonly farLine: number;
    readonly memoryByte: number;
    /** Setting other threads to work on a kernel, and waiting until they are done. */
    readonly fork: number;
  };
}
