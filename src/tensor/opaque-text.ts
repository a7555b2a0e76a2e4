import type { Printer, Reader } from "../base/text.ts";
import { i32 } from "../base/dtype.ts";
import type { Expr, Variable } from "../scalar/expr.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { type NameTable, parseExpr, printExpr } from "../scalar/text.ts";
import type { Tensor } from "./ir.ts";
import type { Statement } from "./opaque.ts";

/** Prints the statements of an opaque step; `parseStatements` reads them back. */
export function printStatements(p: Printer, b: readonly Statement[], table: NameTable): void {
  const names = { variable: table.variable, storage: (t: { readonly name: string }) => t.name };
  const text = (e: Expr): string => printExpr(e, names);
  const block = (head: string, body: readonly Statement[], about?: Statement): void => p.block(head, () => printStatements(p, body, table), about);
  for (const s of b) {
    switch (s.kind) {
      case "for": {
        const range = `[${text(s.begin)}, ${text(s.end)})`;
        block(`for ${table.declare(s.variable)} in ${range}`, s.body, s);
        break;
      }
      case "let": {
        const value = text(s.value);
        p.line(`let ${table.declare(s.variable)} = ${value}`, s);
        break;
      }
      case "assign":
        p.line(`assign ${table.variable(s.variable)} = ${text(s.value)}`, s);
        break;
      case "if":
        block(`if ${text(s.condition)}`, s.then, s);
        if (s.otherwise.length > 0) block("else", s.otherwise);
        break;
      case "write":
        p.line(`%${s.tensor.name}[${s.index.map(text).join(", ")}] = ${text(s.value)}`, s);
        break;
      default:
        throw s satisfies never;
    }
  }
}

/** What the statements of a text may name. */
export interface StatementScope {
  readonly variables: Map<string, Variable>;
  readonly symbol: (name: string) => Variable | null;
  readonly tensor: (name: string) => Tensor | null;
}

/** Reads statements up to the brace that ends their block. @throws UserError `syntax`, with the place */
export function parseStatements(r: Reader, sc: Scalars, scope: StatementScope): Statement[] {
  return new StatementParser(r, sc, scope).block();
}

class StatementParser {
  private readonly r: Reader;
  private readonly sc: Scalars;
  private readonly scope: StatementScope;
  constructor(r: Reader, sc: Scalars, scope: StatementScope) {
    this.r = r;
    this.sc = sc;
    this.scope = scope;
  }

  block(): Statement[] {
    const out: Statement[] = [];
    while (!this.r.accept("}")) out.push(this.r.nested(() => this.statement()));
    return out;
  }
  private inBraces(): Statement[] {
    this.r.expect("{");
    return this.block();
  }

  private expr(): Expr {
    const { variables, symbol, tensor } = this.scope;
    return parseExpr(this.r, this.sc, { variable: (n) => variables.get(n) ?? symbol(n), storage: tensor });
  }
  private declare(name: string, make: () => Variable): Variable {
    const { r, scope } = this;
    if (scope.variables.has(name) || scope.symbol(name) !== null) r.fail(`'${name}' already has a meaning here`);
    const v = make();
    scope.variables.set(name, v);
    return v;
  }

  private statement(): Statement {
    const { r, sc } = this;
    if (r.accept("for")) {
      const name = r.name();
      r.expect("in");
      r.expect("[");
      const begin = this.expr();
      r.expect(",");
      const end = this.expr();
      r.expect(")");
      const variable = this.declare(name, () => sc.variable(name, i32, { min: 0 }));
      return { kind: "for", variable, begin, end, body: this.inBraces() };
    }
    if (r.accept("let")) {
      const name = r.name();
      r.expect("=");
      const value = this.expr();
      return { kind: "let", variable: this.declare(name, () => sc.variable(name, value.dtype)), value };
    }
    if (r.accept("assign")) {
      const at = r.peek();
      const variable = this.scope.variables.get(r.name()) ?? r.fail(`unknown name '${at.text}'`, at);
      r.expect("=");
      return { kind: "assign", variable, value: this.expr() };
    }
    if (r.accept("if")) {
      const condition = this.expr();
      const then = this.inBraces();
      return { kind: "if", condition, then, otherwise: r.accept("else") ? this.inBraces() : [] };
    }
    const at = r.peek();
    if (at.kind !== "value") r.fail(`expected 'for', 'let', 'assign', 'if' or a write to a tensor, got '${at.text}'`);
    const tensor = this.scope.tensor(r.value()) ?? r.fail(`unknown tensor '${at.text}'`, at);
    const index = r.list("[", "]", () => this.expr());
    r.expect("=");
    return { kind: "write", tensor, index, value: this.expr() };
  }
}
