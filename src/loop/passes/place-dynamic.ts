import { makeDataSymbol } from "../../base/dim.ts";
import { f64, i32 } from "../../base/dtype.ts";
import { InternalError } from "../../base/errors.ts";
import { Names, identifier } from "../../base/text.ts";
import { type Expr, type Variable, variablesOf } from "../../scalar/expr.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { inDoubles } from "../doubles.ts";
import { Buffer, type DataSymbol, type Fault, type Program, type Stmt, bodiesOf, mapBlock, reportBytes } from "../ir.ts";
import type { Block, Live } from "./lives.ts";

/** Places are numbers of so many bytes from the start of the arena, so that all of memory can be told by an i32. */
const unit = 64;
/** Such a tensor must be smaller: positions inside of it are i32. */
const mostUnits = 2 ** 31 / unit;

/** A program with dynamic allocations gets the fault that asks for more room, and a report that has space for the places of outputs. */
export function withRoomFault(sc: Scalars, source: Program): Program {
  if (source.room === null) return source;
  const p = source.report === null ? withReport(sc, source) : source;
  const dynamic = new Set(p.allocations.flatMap((a) => (a.dynamic === true ? [a.address] : [])));
  const outputs = new Set(p.outputs.flatMap((o) => [...variablesOf(o.address)].filter((v) => dynamic.has(v))));
  const report = p.report?.variable;
  const bytes = sc.int(reportBytes(p.dataSymbols.length + outputs.size));
  const allocations = p.allocations.map((a) => (a.address === report ? { ...a, bytes } : a));
  const faults = p.faults.some((f) => f.room === true) ? p.faults : [...p.faults, roomFault];
  return { ...p, allocations, faults };
}

const roomFault: Fault = { text: "the run needs {} times 64 bytes of memory", room: true };

function withReport(sc: Scalars, p: Program): Program {
  const address = sc.variable("at.report", i32, { min: 0 });
  const buffer = new Buffer(sc.freshId(), "report", i32, "param", null);
  const start: Stmt = { kind: "storeat", buffer, address: sc.var(address), offset: 0, value: sc.int(0) };
  const allocation = { name: "report", address, bytes: sc.int(reportBytes(0)) };
  return { ...p, allocations: [...p.allocations, allocation], report: sc.var(address), main: [start, ...p.main] };
}

/** Where dynamic allocations lie, in bytes from the start of the arena, and the program whose main computes that. */
export interface DynamicPlaces {
  readonly program: Program;
  readonly places: ReadonlyMap<Variable, Expr>;
}

/**
 * Places dynamic allocations as main runs: a variable tells where the free part of the arena begins; each allocation takes from
 * there what it needs just before its first use, and every block gives back what was taken inside of it. In a block,
 * allocations of the same size take the places of others that are done with. The places of `outputs` are told in the report.
 */
export function placeDynamic(sc: Scalars, p: Program, lives: readonly Live[], outputs: ReadonlySet<Variable>, arenaBytes: Expr): DynamicPlaces {
  if (lives.length === 0) return { program: p, places: new Map() };
  return new DynamicPlacer(sc, p, lives, outputs, arenaBytes).run();
}

/** A place, how large it is, and until when it is in use. */
interface Taken {
  readonly bytes: Expr;
  readonly place: Variable;
  free: number;
}

class DynamicPlacer {
  private readonly sc: Scalars;
  private readonly program: Program;
  private readonly lives: readonly Live[];
  private readonly arenaBytes: Expr;
  private readonly top: Variable;
  private readonly names: Names;
  private readonly faults: Fault[];
  private readonly dataSymbols: DataSymbol[];
  private readonly places = new Map<Variable, Expr>();
  private readonly outputs: ReadonlySet<Variable>;

  constructor(sc: Scalars, p: Program, lives: readonly Live[], outputs: ReadonlySet<Variable>, arenaBytes: Expr) {
    this.sc = sc;
    this.program = p;
    this.lives = lives;
    this.arenaBytes = arenaBytes;
    this.top = sc.variable("top", i32, { min: 0 });
    this.names = new Names(identifier);
    for (const s of [...p.symbols, ...p.dataSymbols.map((d) => d.symbol)]) this.names.fresh(s.name);
    this.faults = [...p.faults];
    this.dataSymbols = [...p.dataSymbols];
    this.outputs = outputs;
  }

  run(): DynamicPlaces {
    const { sc, program: p } = this;
    const before = new Map<readonly Stmt[], Map<number, Stmt[]>>();
    for (const [home, lives] of this.byHome()) before.set(home.stmts, this.takings(lives));
    const units = sc.op("floor", [sc.op("div", [sc.add(inDoubles(sc, this.arenaBytes), sc.const(unit - 1, f64)), sc.const(unit, f64)])]);
    const start: Stmt = { kind: "let", variable: this.top, value: sc.cast(i32, units) };
    const main = [start, ...this.insert(p.main, before, true)];
    return { program: { ...p, main, faults: this.faults, dataSymbols: this.dataSymbols }, places: this.places };
  }

  private byHome(): Map<Block, Live[]> {
    const out = new Map<Block, Live[]>();
    for (const l of this.lives) out.set(l.home, [...(out.get(l.home) ?? []), l]);
    return out;
  }

  /** What stands before the statements of a block. */
  private takings(lives: readonly Live[]): Map<number, Stmt[]> {
    const { sc } = this;
    const out = new Map<number, Stmt[]>();
    const taken: Taken[] = [];
    for (const l of [...lives].sort((a, b) => a.first - b.first)) {
      const isOutput = this.outputs.has(l.allocation.address);
      const free = taken.find((t) => t.free < l.first && t.bytes === l.allocation.bytes);
      if (free !== undefined && !isOutput) {
        free.free = l.last;
        this.places.set(l.allocation.address, this.bytesOf(free.place));
        continue;
      }
      const place = sc.variable(this.names.fresh(`place.${l.allocation.name}`), i32, { min: 0 });
      taken.push({ bytes: l.allocation.bytes, place, free: l.last });
      this.places.set(l.allocation.address, this.bytesOf(place));
      const stmts = [...this.take(l, place), ...(isOutput ? this.tell(place) : [])];
      out.set(l.firstIn, [...(out.get(l.firstIn) ?? []), ...stmts]);
    }
    return out;
  }

  private bytesOf(place: Variable): Expr {
    return this.sc.mul(this.sc.var(place), this.sc.int(unit));
  }

  /** place = top; top += size, if there is room. */
  private take(l: Live, place: Variable): Stmt[] {
    const { sc, top } = this;
    const { name, bytes } = l.allocation;
    const { room } = this.program;
    if (room === null) throw new InternalError("plan-memory", `the program has no room for '${name}'`);
    const c = (v: number) => sc.const(v, f64);
    const needs = sc.variable(`units.${name}`, f64);
    const [units, free] = [sc.var(needs), sc.cast(f64, sc.var(top))];
    // A negative size, of what is empty anyway, takes nothing.
    const size = sc.max(sc.op("floor", [sc.op("div", [sc.add(inDoubles(sc, bytes), c(unit - 1)), c(unit)])]), c(0));
    const end = sc.add(free, units);
    const large = `the tensor '${name}', whose size the model computes, needs {} MiB; a tensor must stay below 2048 MiB`;
    return [
      { kind: "let", variable: needs, value: size },
      this.require(sc.op("lt", [units, c(mostUnits)]), { text: large }, sc.cast(i32, sc.op("div", [units, c(2 ** 20 / unit)]))),
      this.require(sc.op("le", [end, sc.cast(f64, sc.var(room))]), roomFault, sc.cast(i32, end)),
      { kind: "let", variable: place, value: sc.var(top) },
      { kind: "assign", variable: top, value: sc.add(sc.var(top), sc.cast(i32, units)) },
    ];
  }
  private require(condition: Expr, fault: Fault, value: Expr): Stmt {
    const old = this.faults.findIndex((f) => f.text === fault.text);
    return { kind: "require", condition, fault: old >= 0 ? old : this.faults.push(fault) - 1, value };
  }

  /** The caller is told where an output lies. */
  private tell(place: Variable): Stmt[] {
    const { sc, program: p } = this;
    const n = this.dataSymbols.push({ symbol: makeDataSymbol(place.name, 0, null), variable: place });
    const buffer = new Buffer(sc.freshId(), "report", i32, "param", null);
    return [{ kind: "storeat", buffer, address: p.report as Expr, offset: 4 + 4 * n, value: sc.var(place) }];
  }

  /** The block with what has to stand before its statements; one that is not main's own gives back what was taken inside. */
  private insert(b: readonly Stmt[], before: ReadonlyMap<readonly Stmt[], Map<number, Stmt[]>>, isMain: boolean): readonly Stmt[] {
    const { sc, top } = this;
    const own = before.get(b);
    const out: Stmt[] = [];
    b.forEach((s, i) => {
      out.push(...(own?.get(i) ?? []), ...mapBlock([s], (x) => this.inside(x, before)));
    });
    if (own === undefined) return out;
    out.push(...(own.get(b.length) ?? []));
    if (isMain) return out;
    const mark = sc.variable("mark", i32, { min: 0 });
    return [{ kind: "let", variable: mark, value: sc.var(top) }, ...out, { kind: "assign", variable: top, value: sc.var(mark) }];
  }

  private inside(s: Stmt, before: ReadonlyMap<readonly Stmt[], Map<number, Stmt[]>>): Stmt {
    if (bodiesOf(s).length === 0) return s;
    const block = (b: readonly Stmt[]): readonly Stmt[] => this.insert(b, before, false);
    switch (s.kind) {
      case "for":
      case "while":
        return { ...s, body: block(s.body) };
      case "if":
        return { ...s, then: block(s.then), otherwise: block(s.otherwise) };
      default:
        return s;
    }
  }
}
