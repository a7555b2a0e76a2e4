import type { Kernel, Stmt } from "../../loop/ir.ts";
import { bodiesOf, exprsOf } from "../../loop/ir.ts";
import { type Expr, type Variable, postorder, variablesOf } from "../../scalar/expr.ts";

/**
 * What emission has to know of a function's variables before it writes it. Loop IR holds byte addresses, positions and data
 * of i32 in one type; in C addresses are pointers, positions plain integers, and data wrap.
 */
export interface Facts {
  /** Is the value an address? */
  readonly isAddress: (e: Expr) => boolean;
  /** Address variables through which something is stored. */
  readonly written: ReadonlySet<Variable>;
  /** Variables whose value, apart from their own steps, is used. */
  readonly live: ReadonlySet<Variable>;
  /** Variables that become data which is stored: not only addresses, bounds of loops, conditions of branches. */
  readonly data: ReadonlySet<Variable>;
  /** Is the value made of something that is read from memory? */
  readonly isRead: (e: Expr) => boolean;
}

type Binding = Extract<Stmt, { kind: "let" | "assign" }>;

/** Facts of a function; `roots` are the addresses that it is given. */
export function factsOf(body: readonly Stmt[], roots: Iterable<Variable>): Facts {
  const stmts: Stmt[] = [];
  const collect = (b: readonly Stmt[]): void => {
    for (const s of b) {
      stmts.push(s);
      bodiesOf(s).forEach(collect);
    }
  };
  collect(body);
  const bindings = stmts.filter((s): s is Binding => s.kind === "let" || s.kind === "assign");
  const addresses = addressVariables(bindings, new Set(roots));
  const isAddress = (e: Expr): boolean => isAddressIn(e, addresses);
  const reads = readVariables(bindings);
  const memo = new Map<Expr, boolean>();
  return {
    isAddress,
    written: writtenAddresses(stmts, bindings, addresses),
    live: liveVariables(stmts, bindings),
    data: dataVariables(stmts, bindings),
    isRead: (e) => isReadIn(e, reads, memo),
  };
}

function isAddressIn(e: Expr, addresses: ReadonlySet<Variable>): boolean {
  switch (e.op) {
    case "var":
      return addresses.has(e.attr as Variable);
    case "add":
    case "sub":
      return e.lanes === 1 && e.args.some((a) => isAddressIn(a, addresses));
    case "select":
      return e.lanes === 1 && e.args.slice(1).some((a) => isAddressIn(a, addresses));
    default:
      return false;
  }
}

/** Repeats a step until it changes nothing; each adds to finite sets. */
function untilStable(step: () => boolean): void {
  while (step()) {
    // Again.
  }
}

function addressVariables(bindings: readonly Binding[], addresses: Set<Variable>): Set<Variable> {
  untilStable(() => {
    const before = addresses.size;
    for (const b of bindings) if (isAddressIn(b.value, addresses)) addresses.add(b.variable);
    return addresses.size > before;
  });
  return addresses;
}

/** Adds the variables that the values of some variables mention, through all bindings. */
function backwards(bindings: readonly Binding[], set: Set<Variable>, mentioned: (e: Expr) => Iterable<Variable>): Set<Variable> {
  untilStable(() => {
    const before = set.size;
    for (const b of bindings) if (set.has(b.variable)) for (const v of mentioned(b.value)) set.add(v);
    return set.size > before;
  });
  return set;
}

function writtenAddresses(stmts: readonly Stmt[], bindings: readonly Binding[], addresses: ReadonlySet<Variable>): Set<Variable> {
  // What is read on the way to an address is not written.
  const of = (e: Expr): Variable[] => [...valueVariables(e)].filter((v) => addresses.has(v));
  const stored = stmts.flatMap((s) => (s.kind === "storeat" ? of(s.address) : []));
  return backwards(bindings, new Set(stored), of);
}

function liveVariables(stmts: readonly Stmt[], bindings: readonly Binding[]): Set<Variable> {
  const used = stmts.flatMap((s) => (s.kind === "let" || s.kind === "assign" ? [] : [...variablesOf(...exprsOf(s))]));
  return backwards(bindings, new Set(used), (e) => variablesOf(e));
}

/** Variables outside of the addresses of what is read. */
function valueVariables(e: Expr): Set<Variable> {
  const out = new Set<Variable>();
  const seen = new Set<Expr>();
  const stack = [e];
  for (let x = stack.pop(); x !== undefined; x = stack.pop()) {
    if (seen.has(x) || x.op === "loadat") continue;
    seen.add(x);
    if (x.op === "var") out.add(x.attr as Variable);
    stack.push(...x.args);
  }
  return out;
}

function dataVariables(stmts: readonly Stmt[], bindings: readonly Binding[]): Set<Variable> {
  const stored = stmts.flatMap((s) => (s.kind === "storeat" ? [...valueVariables(s.value)] : []));
  return backwards(bindings, new Set(stored), valueVariables);
}

function readVariables(bindings: readonly Binding[]): Set<Variable> {
  const out = new Set<Variable>();
  untilStable(() => {
    const before = out.size;
    for (const b of bindings)
      if (!out.has(b.variable) && postorder([b.value]).some((e) => e.op === "loadat" || (e.op === "var" && out.has(e.attr as Variable))))
        out.add(b.variable);
    return out.size > before;
  });
  return out;
}

function isReadIn(e: Expr, reads: ReadonlySet<Variable>, memo: Map<Expr, boolean>): boolean {
  let r = memo.get(e);
  if (r === undefined) {
    r = e.op === "loadat" || (e.op === "var" ? reads.has(e.attr as Variable) : e.args.some((a) => isReadIn(a, reads, memo)));
    memo.set(e, r);
  }
  return r;
}

/** Which parameters of a kernel the launches of a program give addresses for. */
export function addressParams(k: Kernel, launches: readonly Extract<Stmt, { kind: "launch" }>[], isAddress: (e: Expr) => boolean): Set<Variable> {
  const out = new Set<Variable>();
  for (const l of launches) {
    if (l.kernel !== k) continue;
    k.params.forEach((p, i) => {
      const a = l.args[i];
      if (p.kind === "variable" && a !== undefined && isAddress(a)) out.add(p);
    });
  }
  return out;
}
