import { type Dim, divideExactly } from "../../../../base/dim.ts";
import { i32 } from "../../../../base/dtype.ts";
import type { Value } from "../../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../../context.ts";
import type { Operand } from "../../operand.ts";
import { type Heads, headsOf, rowsOf } from "../attention.ts";
import { turnedPairs } from "../decoder.ts";
import { Formula } from "../formula.ts";

/** Cosines and sines for each position of a sequence that can be: [positions, pairs of features]. */
export interface Angles {
  readonly cos: Value;
  readonly sin: Value;
}

/** Heads with their features turned by the angles of positions, [batch, rows]. Features that have no angle stay. */
export function turnedHeads(c: NodeContext, x: Heads, at: Value, angles: Angles, near: boolean): Heads {
  const { dims, dtype } = x.value;
  const tables = [angles.cos, angles.sin].map((table) => {
    if (table.dims.length !== 2) return c.fail(`a table of angles [${table.dims.join(", ")}], expected [positions, pairs]`);
    const half = table.dims[1] as Dim;
    if (typeof half !== "number" || 2 * half > Number(dims[3])) return c.fail(`${half} angles for heads of ${dims[3]} features`);
    const rows = c.g.one("gather", [c.g.convert(table, dtype), at], { axes: [0], at: 0 });
    return c.g.broadcast(rows, dims.with(3, half), [0, x.row, 3]);
  }) as [Value, Value];
  return { ...x, value: turnedPairs(c, x.value, tables, near) };
}

/** Positions of rows, [batch, rows]: given for each, or by the first one. */
function positionsOf(c: NodeContext, given: Value, x: Heads): Value {
  const dims: readonly Dim[] = [x.value.dims[0] as Dim, rowsOf(x)];
  const v = c.g.convert(given, i32);
  if (v.dims.length === 2) return c.stretch(v, dims);
  const step = c.g.one("iota", [], { dtype: i32, dims, axis: 1 });
  return new Formula(c.g).add(step, c.g.broadcast(c.g.reshape(v, []), dims, []));
}

/** [batch, heads, rows, features], or [batch, rows, heads · features], of which the node or its tables say how many there are. */
function headsFor(c: NodeContext, x: Value, half: Dim): Heads {
  if (x.dims.length === 4) return { value: x, head: 1, row: 2 };
  if (x.dims.length !== 3) return c.fail(`rank ${x.dims.length}, expected 3 or 4`);
  const [batch, rows, hidden] = x.dims as [Dim, Dim, Dim];
  const count = c.int("num_heads", 0);
  const each = count > 0 ? divideExactly(hidden, count) : Number(half) * 2;
  const heads = each === null || Number(each) < 1 ? null : divideExactly(hidden, Number(each));
  if (each === null || heads === null) return c.fail(`num_heads ${count}, expected a divisor of the ${hidden} features`);
  return { value: c.g.reshape(x, [batch, rows, heads, each]), head: 2, row: 1 };
}

/** Pairs of features turned by angles that grow with the position (Su et al., RoFormer, 2021). */
function rotaryEmbedding(c: NodeContext): Operand {
  if (c.int("is_packed_batching", 0) !== 0) return c.unsupported("is_packed_batching");
  const [x, angles] = [c.value(0), { cos: c.value(2), sin: c.value(3) }];
  const half = angles.cos.dims[1] ?? 0;
  const rotary = c.int("rotary_embedding_dim", 0);
  if (rotary > 0 && rotary !== 2 * Number(half)) return c.fail(`rotary_embedding_dim ${rotary}, but ${half} angles, each for two features`);
  const h = headsFor(c, x, half);
  if (headsOf(h) === 0) return c.of(x);
  const y = turnedHeads(c, h, positionsOf(c, c.value(1), h), angles, c.int("interleaved", 0) === 1);
  return c.of(c.g.reshape(y.value, x.dims));
}

export const rotaryOps: OpTable = { RotaryEmbedding: { since: 1, map: rotaryEmbedding } };
