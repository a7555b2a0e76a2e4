import { type Expr, type Variable, variablesOf } from "../../scalar/expr.ts";
import { type Allocation, type Program, type Stmt, bodiesOf, exprsOf, isBuffer } from "../ir.ts";

/**
 * When allocations are in use. Statements of main are moments, numbered as they stand in the text; a loop has one before its
 * body (its condition) and one after it.
 */
export interface Live {
  readonly allocation: Allocation;
  first: number;
  last: number;
  /** The block that holds all uses: outside of every loop that it lives through. */
  home: Block;
  /** The statement of that block with the first use, by its place in it. */
  firstIn: number;
}

/** A block of main. */
export interface Block {
  /** The block around it, and the place in it of the statement that holds this one; null for main itself. */
  readonly outer: { readonly block: Block; readonly at: number } | null;
  readonly depth: number;
  readonly stmts: readonly Stmt[];
  /** The moments of the loop whose body this is. */
  readonly loop: { readonly begin: number; end: number } | null;
}

export interface Lives {
  readonly lives: Map<Variable, Live>;
  /** The moments of launches. */
  readonly moments: ReadonlyMap<Stmt, number>;
}

interface Use {
  readonly moment: number;
  readonly block: Block;
  /** The statement's place in the block. */
  readonly at: number;
  /** Writes it, and reads nothing of it. */
  readonly writes: boolean;
}

/**
 * The lives of a program's allocations. What is used inside a loop and outside of it, or read in a turn before it is written
 * there, lives through the whole loop; what a turn writes and then reads lives in between only. Inputs live from the start,
 * to the end if main may have to be repeated; outputs and the report to the end.
 */
export function livesOf(p: Program): Lives {
  const uses = new Map<Variable, Use[]>(p.allocations.map((a) => [a.address, []]));
  const moments = new Map<Stmt, number>();
  let clock = 0;
  const note = (e: Expr, u: Use): void => {
    for (const v of variablesOf(e)) uses.get(v)?.push(u);
  };
  const visit = (block: Block): void => {
    block.stmts.forEach((s, at) => {
      const moment = clock++;
      moments.set(s, moment);
      for (const [e, writes] of accesses(s)) note(e, { moment, block, at, writes });
      const isLoop = s.kind === "for" || s.kind === "while";
      const loop = isLoop ? { begin: moment, end: moment } : null;
      for (const b of bodiesOf(s)) visit({ outer: { block, at }, depth: block.depth + 1, stmts: b, loop });
      if (loop !== null) loop.end = clock++;
    });
  };
  const main: Block = { outer: null, depth: 0, stmts: p.main, loop: null };
  const [start, end] = [-1, p.main.length];
  for (const i of p.inputs) note(i.address, { moment: start, block: main, at: 0, writes: true });
  if (p.report !== null) note(p.report, { moment: start, block: main, at: 0, writes: true });
  visit(main);
  const last = { moment: clock, block: main, at: end, writes: false };
  for (const o of p.outputs) note(o.address, last);
  if (p.report !== null) note(p.report, last);
  // With too little room main is run again.
  if (p.room !== null) for (const i of p.inputs) note(i.address, last);
  const lives = new Map<Variable, Live>();
  for (const allocation of p.allocations) {
    const live = lifeOf(allocation, uses.get(allocation.address) ?? []);
    if (live !== null) lives.set(allocation.address, live);
  }
  return { lives, moments };
}

/** A statement's expressions, and whether what they are the address of is only written: reads come first. */
function accesses(s: Stmt): (readonly [Expr, boolean])[] {
  if (s.kind === "storeat")
    return [
      [s.value, false],
      [s.address, true],
    ];
  if (s.kind !== "launch") return exprsOf(s).map((e) => [e, false] as const);
  const args = s.args.map((e, i) => {
    const param = s.kernel.params[i];
    return [e, param !== undefined && isBuffer(param) && s.kernel.writes.has(param)] as const;
  });
  const sizes = [s.count, s.grain, ...s.scratch.map((x) => x.bytes)].map((e) => [e, false] as const);
  // Scratch memory is written before it is read.
  const own = new Set(s.scratch.map((x) => x.arg));
  const all = args.map(([e, writes], i) => [e, writes || own.has(i)] as const);
  return [...sizes, ...all.filter(([, w]) => !w), ...all.filter(([, w]) => w)];
}

/** Uses are in the order of their moments. */
function lifeOf(allocation: Allocation, uses: readonly Use[]): Live | null {
  const [one] = uses;
  if (one === undefined) return null;
  let [first, last] = [one.moment, one.moment];
  for (const u of uses) [first, last] = [Math.min(first, u.moment), Math.max(last, u.moment)];
  // The loops around uses, from the inside out.
  const around = new Set<Block>();
  for (const u of uses) for (let b: Block | null = u.block; b !== null && !around.has(b); b = b.outer?.block ?? null) around.add(b);
  for (const { loop } of [...around].sort((a, b) => b.depth - a.depth)) {
    if (loop === null) continue;
    const inside = uses.filter((u) => u.moment >= loop.begin && u.moment <= loop.end);
    if (inside.length === uses.length && inside[0]?.writes === true) continue;
    [first, last] = [Math.min(first, loop.begin), Math.max(last, loop.end)];
  }
  return { allocation, first, last, ...homeOf(uses, first) };
}

function homeOf(uses: readonly Use[], first: number): Pick<Live, "home" | "firstIn"> {
  let [home, firstIn] = [uses[0]?.block as Block, uses[0]?.at ?? 0];
  const out = (): void => {
    if (home.outer === null) return;
    [home, firstIn] = [home.outer.block, home.outer.at];
  };
  for (const u of uses) {
    let [block, at] = [u.block, u.at];
    while (block !== home) {
      if (block.depth > home.depth && block.outer !== null) [block, at] = [block.outer.block, block.outer.at];
      else out();
    }
    firstIn = Math.min(firstIn, at);
  }
  // Out of the loops that it lives through.
  for (let b: Block | null = home; b !== null; b = b.outer?.block ?? null) {
    if (b.loop === null || first > b.loop.begin) continue;
    while (home !== b.outer?.block) out();
  }
  return { home, firstIn };
}
