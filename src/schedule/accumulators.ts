import { VerifyError } from "../base/errors.ts";
import { Buffer, type Stmt } from "../loop/ir.ts";
import type { Expr, Variable } from "../scalar/expr.ts";
import { simplifyIndex } from "../scalar/index.ts";
import type { Scalars } from "../scalar/scalars.ts";
import type { Accumulator, Axis, Stage } from "../tensor/ir.ts";
import type { LoopSpec } from "./schedule.ts";
import { axisOf } from "./stage-rules.ts";

/** Where the loops stand on an axis: the first point of the current tile, and how many points it has. */
export interface Position {
  readonly base: Expr;
  readonly span: Expr;
  /** The iteration that each split loop of the axis is in. */
  readonly steps: ReadonlyMap<LoopSpec, Expr>;
}
export type Positions = ReadonlyMap<Variable, Position>;

/** Accumulators of more elements than this are kept in memory, even if all their loops are unrolled. */
const registerLimit = 512;

export interface Reduction {
  readonly stage: Stage;
  /** All loops of the stage. */
  readonly loops: readonly LoopSpec[];
  /** Those of parallel axes from where the reduction begins: what the accumulators cover. */
  readonly tile: readonly LoopSpec[];
  /** Loops of the reduction whose iterations have sums of their own, which are added up at the end. */
  readonly privates: readonly LoopSpec[];
  /** Where the loops around the reduction stand. */
  readonly outer: Positions;
  readonly extentOf: (a: Axis) => Expr;
}

/** An accumulator's buffer, and how far apart in it the points of each axis lie. */
interface Place {
  readonly buffer: Buffer;
  readonly strides: ReadonlyMap<Variable, number>;
}

/**
 * The accumulators of a stage's tile: one buffer each, in registers where the tile is written out, with a dim for every
 * parallel axis that still has loops, and the private sums innermost.
 */
export class AccumulatorTiles {
  /** Private sums of each point. */
  readonly lanes: number;
  private readonly sc: Scalars;
  private readonly reduction: Reduction;
  private readonly trips: ReadonlyMap<LoopSpec, number>;
  private readonly places: readonly Place[];

  /** @throws VerifyError when a tile or a private loop has no constant size */
  constructor(sc: Scalars, r: Reduction) {
    this.sc = sc;
    this.reduction = r;
    this.trips = new Map(r.privates.map((l) => [l, this.privateTrips(l)]));
    this.lanes = [...this.trips.values()].reduce((n, t) => n * t, 1);
    this.places = r.stage.accumulators.map((a) => this.place(a));
  }

  get buffers(): readonly Buffer[] {
    return this.places.map((p) => p.buffer);
  }

  load(k: number, p: Positions, lane: Expr): Expr {
    return this.sc.load((this.places[k] as Place).buffer, [this.index(k, p, lane)]);
  }

  store(k: number, p: Positions, lane: Expr, value: Expr): Stmt {
    return { kind: "store", buffer: (this.places[k] as Place).buffer, index: this.index(k, p, lane), value };
  }

  /** Which private sum the current iteration adds to: its step in each split loop. */
  lane(p: Positions): Expr {
    const { sc } = this;
    let sum = sc.int(0);
    for (const [l, trips] of this.trips)
      sum = sc.add(sc.mul(sum, sc.int(trips)), p.get(axisOf(this.reduction.stage, l).variable)?.steps.get(l) ?? sc.int(0));
    return sum;
  }

  private index(k: number, p: Positions, lane: Expr): Expr {
    const { sc } = this;
    let sum = sc.int(0);
    for (const [v, stride] of (this.places[k] as Place).strides) {
      const relative = simplifyIndex(sc, sc.sub((p.get(v) as Position).base, (this.reduction.outer.get(v) as Position).base));
      sum = sc.add(sum, sc.mul(relative, sc.int(stride)));
    }
    return sc.add(sum, lane);
  }

  /** Lays out an accumulator, the vector axis innermost. */
  private place(a: Accumulator): Place {
    const { sc } = this;
    const { stage, tile, outer } = this.reduction;
    const vector = tile.find((l) => l.kind === "vector")?.axis;
    const axes = a.axes.filter((v) => tile.some((l) => l.axis === v.name));
    axes.sort((x, y) => Number(x.name === vector) - Number(y.name === vector));
    let stride = this.lanes;
    const strides = new Map<Variable, number>();
    for (const v of [...axes].reverse()) {
      const span = (outer.get(v) as Position).span.constant;
      if (span === null)
        throw new VerifyError(
          "schedule",
          `stage @${stage.name}: axis '${v.name}' has loops inside of the reduction, but its tile has no constant size`,
          [`axis '${v.name}'`],
        );
      strides.set(v, stride);
      stride *= Number(span);
    }
    const space = tile.every((l) => l.kind !== "serial") && stride <= registerLimit ? "register" : "scratch";
    return { buffer: new Buffer(sc.freshId(), a.left.name, a.left.dtype, space, sc.int(stride)), strides };
  }

  private privateTrips(l: LoopSpec): number {
    const { stage, loops, extentOf } = this.reduction;
    const above = loops.slice(0, loops.indexOf(l)).findLast((x) => x.axis === l.axis);
    const span = above?.size ?? Number(extentOf(axisOf(stage, l)).constant ?? Number.NaN);
    if (!Number.isInteger(span / l.size))
      throw new VerifyError("schedule", `stage @${stage.name}: the split loop over '${l.axis}' needs a constant number of steps`, [
        `loop over '${l.axis}'`,
      ]);
    return span / l.size;
  }
}
