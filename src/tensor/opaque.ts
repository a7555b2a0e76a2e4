import type { Dim } from "../base/dim.ts";
import type { Expr, Variable } from "../scalar/expr.ts";
import type { Axis, Tensor } from "./ir.ts";

/**
 * A step whose order of work depends on the data, so that no stage says it: sorting, greedy selection. Its body is a
 * program over scalars that runs once for each point of the axes; the points are independent, and threads share them.
 * Passes know what it reads and writes, nothing more. Which ops lower to such steps is listed in `src/graph/opaque.ts`.
 */
export interface Opaque {
  readonly kind: "opaque";
  readonly origin: readonly string[];
  /** Parallel axes. */
  readonly axes: readonly Axis[];
  /** All the tensors that the body reads, locals not included; none of them is written. */
  readonly reads: readonly Tensor[];
  readonly writes: readonly Tensor[];
  /** Memory of one point, undefined at its start. */
  readonly locals: readonly Tensor[];
  /** About how many operations one point takes: whether threads pay is decided by it. */
  readonly work: Dim;
  readonly body: readonly Statement[];
}

/** Runs its body for each value of the variable from `begin`, which is not negative, to below `end`; both are evaluated before. */
interface Repeat {
  readonly kind: "for";
  readonly variable: Variable;
  readonly begin: Expr;
  readonly end: Expr;
  readonly body: readonly Statement[];
}
/** Binds a variable for the statements that follow in the block. */
interface Define {
  readonly kind: "let";
  readonly variable: Variable;
  readonly value: Expr;
}
/** Changes a variable that a `let` bound before. */
interface Change {
  readonly kind: "assign";
  readonly variable: Variable;
  readonly value: Expr;
}
interface Decide {
  readonly kind: "if";
  readonly condition: Expr;
  readonly then: readonly Statement[];
  readonly otherwise: readonly Statement[];
}
/** Writes an element of a result or a local. */
interface Put {
  readonly kind: "write";
  readonly tensor: Tensor;
  readonly index: readonly Expr[];
  readonly value: Expr;
}
export type Statement = Repeat | Define | Change | Decide | Put;

/** The blocks inside a statement. */
function blocksOf(s: Statement): readonly (readonly Statement[])[] {
  switch (s.kind) {
    case "for":
      return [s.body];
    case "if":
      return [s.then, s.otherwise];
    case "let":
    case "assign":
    case "write":
      return [];
    default:
      throw s satisfies never;
  }
}

/** The expressions a statement evaluates itself (not those of nested blocks). */
export function statementExprs(s: Statement): readonly Expr[] {
  switch (s.kind) {
    case "for":
      return [s.begin, s.end];
    case "if":
      return [s.condition];
    case "let":
    case "assign":
      return [s.value];
    case "write":
      return [...s.index, s.value];
    default:
      throw s satisfies never;
  }
}

/** Every statement of a block, those of nested blocks after the one that holds them. */
export function allStatements(b: readonly Statement[]): Statement[] {
  return b.flatMap((s) => [s, ...blocksOf(s).flatMap(allStatements)]);
}
