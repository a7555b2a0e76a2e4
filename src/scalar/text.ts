import { type DType, findDType, f32, i32 } from "../base/dtype.ts";
import { type Reader, printNumber } from "../base/text.ts";
import type { Expr, Storage, Variable } from "./expr.ts";
import { type OpName, findScalarOp, scalarOps } from "./ops/table.ts";
import type { Scalars } from "./scalars.ts";

/** Prints an expression so that `parseExpr` reads the same one: infix where the op table says so. */
export function printExpr(e: Expr, level = 0): string {
  switch (e.op) {
    case "const":
      return printConst(e);
    case "var":
      return (e.attr as Variable).name;
    case "load":
      return `%${(e.attr as Storage).name}[${e.args.map((a) => printExpr(a)).join(", ")}]`;
    case "loadat":
      return `%${(e.attr as Storage).name}{${e.args.map((a) => printExpr(a)).join(", ")}}${e.lanes === 1 ? "" : `:${e.lanes}`}`;
    case "extract":
      return `extract(${printExpr(e.args[0] as Expr)}, ${e.attr})`;
    case "insert":
      return `insert(${e.args.map((a) => printExpr(a)).join(", ")}, ${e.attr})`;
    case "ramp":
      return `ramp(${printExpr(e.args[0] as Expr)}, ${printExpr(e.args[1] as Expr)}, ${e.lanes})`;
    case "broadcast":
      return `broadcast(${printExpr(e.args[0] as Expr)}, ${e.lanes})`;
    case "cast":
      return `${e.dtype}(${printExpr(e.args[0] as Expr)})`;
    case "bitcast":
      return `bitcast.${e.dtype}(${printExpr(e.args[0] as Expr)})`;
    default: {
      const infix = scalarOps[e.op].infix;
      if (infix === undefined) return `${e.op}(${e.args.map((a) => printExpr(a)).join(", ")})`;
      const [a, b] = e.args as [Expr, Expr];
      const text = `${printExpr(a, infix.precedence)} ${infix.symbol} ${printExpr(b, infix.precedence + 1)}`;
      return infix.precedence < level ? `(${text})` : text;
    }
  }
}

function printConst(e: Expr): string {
  const v = e.attr as number | bigint;
  const text = typeof v === "bigint" ? `${v}` : printNumber(v, e.dtype.isFloat);
  if (e.dtype.kind === "bool") return v === 0 ? "false" : "true";
  return e.dtype === i32 || e.dtype === f32 ? text : `${text}:${e.dtype}`;
}

/** Where the names in an expression lead. */
export interface Scope {
  readonly variable: (name: string) => Variable | null;
  readonly storage: (name: string) => Storage | null;
}

const infixOps = new Map(Object.values(scalarOps).flatMap((o) => (o.infix === undefined ? [] : [[o.infix.symbol, o] as const])));

/** Reads one expression. Integer literals are i32 and those with a point or exponent f32, unless a dtype follows: `1:i64`. */
export function parseExpr(r: Reader, sc: Scalars, scope: Scope, level = 0): Expr {
  let left = parsePrimary(r, sc, scope);
  for (;;) {
    const op = r.peek().kind === "punct" ? infixOps.get(r.peek().text) : undefined;
    const precedence = op?.infix?.precedence ?? -1;
    if (op === undefined || precedence < level) return left;
    const at = r.next();
    const right = parseExpr(r, sc, scope, precedence + 1);
    left = checked(r, sc, op.name as OpName, [left, right], null, at);
  }
}

function checked(r: Reader, sc: Scalars, op: OpName, args: readonly Expr[], cast: DType | null, at: ReturnType<Reader["peek"]>): Expr {
  const entry = scalarOps[op];
  if (args.length !== entry.arity) r.fail(`'${op}' takes ${entry.arity} operands, got ${args.length}`, at);
  const type = entry.type(args.map((a) => a.dtype), cast);
  if ("error" in type) r.fail(`'${op}': ${type.error}`, at);
  return sc.op(op, args, cast);
}

function literal(r: Reader, sc: Scalars, text: string, negative: boolean): Expr {
  const isFloat = /[.e]|inf|nan/.test(text);
  const d = r.accept(":") ? r.dtype() : isFloat ? f32 : i32;
  if (d.bits === 64 && !d.isFloat) return sc.const(negative ? -BigInt(text) : BigInt(text), d);
  const v = text === "inf" ? Number.POSITIVE_INFINITY : text === "nan" ? Number.NaN : Number(text);
  return sc.const(negative ? -v : v, d);
}

function parsePrimary(r: Reader, sc: Scalars, scope: Scope): Expr {
  const at = r.next();
  if (at.text === "(") {
    const e = parseExpr(r, sc, scope);
    r.expect(")");
    return e;
  }
  if (at.text === "-") {
    const t = r.peek();
    if (t.kind === "number" || t.text === "inf") return literal(r, sc, r.next().text, true);
    return checked(r, sc, "neg", [parsePrimary(r, sc, scope)], null, at);
  }
  if (at.kind === "number" || at.text === "inf" || at.text === "nan") return literal(r, sc, at.text, false);
  if (at.text === "true" || at.text === "false") return sc.bool(at.text === "true");
  if (at.kind === "value") {
    const s = scope.storage(at.text.slice(1)) ?? r.fail(`unknown value '${at.text}'`, at);
    if (r.is("{")) {
      const [address, offset] = r.list("{", "}", () => parseExpr(r, sc, scope));
      if (address === undefined || offset?.constant == null) return r.fail("expected an address and a constant offset", at);
      return sc.loadAt(s, address, Number(offset.constant), r.accept(":") ? r.number() : 1);
    }
    return sc.load(s, r.list("[", "]", () => parseExpr(r, sc, scope)));
  }
  if (at.kind !== "name") r.fail(`expected an expression, got '${at.text}'`, at);
  if (!r.is("(")) return sc.var(scope.variable(at.text) ?? r.fail(`unknown name '${at.text}'`, at));
  const args = r.list("(", ")", () => parseExpr(r, sc, scope));
  const last = args[args.length - 1];
  if (at.text === "ramp" && args.length === 3) return sc.ramp(args[0] as Expr, args[1] as Expr, Number(last?.constant));
  if (at.text === "broadcast" && args.length === 2) return sc.broadcast(args[0] as Expr, Number(last?.constant));
  if (at.text === "extract" && args.length === 2) return sc.extract(args[0] as Expr, Number(last?.constant));
  if (at.text === "insert" && args.length === 3) return sc.insert(args[0] as Expr, args[1] as Expr, Number(last?.constant));
  const cast = findDType(at.text.startsWith("bitcast.") ? at.text.slice(8) : at.text);
  if (cast !== null) return checked(r, sc, at.text.startsWith("bitcast.") ? "bitcast" : "cast", args, cast, at);
  const op = findScalarOp(at.text) ?? r.fail(`unknown scalar op '${at.text}'`, at);
  return checked(r, sc, op.name, args, null, at);
}
