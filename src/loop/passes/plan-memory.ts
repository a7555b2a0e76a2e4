import { UnsupportedError } from "../../base/errors.ts";
import { type Expr, type Variable, variablesOf } from "../../scalar/expr.ts";
import { fromPolynomial, polynomialOf, rangeOf } from "../../scalar/index.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import type { Placement, Program, Stmt } from "../ir.ts";
import { bodiesOf, mapBlock, mapStmt } from "../ir.ts";
import { type Live, type Lives, livesOf } from "./lives.ts";
import { placeDynamic, withRoomFault } from "./place-dynamic.ts";

/** Every buffer starts at a multiple of this, so that vectors do not straddle cache lines. */
const alignment = 64;

/**
 * Static memory planning: gives every allocation of the arena a place, so that none overlaps another that is alive at the
 * same time. Sizes that are known are packed largest first, each at the lowest free place (greedy by size; Pisarchyk & Lee,
 * Efficient Memory Management for Deep Neural Net Inference, 2020); symbolic ones share slots in order of time. A result
 * takes the place of an operand that dies with it where the kernel works in place. Dynamic allocations get their places,
 * above all others, by code in main.
 */
export function planMemory(sc: Scalars, source: Program): Program {
  const p = withRoomFault(sc, source);
  const found = livesOf(p);
  const { lives } = found;
  const ports = movablePorts(p);
  const factsOf = placementFacts(p, found);
  const merged = mergeInPlace(found, new Set(ports));
  const roots = [...new Set([...lives.keys()].map((v) => merged.get(v) ?? v))].map((v) => lives.get(v) as Live);
  const dynamic = roots.filter((l) => l.allocation.dynamic === true);
  const planned = roots.filter((l) => l.allocation.dynamic !== true);
  const bounded = packBounded(p, planned);
  const known = bounded === null ? planned.filter((l) => l.allocation.bytes.constant !== null) : [];
  const symbolic = bounded === null ? planned.filter((l) => l.allocation.bytes.constant === null) : [];
  const places = new Map<Variable, Expr>();
  const packed = bounded ?? packKnown(known, (l) => Number(l.allocation.bytes.constant) >>> 0);
  if (packed.bytes >= 2 ** 32)
    throw new UnsupportedError(
      "memory",
      `the model's intermediate results need ${(packed.bytes / 2 ** 30).toFixed(1)} GiB at once; addresses of 32 bits end at 4 GiB: compile with smaller shapes`,
    );
  const start = startOf(p, (v) => packed.offsets.get(merged.get(v) ?? v) ?? 0);
  for (const [v, offset] of packed.offsets) places.set(v, sc.int(start + offset));
  let top: Expr = sc.int(start + packed.bytes);
  for (const slot of slotsOf(sc, symbolic)) {
    for (const l of slot.members) places.set(l.allocation.address, top);
    top = sc.add(top, slot.bytes);
  }
  const arenaBytes = fromPolynomial(sc, polynomialOf(top));
  const told = new Set(p.outputs.flatMap((o) => [...variablesOf(o.address)].map((v) => merged.get(v) ?? v)));
  const placed = placeDynamic(sc, p, dynamic, told, arenaBytes);
  for (const [v, place] of placed.places) places.set(v, place);
  const arena = sc.var(p.arena);
  const addresses = new Map<Variable, Expr>();
  const placeOf = (v: Variable): Expr => places.get(merged.get(v) ?? v) as Expr;
  for (const v of lives.keys()) addresses.set(v, sc.add(arena, placeOf(v)));
  const memo = new Map<Expr, Expr>();
  const expr = (e: Expr): Expr => sc.substituteAll([e], addresses, memo)[0] as Expr;
  const block = (b: readonly Stmt[]): readonly Stmt[] => mapBlock(b, (s) => mapStmt(s, expr, block));
  const moved = new Map([...addresses].filter(([v]) => !ports.includes(v)));
  const movedMemo = new Map<Expr, Expr>();
  const movedExpr = (e: Expr): Expr => sc.substituteAll([e], moved, movedMemo)[0] as Expr;
  const movedBlock = (b: readonly Stmt[]): readonly Stmt[] => mapBlock(b, (s) => mapStmt(s, movedExpr, movedBlock));
  const capacities = new Set((p.growths ?? []).flatMap((g) => g.capacities));
  const movedMain = (b: readonly Stmt[]) => movedBlock(b).filter((s) => s.kind !== "let" || !capacities.has(s.variable));
  const port = (x: Program["inputs"][0]) => ({ ...x, address: expr(x.address) });
  const fixed = [...lives].filter(([, l]) => l.allocation.dynamic !== true);
  return {
    ...placed.program,
    main: block(placed.program.main),
    allocations: [],
    ...(ports.length === 0 ? {} : { movable: { main: movedMain(placed.program.main), ports: [...capacities, ...ports] } }),
    placements: fixed.map(([v, l]) => ({ name: l.allocation.name, offset: placeOf(v), bytes: l.allocation.bytes, ...factsOf(v, l) })),
    arenaBytes,
    inputs: p.inputs.map(port),
    outputs: p.outputs.map(port),
    report: p.report === null ? null : expr(p.report),
  };
}

/**
 * Where the first place begins: kernels may be given an address below a tensor, from which guarded reads are counted; addresses below
 * 0 would wrap around, and with them those of the reads that take place.
 */
function startOf(p: Program, offsetOf: (v: Variable) => number): number {
  let start = 0;
  const visit = (b: readonly Stmt[]): void => {
    for (const s of b) {
      if (s.kind === "launch")
        for (const e of s.args) {
          const below = -(polynomialOf(e).get("")?.coef ?? 0);
          if (below > 0) for (const v of variablesOf(e)) if (lies(p, v)) start = Math.max(start, below - offsetOf(v));
        }
      for (const inner of bodiesOf(s)) visit(inner);
    }
  };
  visit(p.main);
  return Math.ceil(start / alignment) * alignment;
}

/** Is the variable an allocation's address? */
function lies(p: Program, v: Variable): boolean {
  return p.allocations.some((a) => a.address === v);
}

/** What an allocation is for, and between which launches it lives, before results take the places of operands. */
function placementFacts(p: Program, { lives, moments }: Lives): (v: Variable, l: Live) => Pick<Placement, "role" | "first" | "last"> {
  const own = new Map([...lives].map(([v, { first, last }]) => [v, { first, last }] as const));
  const launches = [...moments].filter(([s]) => s.kind === "launch");
  const at = launches.map(([, moment]) => moment);
  const roles = new Map<Variable, Placement["role"]>();
  for (const [s] of launches)
    if (s.kind === "launch") for (const x of s.scratch) for (const v of variablesOf(s.args[x.arg] as Expr)) roles.set(v, "scratch");
  for (const v of p.report === null ? [] : variablesOf(p.report)) roles.set(v, "report");
  for (const x of p.inputs) for (const v of variablesOf(x.address)) roles.set(v, "input");
  for (const x of p.outputs) for (const v of variablesOf(x.address)) roles.set(v, "output");
  return (v, l) => {
    const { first, last } = own.get(v) ?? l;
    const role = roles.get(v) ?? "value";
    return {
      role,
      first: first < 0 ? -1 : firstFrom(at, first),
      last: role === "output" || role === "report" ? at.length : firstFrom(at, last + 1) - 1,
    };
  };
}

/** The place of the first number, of those that rise, that is not below a limit; their count where all are. */
function firstFrom(rising: readonly number[], limit: number): number {
  let [low, high] = [0, rising.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((rising[middle] as number) < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The addresses of all ports, where callers may want to say where tensors lie: of a model whose sizes grow from run to run,
 * what one run gives the next one takes. A program that may have to run again gets its inputs anew each time.
 */
function movablePorts(p: Program): Variable[] {
  if (p.symbols.length === 0 || p.room !== null) return [];
  const ports = [...p.inputs, ...p.outputs].map((x) => x.address.variable);
  return ports.every((v) => v !== null) ? (ports as Variable[]) : [];
}

/** Lets a result take the place of an operand whose last use is the launch that first writes the result. Ports keep theirs. */
function mergeInPlace({ lives, moments }: Lives, ports: ReadonlySet<Variable>): Map<Variable, Variable> {
  const rootOf = new Map<Variable, Variable>();
  const root = (v: Variable): Variable => {
    let r = v;
    while (rootOf.has(r)) r = rootOf.get(r) as Variable;
    return r;
  };
  for (const [s, at] of moments) {
    if (s.kind !== "launch") continue;
    for (const [result, operand] of s.inPlace) {
      const [r, o] = [lives.get(root(result)), lives.get(root(operand))];
      if (r === undefined || o === undefined || r === o || ports.has(result) || ports.has(operand)) continue;
      const dies = r.first === at && o.last === at && o.first < at;
      // What gets its place while main runs does so in one block.
      const alike = r.allocation.dynamic !== true ? o.allocation.dynamic !== true : o.allocation.dynamic === true && r.home === o.home;
      if (!dies || !alike || r.allocation.bytes !== o.allocation.bytes) continue;
      rootOf.set(root(result), root(operand));
      o.last = Math.max(o.last, r.last);
    }
  }
  return new Map([...rootOf.keys()].map((v) => [v, root(v)]));
}

function align(n: number): number {
  return Math.ceil(n / alignment) * alignment;
}

/** An arena for the largest sizes may have this many bytes; beyond, sizes decide on every run. */
const mostBounded = 2 ** 31;

/** Where every symbol has a bound: one plan for all sizes, by the largest. Null where there is none, or where it would be large beyond reason. */
function packBounded(p: Program, lives: readonly Live[]): ReturnType<typeof packKnown> | null {
  if (p.symbols.length === 0 || !p.symbols.every((s) => Number.isFinite(s.max))) return null;
  const sizes = new Map(lives.map((l) => [l, rangeOf(l.allocation.bytes)[1]]));
  if ([...sizes.values()].some((bytes) => bytes > mostBounded)) return null;
  const packed = packKnown(lives, (l) => sizes.get(l) ?? 0);
  return packed.bytes <= mostBounded ? packed : null;
}

function packKnown(lives: readonly Live[], sizeOf: (l: Live) => number): { offsets: Map<Variable, number>; bytes: number } {
  const offsets = new Map<Variable, number>();
  const placed: { live: Live; offset: number; size: number }[] = [];
  const sized = lives.map((live) => ({ live, size: align(sizeOf(live)) })).sort((a, b) => b.size - a.size);
  let bytes = 0;
  for (const { live, size } of sized) {
    const busy = placed.filter((x) => x.live.first <= live.last && live.first <= x.live.last).sort((a, b) => a.offset - b.offset);
    let offset = 0;
    for (const x of busy) {
      if (offset + size <= x.offset) break;
      offset = Math.max(offset, x.offset + x.size);
    }
    placed.push({ live, offset, size });
    offsets.set(live.allocation.address, offset);
    bytes = Math.max(bytes, offset + size);
  }
  return { offsets, bytes };
}

/** A place that allocations have one after the other. */
interface Slot {
  bytes: Expr;
  readonly members: Live[];
  free: number;
}

/** The size rounded up to the alignment. */
function rounded(sc: Scalars, e: Expr): Expr {
  return sc.mul(sc.floordiv(sc.add(e, sc.int(alignment - 1)), sc.int(alignment)), sc.int(alignment));
}

/** Symbolic sizes: an allocation takes a slot that is free by then and provably as large, or of which it is a multiple. */
function slotsOf(sc: Scalars, lives: readonly Live[]): Slot[] {
  const slots: Slot[] = [];
  for (const l of [...lives].sort((a, b) => a.first - b.first)) {
    const size = rounded(sc, l.allocation.bytes);
    const fits = slots.filter((s) => s.free < l.first);
    const exact = fits.find((s) => s.bytes === size);
    const larger = exact ?? fits.find((s) => atLeast(sc, s.bytes, size)) ?? fits.find((s) => atLeast(sc, size, s.bytes));
    if (larger === undefined) slots.push({ bytes: size, members: [l], free: l.last });
    else {
      if (larger.bytes !== size && !atLeast(sc, larger.bytes, size)) larger.bytes = size;
      larger.members.push(l);
      larger.free = l.last;
    }
  }
  return slots;
}

function atLeast(sc: Scalars, a: Expr, b: Expr): boolean {
  const inner = (e: Expr): Expr => (e.op === "mul" && (e.args[0] as Expr).op === "floordiv" ? ((e.args[0] as Expr).args[0] as Expr) : e);
  const difference = polynomialOf(sc.sub(inner(a), inner(b)));
  return rangeOf(fromPolynomial(sc, difference))[0] >= 0 && [...difference.values()].every((m) => m.coef >= 0);
}
