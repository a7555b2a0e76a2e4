import { type Dim, addDim, dimMin, mulDim, productOf, symbolDim, upperBound } from "../base/dim.ts";
import { i32 } from "../base/dtype.ts";
import { InternalError, UnsupportedError } from "../base/errors.ts";
import type { Capabilities } from "../base/machine.ts";
import type { Names } from "../base/text.ts";
import type { Allocation, Growth, Launch, Kernel as LoopKernel, Port, Program, Scratch, Stmt, WeightSlot } from "../loop/ir.ts";
import { type Expr, type Variable, loadsOf, variablesOf } from "../scalar/expr.ts";
import { polynomialOf } from "../scalar/index.ts";
import type { Scalars } from "../scalar/scalars.ts";
import {
  type Capacity,
  type Control,
  type Kernel,
  type Tensor,
  type TensorFunction,
  allStages,
  bodiesOf,
  layoutOf,
  readsOf,
  rootOf,
  writesOf,
} from "../tensor/ir.ts";
import type { Opaque } from "../tensor/opaque.ts";
import { typicalSize } from "./access.ts";
import { type Chooser, loopsChooser } from "./choose.ts";
import { HostSteps } from "./host.ts";
import { collapseAxes, linearizeKernel } from "./linearize.ts";
import { borderKernel, handOver } from "./moves.ts";
import { type Joined, buildNest } from "./nest.ts";
import { buildOpaque } from "./opaque.ts";
import { parametrizeKernel } from "./parametrize.ts";
import { type KernelSchedule, printSchedule } from "./schedule.ts";
import { sharesRows } from "./sharing.ts";

/** A kernel on its way to code: linearised, with its schedule. */
export interface Step {
  readonly kernel: Kernel;
  readonly schedule: KernelSchedule;
  readonly reads: readonly Tensor[];
  readonly writes: readonly Tensor[];
  /** As the model reckons, in units of one vector multiply-add; 0 where nobody asked it. */
  readonly cost: number;
  /** Of a step of the host program (the kernel has `control`) the steps of its bodies. */
  readonly bodies: readonly (readonly Step[])[];
}

/** The steps in order, each followed by those of its bodies. */
export function flattenSteps(steps: readonly Step[]): Step[] {
  return steps.flatMap((s) => (s.bodies.length === 0 ? [s] : [s, ...s.bodies.flatMap(flattenSteps)]));
}

/**
 * Chooses a schedule for every kernel. What schedules add (copies that are packed, the parts of an algorithm) and the
 * borders of padded tensors become steps of their own.
 */
export function scheduleFunction(sc: Scalars, f: TensorFunction, choose: Chooser): Step[] {
  const bordered = new Set<Tensor>();
  const block = (kernels: readonly Kernel[]): Step[] => {
    const steps: Step[] = [];
    const schedule = (k: Kernel): void => {
      const { kernel, schedule: chosen, before, cost } = choose(sc, k);
      for (const b of before) schedule(collapseAxes(sc, b));
      steps.push({ kernel, schedule: chosen, reads: readsOf(kernel), writes: writesOf(kernel), cost, bodies: [] });
    };
    const border = (k: Kernel): void => {
      for (const t of writesOf(k)) {
        const root = rootOf(f, t);
        if (bordered.has(root)) continue;
        bordered.add(root);
        const around = borderKernel(sc, f, root);
        if (around !== null) schedule(around);
      }
    };
    for (const k of kernels) {
      if (k.control === undefined || k.control.kind === "opaque") border(k);
      if (k.control !== undefined) {
        const bodies = bodiesOf(k.control).map((b) => block([...b.kernels, ...handOver(sc, f, k.control as Control, b)]));
        steps.push({ kernel: k, schedule: noLoops, reads: readsOf(k), writes: writesOf(k), cost: 0, bodies });
        continue;
      }
      schedule(collapseAxes(sc, linearizeKernel(sc, f, k)));
    }
    return steps;
  };
  return block(f.kernels);
}

const noLoops: KernelSchedule = { algorithm: "direct", stages: {}, packs: [], joined: false, specialize: false };

/** The same kernels with the loops that suit another machine. */
export function rescheduleSteps(sc: Scalars, machine: Capabilities, steps: readonly Step[]): Step[] {
  const choose = loopsChooser(machine);
  const again = (s: Step): Step => {
    if (s.kernel.control !== undefined) return { ...s, bodies: s.bodies.map((b) => b.map(again)) };
    const { schedule, cost } = choose(sc, s.kernel);
    return { ...s, schedule, cost };
  };
  return steps.map(again);
}

/** The outputs that may lie where an input does. */
function growthsOf(sc: Scalars, f: TensorFunction, steps: readonly Step[]): Growth[] {
  const pairs = new Map(steps.flatMap((s) => (s.kernel.identity === undefined ? [] : [[s.kernel.identity.to, s.kernel.identity.from] as const])));
  return [...pairs].map(([to, from]): Growth => {
    const [given, made] = [from, to].map((t) => layoutOf(f, t).capacity) as [Capacity, Capacity];
    const variable = (c: Capacity): Variable => sc.dim(c.rows).variable as Variable;
    return { input: f.inputs.indexOf(from), output: f.outputs.indexOf(to), dim: given.dim, capacities: [variable(given), variable(made)] };
  });
}

/** Bytes of a tensor's buffer, padding included. */
function bufferDims(f: TensorFunction, t: Tensor): Dim[] {
  const { pad } = layoutOf(f, t);
  return t.dims.map((d, i) => addDim(d, (pad[i]?.[0] ?? 0) + (pad[i]?.[1] ?? 0)));
}
/** @throws UnsupportedError `memory` for more bytes than sizes of 32 bits hold: they would wrap around */
function bytesOf(f: TensorFunction, t: Tensor): Dim {
  const n = productOf(bufferDims(f, t));
  const bits = mulDim(n, t.dtype.bits);
  const bytes = typeof bits === "number" ? Math.ceil(bits / 8) : mulDim(n, t.dtype.byteWidth);
  if (dimMin(bytes) >= 2 ** 32)
    throw new UnsupportedError(
      "memory",
      `tensor '${t.name}' has ${dimMin(bytes)} bytes or more; a tensor must have less than 4 GiB: compile with smaller shapes`,
    );
  return bytes;
}

/** A tensor whose size the model computes gets its place in advance up to this many bytes, else when the model runs. */
const mostPlanned = 2 ** 28;

/** Iterations in one call of a kernel: about this many pieces are made of a launch, so that engines see enough calls to optimise it. */
const piecesPerLaunch = 32;

export interface BuiltProgram {
  readonly program: Program;
  /** Constants in the order of the weight slots. */
  readonly weights: readonly Tensor[];
  /** For each kernel the schedule it was made by. */
  readonly schedules: ReadonlyMap<LoopKernel, string>;
}

/** Kernels that were built before, by their key: shared within a compilation. */
export type KernelCache = Map<
  string,
  {
    readonly kernel: LoopKernel;
    readonly count: Expr;
    /** Where two loops are one range. */
    readonly joined?: Joined;
    readonly scratch: readonly { readonly size: Expr | null; readonly bytes: number }[];
    readonly params: readonly Variable[];
  }
>;

/**
 * Makes the host program: one launch for each step, kernels of equal structure shared. `fork` is what it costs to set
 * threads to work, in the units of the steps' costs; without it every launch stays on one thread. With `ownShares` launches
 * are told how threads had better share them (`sharing.ts`).
 */
export function buildProgram(
  sc: Scalars,
  f: TensorFunction,
  steps: readonly Step[],
  constants: readonly Tensor[],
  cache: KernelCache,
  names: Names,
  fork: number = Number.POSITIVE_INFINITY,
  ownShares: boolean = false,
): BuiltProgram {
  return new ProgramBuilder(sc, f, constants, cache, names, fork, ownShares).build(steps);
}

class ProgramBuilder {
  private readonly sc: Scalars;
  private readonly f: TensorFunction;
  private readonly cache: KernelCache;
  private readonly names: Names;
  private readonly fork: number;
  private readonly ownShares: boolean;
  private readonly arena: Variable;
  private readonly weights: Variable;
  private readonly allocations = new Map<Tensor, Allocation>();
  private readonly scratches: Allocation[] = [];
  private readonly kernels = new Set<LoopKernel>();
  private readonly schedules = new Map<LoopKernel, string>();
  private readonly slots = new Map<Tensor, WeightSlot>();
  private readonly constants: readonly Tensor[];
  private readonly host: HostSteps;

  constructor(sc: Scalars, f: TensorFunction, constants: readonly Tensor[], cache: KernelCache, names: Names, fork: number, ownShares: boolean) {
    this.sc = sc;
    this.f = f;
    this.cache = cache;
    this.names = names;
    this.fork = fork;
    this.ownShares = ownShares;
    this.constants = constants;
    this.arena = sc.variable("arena", i32, { min: 0 });
    this.weights = sc.variable("weights", i32, { min: 0 });
    this.host = new HostSteps(sc, (t) => this.addressOf(t, sc.int(0)));
  }

  build(steps: readonly Step[]): BuiltProgram {
    const { sc, f } = this;
    let offset = 0;
    for (const t of this.constants) {
      const bytes = Number(bytesOf(f, t));
      this.slots.set(t, { name: t.name, offset, bytes });
      offset = Math.ceil((offset + bytes) / 64) * 64;
    }
    const host = this.host.finish(this.block(steps, true));
    const inputSymbols = f.symbols.filter((s) => s.source === "input");
    const capacities = f.symbols
      .filter((s) => s.source === "capacity")
      .map((s): Stmt => ({ kind: "let", variable: sc.symbol(s), value: sc.dim(s.bound ?? 0) }));
    const port = (t: Tensor): Port => ({ name: t.name, dtype: t.dtype, dims: t.dims, address: sc.var(this.allocationOf(t).address) });
    const inputs = f.inputs.map(port);
    const outputs = f.outputs.map(port);
    const program: Program = {
      name: f.name,
      symbols: inputSymbols,
      symbolVariables: inputSymbols.map((s) => sc.symbol(s)),
      kernels: [...this.kernels],
      arena: this.arena,
      weights: this.weights,
      main: [...capacities, ...host.main],
      allocations: [...this.allocations.values(), ...this.scratches, ...host.allocations],
      arenaBytes: sc.int(0),
      weightSlots: [...this.slots.values()],
      inputs,
      outputs,
      dataSymbols: host.dataSymbols,
      report: host.report,
      faults: host.faults,
      room: [...this.allocations.values(), ...this.scratches].some((a) => a.dynamic) ? sc.variable("room", i32, { min: 0 }) : null,
      growths: growthsOf(sc, f, steps),
    };
    return { program, weights: this.constants, schedules: this.schedules };
  }

  private allocationOf(t: Tensor): Allocation {
    const root = rootOf(this.f, t);
    let a = this.allocations.get(root);
    if (a === undefined) {
      a = this.allocate(root.name, bytesOf(this.f, root));
      this.allocations.set(root, a);
    }
    return a;
  }
  /** Sizes that the model computes are planned for at their largest, unless that is unknown, or out of proportion. */
  private allocate(name: string, bytes: Dim): Allocation {
    const { sc } = this;
    const address = sc.variable(`at.${name}`, i32, { min: 0 });
    const bound = upperBound(bytes);
    if (bound === null || (bound !== bytes && dimMin(bound) > mostPlanned)) return { name, address, bytes: sc.dim(bytes), dynamic: true };
    return { name, address, bytes: sc.dim(bound) };
  }

  private addressOf(t: Tensor, offset: Expr): Expr {
    const { sc } = this;
    const root = rootOf(this.f, t);
    const slot = this.slots.get(root);
    const base = slot === undefined ? sc.var(this.allocationOf(t).address) : sc.add(sc.var(this.weights), sc.int(slot.offset));
    return sc.add(base, sc.mul(offset, sc.int(t.dtype.byteWidth)));
  }

  private launch(s: Step): Stmt {
    const { sc } = this;
    const p = parametrizeKernel(sc, s.kernel, s.schedule);
    let built = this.cache.get(p.key);
    if (built === undefined) {
      const origin = s.kernel.stages.flatMap((x) => x.origin)[0] ?? s.kernel.name;
      const nest = buildNest(sc, {
        name: this.names.fresh(origin),
        kernel: p.kernel,
        schedule: s.schedule,
        extents: p.extents,
        buffers: p.buffers,
        params: p.params,
      });
      built = {
        kernel: nest.kernel,
        count: nest.count,
        ...(nest.joined === null ? {} : { joined: nest.joined }),
        scratch: nest.scratch.map((b) => ({ size: b.size, bytes: b.dtype.byteWidth })),
        params: p.params.filter((x) => x.kind === "variable"),
      };
      this.cache.set(p.key, built);
      this.schedules.set(nest.kernel, printSchedule(s.schedule));
    }
    this.kernels.add(built.kernel);
    const values = new Map<Variable, Expr>();
    const args: Expr[] = [];
    const scratch: Scratch[] = [];
    const addScratch = (bytes: Expr): void => {
      const a = this.scratch(bytes);
      scratch.push({ arg: args.length, bytes: a.bytes });
      args.push(sc.var(a.address));
    };
    let size = 0;
    p.args.forEach((a, i) => {
      if ("tensor" in a) {
        const buffer = p.buffers.get(a.tensor);
        if (buffer?.space !== "scratch") args.push(this.addressOf(a.tensor, a.offset));
        else addScratch(sc.mul(buffer.size as Expr, sc.int(a.tensor.dtype.byteWidth)));
      } else {
        const v = built.params[size++];
        if (v === undefined || p.params[i]?.kind !== "variable")
          throw new InternalError("build", `kernel '${built.kernel.name}' got other parameters than it was built with`);
        values.set(v, a);
        args.push(a);
      }
    });
    for (const b of built.scratch) addScratch(sc.mul(b.size as Expr, sc.int(b.bytes)));
    const count = sc.substitute(built.count, values);
    return {
      kind: "launch",
      kernel: built.kernel,
      args,
      count,
      ...this.rowOf(s, built.joined, values),
      grain: this.grainOf(count),
      threadsFrom: this.threadsFrom(s, count),
      scratch,
      origin: [...new Set(s.kernel.stages.flatMap((x) => x.origin))],
      inPlace: this.inPlace(s),
    };
  }
  /** The rows of a launch, where threads had better share each of them. */
  private rowOf(s: Step, joined: Joined | undefined, values: ReadonlyMap<Variable, Expr>): Pick<Launch, "row"> {
    // Two threads must not write one place, not even the same.
    if (!this.ownShares || joined === undefined || joined.overlaps) return {};
    const isConstant = (t: Tensor): boolean => this.slots.has(rootOf(this.f, t));
    return sharesRows(this.sc, s.kernel, joined.axes, isConstant) ? { row: this.sc.substitute(joined.row, values) } : {};
  }
  private grainOf(count: Expr): Expr {
    const { sc } = this;
    if (count.constant !== null) return sc.int(Math.max(1, Math.ceil(Number(count.constant) / piecesPerLaunch)));
    return sc.add(sc.floordiv(count, sc.int(piecesPerLaunch)), sc.int(1));
  }

  /** An opaque step: one launch over its points. */
  private opaque(o: Opaque, name: string): Stmt {
    const { sc } = this;
    const made = buildOpaque(sc, this.f, o, this.names.fresh(o.origin[0] ?? name));
    const built = this.cache.get(made.key) ?? { kernel: made.kernel, count: made.count, scratch: [], params: [] };
    this.cache.set(made.key, built);
    this.kernels.add(built.kernel);
    const args = [...made.tensors.map((t) => this.addressOf(t, sc.int(0))), ...made.sizes];
    const places = made.scratch.map((bytes) => this.scratch(bytes));
    const scratch = places.map((a, i): Scratch => ({ arg: args.length + i, bytes: a.bytes }));
    args.push(...places.map((a) => sc.var(a.address)));
    const iterations = this.typical(made.count);
    const from = Math.ceil((2 * this.fork) / Math.max(1, this.typical(sc.dim(o.work))));
    const shared = iterations > 1 && Number.isSafeInteger(from) && o.writes.every((t) => t.dtype.bits >= 8);
    return {
      kind: "launch",
      kernel: built.kernel,
      args,
      count: made.count,
      grain: this.grainOf(made.count),
      threadsFrom: shared ? Math.max(2, from) : null,
      scratch,
      origin: o.origin,
      inPlace: [],
    };
  }

  private scratch(bytes: Expr): Allocation {
    const { sc } = this;
    const data = this.f.symbols.filter((s) => s.source === "data" && variablesOf(bytes).has(sc.symbol(s)));
    const bounds = new Map(
      data.flatMap((s) => (upperBound(symbolDim(s)) === null ? [] : [[sc.symbol(s), sc.dim(upperBound(symbolDim(s)) as Dim)] as const])),
    );
    const address = sc.variable("at.scratch", i32, { min: 0 });
    const planned = { name: "scratch", address, bytes: sc.substitute(bytes, bounds) };
    const a: Allocation = data.every((s) => bounds.has(sc.symbol(s))) ? planned : { ...planned, bytes, dynamic: true };
    this.scratches.push(a);
    return a;
  }

  /** A copy from one place to the same need not be made. */
  private unlessThere({ identity }: Kernel, launch: Stmt): Stmt {
    if (identity === undefined) return launch;
    const [from, to] = [identity.from, identity.to].map((t) => this.addressOf(t, this.sc.int(0))) as [Expr, Expr];
    return { kind: "if", condition: this.sc.op("ne", [from, to]), then: [launch], otherwise: [] };
  }

  /** The statements of steps; `outermost`: in no branch or loop. */
  private block(steps: readonly Step[], outermost: boolean): Stmt[] {
    return steps.flatMap((s): Stmt[] => {
      const c = s.kernel.control;
      if (c === undefined) return [this.unlessThere(s.kernel, this.launch(s))];
      const bodies = s.bodies.map((b) => this.block(b, false));
      switch (c.kind) {
        case "bind":
          return this.host.bind(c, outermost);
        case "require":
          return [this.host.requireEqual(c)];
        case "opaque":
          return [this.opaque(c, s.kernel.name)];
        case "if":
          return [this.host.branch(c, bodies[0] ?? [], bodies[1] ?? [])];
        case "loop":
          return this.host.loop(c, bodies[0] ?? []);
        default:
          throw c satisfies never;
      }
    });
  }

  /** What a size is reckoned as. */
  private typical(size: Expr): number {
    const { sc } = this;
    const sizes = new Map(this.f.symbols.map((x) => [sc.symbol(x), sc.int(typicalSize(symbolDim(x)))]));
    return Number(sc.substitute(size, sizes).constant ?? 0);
  }

  /** The count from which sharing pays: twice what it costs to set threads to work and to wait for them. */
  private threadsFrom(s: Step, count: Expr): number | null {
    // Writes that may collide stay in order; elements narrower than a byte share it with neighbours.
    const writes = allStages(s.kernel).flatMap((x) => x.writes);
    if (writes.some((w) => w.combiner !== null || w.tensor.dtype.bits < 8 || loadsOf(...w.index).length > 0)) return null;
    const iterations = this.typical(count);
    const from = Math.ceil((2 * this.fork * iterations) / s.cost);
    return iterations > 1 && Number.isSafeInteger(from) ? Math.max(2, from) : null;
  }

  /** A result may take an operand's place where each element is read once, at the very position that is written, and no tile runs twice. */
  private inPlace(s: Step): (readonly [Variable, Variable])[] {
    const [stage] = s.kernel.stages;
    if (s.kernel.stages.length !== 1 || stage === undefined || stage.writes.length !== 1 || s.kernel.axes.length > 0) return [];
    const [w] = stage.writes;
    const loops = s.schedule.stages[stage.name];
    if (w === undefined || w.combiner !== null || w.guard !== null || loops === undefined || this.slots.has(w.tensor)) return [];
    const exact = stage.axes.every(
      (a) =>
        a.kind === "reduction" ||
        loops.loops.filter((l) => l.axis === a.variable.name).every((l) => typeof a.extent === "number" && a.extent % l.size === 0),
    );
    // A tile that was moved back (its start is a minimum) computes points twice, the second time from what it wrote.
    const evenly = [...polynomialOf(w.index[0] as Expr).values()].every((m) => m.atoms.every((a) => a.op === "var"));
    if (!exact || !evenly) return [];
    const reads = new Map<Tensor, Set<Expr>>();
    for (const e of loadsOf(w.value)) reads.set(e.attr as Tensor, (reads.get(e.attr as Tensor) ?? new Set()).add(e.args[0] as Expr));
    const inside = new Set<Tensor>(loadsOf(...stage.accumulators.map((a) => a.lift)).map((e) => e.attr as Tensor));
    const out: (readonly [Variable, Variable])[] = [];
    for (const [t, indices] of reads) {
      const same = [...indices].every((i) => i === w.index[0]);
      if (!same || inside.has(t) || this.slots.has(rootOf(this.f, t)) || t.dtype !== w.tensor.dtype) continue;
      out.push([this.allocationOf(w.tensor).address, this.allocationOf(t).address]);
    }
    return out;
  }
}
