import { InternalError, invariant } from "../base/errors.ts";
import type { Buffer, For, Kernel as LoopKernel, LoopKind, Param, Stmt } from "../loop/ir.ts";
import { type Expr, type Variable, postorder } from "../scalar/expr.ts";
import { mentions, rangeOf, simplifyIndex } from "../scalar/index.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { type Accumulator, type Axis, type Kernel, type Stage, type Tensor, type Write, allStages } from "../tensor/ir.ts";
import { AccumulatorTiles, type Position, type Positions } from "./accumulators.ts";
import type { KernelSchedule, LoopSpec, StageSchedule } from "./schedule.ts";
import { axisOf, tailOf, verifyStageSchedule } from "./stage-rules.ts";

/**
 * Builds the loops of a kernel from its schedule. The kernel comes linearised (every read and write has one index, its
 * tensors are buffers) and with its extents as expressions. Nothing here knows what a stage computes.
 */

export interface NestInput {
  readonly name: string;
  readonly kernel: Kernel;
  readonly schedule: KernelSchedule;
  /** Extents as this kernel's own expressions (constants or parameters), by axis variable. */
  readonly extents: ReadonlyMap<Variable, Expr>;
  readonly buffers: ReadonlyMap<Tensor, Buffer>;
  readonly params: readonly Param[];
}

export interface Nest {
  readonly kernel: LoopKernel;
  /** Iterations of the outermost loop, over the kernel's parameters. */
  readonly count: Expr;
  /** Where two loops are one range: how many iterations the second has, and the axes of both. */
  readonly joined: Joined | null;
  /** Accumulators too large for registers: memory of the kernel, its last parameters. */
  readonly scratch: readonly Buffer[];
}

export interface Joined {
  readonly row: Expr;
  readonly axes: readonly [string, string];
  /** May two iterations of the second write the same place, as where a last tile was moved back? */
  readonly overlaps: boolean;
}

export function buildNest(sc: Scalars, input: NestInput): Nest {
  return new NestBuilder(sc, input).build();
}

class NestBuilder {
  private readonly sc: Scalars;
  private readonly input: NestInput;
  private readonly begin: Variable;
  private readonly end: Variable;
  private count: Expr | null = null;
  private joined: Joined | null = null;
  private readonly writes = new Set<Buffer>();
  private readonly scratch: Buffer[] = [];
  /** Inside of a reduction no loop can be distributed any more. */
  private reducing = false;

  constructor(sc: Scalars, input: NestInput) {
    this.sc = sc;
    this.input = input;
    this.begin = sc.variable("begin", undefined, { min: 0 });
    this.end = sc.variable("end", undefined, { min: 0 });
  }

  build(): Nest {
    const { kernel, name, params } = this.input;
    for (const s of allStages(kernel)) for (const w of s.writes) this.writes.add(this.bufferOf(w.tensor));
    const body = kernel.axes.length > 0 ? this.sharedLoops(0, new Map()) : kernel.stages.flatMap((s) => this.stage(s, new Map()));
    if (this.count === null) {
      // Nothing to distribute: the whole kernel is one iteration.
      this.count = this.sc.int(1);
      const v = this.sc.variable("once", undefined, { min: 0 });
      return this.finish(name, params, [
        { kind: "for", variable: v, begin: this.sc.var(this.begin), end: this.sc.var(this.end), loop: "serial", body },
      ]);
    }
    return this.finish(name, params, body);
  }
  private finish(name: string, params: readonly Param[], body: readonly Stmt[]): Nest {
    const kernel = {
      name,
      params: [...params, ...this.scratch],
      begin: this.begin,
      end: this.end,
      body,
      writes: new Set([...this.writes, ...this.scratch]),
    };
    return { kernel, count: this.count as Expr, joined: this.joined, scratch: this.scratch };
  }

  private bufferOf(t: Tensor): Buffer {
    const b = this.input.buffers.get(t);
    invariant(b !== undefined, `tensor %${t.name} has no buffer`);
    return b;
  }
  private extentOf(a: Axis): Expr {
    return this.input.extents.get(a.variable) ?? this.sc.dim(a.extent);
  }

  /** The kernel's own axes, one loop each; parallel outermost ones are distributed, scans run in one call. */
  private sharedLoops(depth: number, positions: Positions): Stmt[] {
    const { axes, stages } = this.input.kernel;
    const [axis, second] = [axes[depth], axes[depth + 1]];
    if (axis === undefined) return stages.flatMap((s) => this.stage(s, positions));
    if (depth === 0 && this.input.schedule.joined && axis.kind === "parallel" && second?.kind === "parallel") return this.joinedAxes(axis, second);
    const extent = this.extentOf(axis);
    const ranged = depth === 0 && axis.kind === "parallel";
    if (ranged) this.count = extent;
    const v = this.sc.variable(axis.variable.name, undefined, { extent });
    const inner = new Map(positions).set(axis.variable, { base: this.sc.var(v), span: this.sc.int(1), steps: new Map() });
    return [this.loop(v, ranged ? null : extent, "serial", this.sharedLoops(depth + 1, inner))];
  }

  /** The kernel's two outermost axes as one range. */
  private joinedAxes(a: Axis, b: Axis): Stmt[] {
    const { sc } = this;
    const n = this.extentOf(b);
    this.count = sc.mul(this.extentOf(a), n);
    const written = allStages(this.input.kernel).flatMap((s) => s.writes.flatMap((w) => w.index));
    const overlaps = postorder(written).some((e) => e.op === "min" && mentions(e, b.variable));
    this.joined = { row: n, axes: [a.variable.name, b.variable.name], overlaps };
    const v = sc.variable(`${a.variable.name}_${b.variable.name}`, undefined, { extent: this.count });
    const at = (base: Expr): Position => ({ base, span: sc.int(1), steps: new Map() });
    const positions = new Map([
      [a.variable, at(sc.floordiv(sc.var(v), n))],
      [b.variable, at(sc.mod(sc.var(v), n))],
    ]);
    return [this.loop(v, null, "serial", this.sharedLoops(2, positions))];
  }

  /** A loop over `[0, end)`, or over the range given to this call. */
  private loop(v: Variable, end: Expr | null, kind: LoopKind, body: readonly Stmt[]): For {
    return {
      kind: "for",
      variable: v,
      begin: end === null ? this.sc.var(this.begin) : this.sc.int(0),
      end: end ?? this.sc.var(this.end),
      loop: kind,
      body,
    };
  }

  private stage(s: Stage, outer: Positions): Stmt[] {
    const schedule = this.input.schedule.stages[s.name];
    if (schedule === undefined) throw new InternalError("schedule", `stage @${s.name} has no schedule`);
    verifyStageSchedule(s, schedule);
    const positions = new Map(outer);
    for (const a of s.axes) positions.set(a.variable, { base: this.sc.int(0), span: this.extentOf(a), steps: new Map() });
    if (s.accumulators.length === 0) return this.nest(s, schedule, 0, schedule.loops.length, positions, (p) => this.writesAt(s, p, new Map()));
    const kinds = new Map(s.axes.map((a) => [a.variable.name, a.kind]));
    const found = schedule.loops.findIndex((l) => kinds.get(l.axis) === "reduction");
    const firstReduction = found < 0 ? schedule.loops.length : found;
    return this.nest(s, schedule, 0, firstReduction, positions, (p) => this.reduction(s, schedule, firstReduction, p));
  }

  /**
   * Loops `from` to `to` of a stage around what `leaf` makes. The outermost ones may be `given` their iteration by a loop
   * around them.
   */
  private nest(
    s: Stage,
    schedule: StageSchedule,
    from: number,
    to: number,
    p: Positions,
    leaf: (p: Positions) => Stmt[],
    given: readonly Expr[] = [],
  ): Stmt[] {
    const spec = schedule.loops[from];
    if (from >= to || spec === undefined) return leaf(p);
    const axis = axisOf(s, spec);
    const at = p.get(axis.variable) as Position;
    const isSingle = isOneIteration(spec, at);
    const next = schedule.loops.slice(from + 1, to).find((l) => !isOneIteration(l, p.get(axisOf(s, l).variable) as Position));
    if (given.length === 0 && next !== undefined) {
      const joined = this.joinedTrips(s, schedule, spec, next, p);
      if (joined !== null) {
        const [first, second] = joined;
        this.count = this.sc.mul(first, second);
        this.joined = { row: second, axes: [spec.axis, next.axis], overlaps: false };
        const v = this.sc.variable(`${spec.axis}_${next.axis}`, undefined, { extent: this.count });
        const both = [this.sc.floordiv(this.sc.var(v), second), this.sc.mod(this.sc.var(v), second)];
        return [this.loop(v, null, "serial", this.nest(s, schedule, from, to, p, leaf, both))];
      }
    }
    const below: Below = (base, span, step) => {
      const steps = step === undefined ? at.steps : new Map(at.steps).set(spec, step);
      const inner = new Map(p).set(axis.variable, { base: simplifyIndex(this.sc, base), span, steps });
      const isLast = !schedule.loops.slice(from + 1).some((l) => l.axis === spec.axis);
      const prefix = isLast && s.inner?.axis === axis.variable ? this.innerStages(s, inner) : [];
      return [...prefix, ...this.nest(s, schedule, from + 1, to, inner, leaf, isSingle ? given : given.slice(1))];
    };
    return this.axisLoop(s, schedule, spec, axis, at, below, given[0]);
  }

  /**
   * Iterations of the two outermost loops that have more than one, where they are to be distributed together and run whole tiles
   * only; else null. A last tile that is moved back is run with the one before it.
   */
  private joinedTrips(s: Stage, schedule: StageSchedule, a: LoopSpec, b: LoopSpec, p: Positions): [Expr, Expr] | null {
    if (!this.input.schedule.joined || a.axis === b.axis || !this.distributes(s, a) || !this.distributes(s, b)) return null;
    const trips = (l: LoopSpec): Expr | null => {
      const { span } = p.get(axisOf(s, l).variable) as Position;
      const whole = isWhole(span, l.size);
      const overlaps = tailOf(s, schedule, l) === "overlap" && rangeOf(span)[0] >= l.size;
      if (!whole && !overlaps) return null;
      const n = quotient(this.sc, span, l.size);
      return n.isConst(1) ? null : n;
    };
    const [x, y] = [trips(a), trips(b)];
    return x === null || y === null ? null : [x, y];
  }

  /** May this loop be cut into pieces that run apart? */
  private distributes(s: Stage, spec: LoopSpec): boolean {
    const { kernel } = this.input;
    return (
      this.count === null &&
      !this.reducing &&
      kernel.axes.length === 0 &&
      axisOf(s, spec).kind === "parallel" &&
      kernel.stages.length === 1 &&
      s.writes.every((w) => w.combiner === null) &&
      spec.kind === "serial"
    );
  }

  private innerStages(s: Stage, p: Positions): Stmt[] {
    return s.inner === null ? [] : s.inner.stages.flatMap((t) => this.stage(t, p));
  }

  /** One loop of one axis, with its tail; or one iteration of it, `given`. */
  private axisLoop(s: Stage, schedule: StageSchedule, spec: LoopSpec, axis: Axis, at: Position, below: Below, given?: Expr): Stmt[] {
    const { sc } = this;
    const size = sc.int(spec.size);
    const one = sc.int(1);
    const known = at.span.constant === null ? null : Number(at.span.constant);
    const distribute = this.distributes(s, spec);
    if (isOneIteration(spec, at)) return below(at.base, at.span);
    const step = (i: Expr) => sc.add(at.base, sc.mul(i, size));
    const multiple = known !== null ? known % spec.size === 0 : divides(at.span, spec.size);
    const trips = multiple ? quotient(sc, at.span, spec.size) : sc.floordiv(sc.add(at.span, sc.int(spec.size - 1)), size);
    const full = sc.floordiv(at.span, size);
    const over = (end: Expr): Variable => sc.variable(spec.size === 1 ? spec.axis : `${spec.axis}.${spec.size}`, undefined, { extent: end });
    const make = (end: Expr, body: (i: Expr) => Stmt[]): Stmt[] => {
      if (given !== undefined) return body(given);
      const v = over(end);
      if (distribute) this.count = end;
      return [this.loop(v, distribute ? null : end, spec.kind, body(sc.var(v)))];
    };
    // A last tile that is moved back writes places of the one before it. Two threads must not write one place, not even the
    // same value: who has the last whole tile runs both. `units` are the iterations that may be given away.
    const makeOverlapping = (end: Expr, units: Expr, body: (i: Expr) => Stmt[]): Stmt[] => {
      if (given === undefined && !distribute) return make(end, body);
      const v = over(end);
      const [from, to] = given === undefined ? [sc.var(this.begin), sc.var(this.end)] : [given, sc.add(given, one)];
      if (given === undefined) this.count = units;
      return [{ ...this.loop(v, end, spec.kind, body(sc.var(v))), begin: from, end: sc.select(sc.op("eq", [to, full]), trips, to) }];
    };
    if (multiple) return make(trips, (i) => below(step(i), size, i));
    const tail = tailOf(s, schedule, spec);
    const enough = sc.op("ge", [at.span, size]);
    if (tail === "mask") return make(trips, (i) => this.masked(spec, axis, step(i), sc.add(at.base, at.span), below));
    if (tail === "overlap" && axis.kind === "parallel") {
      const last = sc.sub(sc.add(at.base, at.span), size);
      const tile = (i: Expr) => below(sc.min(step(i), last), size);
      if (rangeOf(at.span)[0] >= spec.size) return makeOverlapping(trips, full, tile);
      // Too short for one tile at run time: point by point.
      const count = sc.select(enough, trips, at.span);
      return makeOverlapping(count, sc.select(enough, full, at.span), (i) => [
        { kind: "if", condition: enough, then: tile(i), otherwise: below(sc.add(at.base, i), one) },
      ]);
    }
    const rest = (from: Expr, count: Expr): Stmt => {
      const v = sc.variable(spec.axis, undefined, { extent: count });
      return this.loop(v, count, "serial", below(sc.add(from, sc.var(v)), one));
    };
    if (axis.kind === "parallel") {
      return make(trips, (i) => {
        const left = rest(step(i), sc.sub(at.span, sc.mul(full, size)));
        return [{ kind: "if", condition: sc.op("lt", [i, full]), then: below(step(i), size), otherwise: [left] }];
      });
    }
    return [...make(full, (i) => below(step(i), size, i)), rest(sc.add(at.base, sc.mul(full, size)), sc.sub(at.span, sc.mul(full, size)))];
  }

  /** A tile of which only the points below `limit` count: each is tested on its own. */
  private masked(spec: LoopSpec, axis: Axis, base: Expr, limit: Expr, below: Below): Stmt[] {
    const { sc } = this;
    const v = sc.variable(axis.variable.name, undefined, { extent: sc.int(spec.size) });
    const point = sc.add(base, sc.var(v));
    return [
      this.loop(v, sc.int(spec.size), "serial", [
        { kind: "if", condition: sc.op("lt", [point, limit]), then: below(point, sc.int(1)), otherwise: [] },
      ]),
    ];
  }

  private reduction(s: Stage, schedule: StageSchedule, from: number, outer: Positions): Stmt[] {
    const { sc } = this;
    this.reducing = true;
    const loops = schedule.loops;
    const kinds = new Map(s.axes.map((a) => [a.variable.name, a.kind]));
    const remaining = loops.slice(from);
    const privates = remaining.filter((l) => kinds.get(l.axis) === "reduction" && (l.kind === "vector" || l.split === true));
    const tile: StageSchedule = { loops: remaining.filter((l) => kinds.get(l.axis) === "parallel"), tails: schedule.tails };
    const sums = new AccumulatorTiles(sc, { stage: s, loops, tile: tile.loops, privates, outer, extentOf: (a) => this.extentOf(a) });
    const { lanes } = sums;

    const allocs: Stmt[] = sums.buffers.filter((b) => b.space === "register").map((buffer) => ({ kind: "alloc", buffer }));
    for (const b of sums.buffers) if (b.space === "scratch") this.scratch.push(b);
    const init = s.accumulators.flatMap((a, k) => {
      const own: StageSchedule = { loops: tile.loops.filter((l) => a.axes.some((v) => v.name === l.axis)), tails: tile.tails };
      return this.nest(withoutInner(s), own, 0, own.loops.length, outer, (p) =>
        this.eachLane(lanes, privates, (lane) => [sums.store(k, p, lane, this.bind(a.identity, p))]),
      );
    });
    const update = this.updates(s, schedule, from, outer, sums);
    const finish = this.nest(withoutInner(s), tile, 0, tile.loops.length, outer, (p) => {
      let values: Expr[] = s.accumulators.map((_, k) => sums.load(k, p, sc.int(0)));
      for (let lane = 1; lane < lanes; lane++) {
        const other = s.accumulators.map((_, k) => sums.load(k, p, sc.int(lane)));
        const both = new Map<Variable, Expr>();
        s.accumulators.forEach((a, k) => {
          both.set(a.left, values[k] as Expr).set(a.right, other[k] as Expr);
        });
        values = s.accumulators.map((a) => sc.substitute(a.combine, both));
      }
      const results = new Map(s.accumulators.map((a, k) => [a.left, values[k] as Expr]));
      return this.writesAt(s, p, results);
    });
    return [...allocs, ...init, ...update, ...finish];
  }

  /** The reduction loops with the update of every accumulator; narrower ones come after the loops they do not have. */
  private updates(s: Stage, schedule: StageSchedule, from: number, outer: Positions, sums: AccumulatorTiles): Stmt[] {
    const { sc } = this;
    const kinds = new Map(s.axes.map((a) => [a.variable.name, a.kind]));
    const loops = schedule.loops;
    let afterReductions = from;
    loops.forEach((l, i) => {
      if (kinds.get(l.axis) === "reduction") afterReductions = i + 1;
    });
    const widest = s.accumulators.reduce((n, a) => Math.max(n, a.axes.length), 0);
    const mixed = s.accumulators.some((a) => a.axes.length < widest);
    const update = (which: readonly number[], p: Positions): Stmt[] => {
      const state = new Map<Variable, Expr>();
      s.accumulators.forEach((a, k) => {
        state.set(a.left, sums.load(k, p, sums.lane(p))).set(a.right, this.bind(a.lift, p));
      });
      const news = which.map((k) => this.bind(sc.substitute((s.accumulators[k] as Accumulator).combine, state), p));
      const store = (k: number, value: Expr): Stmt => sums.store(k, p, sums.lane(p), value);
      if (which.length === 1) return [store(which[0] as number, news[0] as Expr)];
      // All of the tuple is read before any of it changes.
      const temps = news.map((e, i) => sc.variable(`next${i}`, e.dtype));
      return [
        ...temps.map((t, i): Stmt => ({ kind: "let", variable: t, value: news[i] as Expr })),
        ...which.map((k, i) => store(k, sc.var(temps[i] as Variable))),
      ];
    };
    const all = s.accumulators.map((_, k) => k);
    if (!mixed) return this.nest(s, schedule, from, loops.length, outer, (p) => update(all, p));
    const wide = all.filter((k) => (s.accumulators[k] as Accumulator).axes.length === widest);
    const narrow = all.filter((k) => !wide.includes(k));
    return this.nest(s, schedule, from, afterReductions, outer, (p) => [
      ...this.nest(s, schedule, afterReductions, loops.length, p, (q) => update(wide, q)),
      ...update(narrow, p),
    ]);
  }

  private eachLane(lanes: number, privates: readonly LoopSpec[], body: (lane: Expr) => Stmt[]): Stmt[] {
    if (lanes === 1) return body(this.sc.int(0));
    const v = this.sc.variable("lane", undefined, { extent: this.sc.int(lanes) });
    return [this.loop(v, this.sc.int(lanes), privates.some((l) => l.kind === "vector") ? "vector" : "unrolled", body(this.sc.var(v)))];
  }

  /** Replaces axis variables by where the loops stand, and tensors by buffers. */
  private bind(e: Expr, p: Positions, memo: Map<Expr, Expr> = new Map()): Expr {
    const { sc } = this;
    return sc.rebuild(
      [e],
      (x, args) => {
        if (x.op === "var") return p.get(x.attr as Variable)?.base ?? null;
        if (x.op !== "load") return null;
        const buffer = this.input.buffers.get(x.attr as Tensor);
        return buffer === undefined ? null : sc.load(buffer, [simplifyIndex(sc, args[0] as Expr)]);
      },
      memo,
    )[0] as Expr;
  }

  /** All writes of a stage, where the loops stand: what they share is bound once. */
  private writesAt(s: Stage, p: Positions, results: ReadonlyMap<Variable, Expr>): Stmt[] {
    const [values, places] = [new Map<Expr, Expr>(), new Map<Expr, Expr>()];
    const at = (e: Expr): Expr => this.bind(this.sc.substituteAll([e], results, values)[0] as Expr, p, places);
    return s.writes.flatMap((w) => this.write(w, at));
  }
  private write(w: Write, at: (e: Expr) => Expr): Stmt[] {
    const { sc } = this;
    const buffer = this.bufferOf(w.tensor);
    const index = simplifyIndex(sc, at(w.index[0] as Expr));
    const value = at(w.value);
    const store: Stmt = { kind: "store", buffer, index, value: w.combiner === null ? value : sc.op(w.combiner, [sc.load(buffer, [index]), value]) };
    if (w.guard === null) return [store];
    return [{ kind: "if", condition: at(w.guard), then: [store], otherwise: [] }];
  }
}

/** Makes what is inside of a loop, given the tile's first point and size, and the iteration where it matters. */
type Below = (base: Expr, span: Expr, step?: Expr) => Stmt[];

function withoutInner(s: Stage): Stage {
  return s.inner === null ? s : { ...s, inner: null };
}

/** Is the (symbolic) span known to be a multiple? Parameters carry what is known of their values. */
function divides(span: Expr, size: number): boolean {
  const v = span.variable;
  return size === 1 || (v !== null && v.multiple % size === 0);
}
/** Do tiles of that size fill the span? */
function isWhole(span: Expr, size: number): boolean {
  return divides(span, size) || (span.constant !== null && Number(span.constant) % size === 0);
}
function quotient(sc: Scalars, span: Expr, size: number): Expr {
  return size === 1 ? span : sc.floordiv(span, sc.int(size));
}

/** Does one iteration of the loop cover all there is? */
function isOneIteration(spec: LoopSpec, at: Position): boolean {
  return at.span.constant !== null && Number(at.span.constant) <= spec.size;
}
