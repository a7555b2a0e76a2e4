import { type Dim, addDim, dimsEqual } from "../../../base/dim.ts";
import { bool, i64 } from "../../../base/dtype.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../context.ts";
import { type Binding, Operand, Optional, Sequence } from "../operand.ts";
import { either } from "./control.ts";
import { reshaped, slicedAlong } from "./shape.ts";

/**
 * Sequences and optionals are lists of tensors while importing; nothing of them is left in the graph. Where a position is
 * computed by the model, the elements have to be of one type, and are picked by comparing positions, in branches where their sizes differ.
 */

/** The position that an input gives, counted from the start; null when the model computes it. */
function position(c: NodeContext, i: number, count: number, otherwise: number): number | null {
  const at = c.optional(i);
  if (at === null) return otherwise;
  const [known] = at.numbers ?? [];
  if (known === undefined) return null;
  const n = known < 0 ? known + count : known;
  return n >= 0 && n <= count ? n : c.fail(`position ${known} in a sequence of ${count}`);
}

/** The position as an i64 scalar that is not negative. */
function fromStart(c: NodeContext, i: number, count: number): Value {
  const at = c.g.reshape(c.g.convert(c.value(i), i64), []);
  return c.g.one("select", [c.withScalar("lt", at, 0), c.withScalar("add", at, count), at]);
}

function at(c: NodeContext): Operand {
  const { elements } = c.sequence(0);
  const k = position(c, 1, elements.length, 0);
  if (k !== null) return elements[k] ?? c.fail(`position ${k} in a sequence of ${elements.length}`);
  const where = fromStart(c, 1, elements.length);
  const [first, ...rest] = elements;
  if (first === undefined) return c.fail("an element of an empty sequence");
  if (rest.some((e) => e.dtype !== first.dtype || !dimsEqual(e.dims, first.dims)))
    return rest.reduce((chosen, e, i) => oneOf(c, c.withScalar("eq", where, i + 1), e, chosen), first);
  const rows = elements.map((e) => c.g.reshape(e.value, [1, ...first.dims]));
  const whole = rows.length === 1 ? (rows[0] as Value) : c.g.one("concat", rows, { axis: 0 });
  return c.of(c.g.reshape(c.g.one("gather", [whole, c.g.reshape(where, [1])], { axes: [0], at: 0 }), first.dims));
}

function insert(c: NodeContext): Sequence {
  const { elements } = c.sequence(0);
  const [tensor, n] = [c.input(1), elements.length];
  const k = position(c, 2, n, n);
  if (k !== null) return new Sequence(elements.toSpliced(k, 0, tensor));
  const where = fromStart(c, 2, n);
  // Before the position the old ones, at it the new one, after it the old ones again.
  const element = (i: number): Operand => {
    const [old, before] = [elements[i], elements[i - 1]];
    const first = old === undefined ? tensor : oneOf(c, c.withScalar("gt", where, i), old, tensor);
    return before === undefined ? first : oneOf(c, c.withScalar("lt", where, i), before, first);
  };
  return new Sequence(Array.from({ length: n + 1 }, (_, i) => element(i)));
}

/** One of two tensors, whose sizes may differ, as a bool[] says. */
function oneOf(c: NodeContext, where: Value, a: Operand, b: Operand): Operand {
  if (a.dtype === b.dtype && dimsEqual(a.dims, b.dims)) return c.of(c.g.one("select", [c.g.broadcast(where, a.dims, []), a.value, b.value]));
  const [made] = either(
    c,
    where,
    () => [a],
    () => [b],
  );
  return made instanceof Operand ? made : c.fail("a sequence holds something that is no tensor");
}

function erase(c: NodeContext): Sequence {
  const { elements } = c.sequence(0);
  const n = elements.length;
  if (n === 0) return c.fail("there is nothing to erase in an empty sequence");
  const k = position(c, 1, n, n - 1);
  if (k !== null) return new Sequence(elements.toSpliced(k, 1));
  const where = fromStart(c, 1, n);
  const kept = elements.slice(0, -1).map((old, i) => oneOf(c, c.withScalar("gt", where, i), old, elements[i + 1] as Operand));
  return new Sequence(kept);
}

/** Pieces of given sizes, of one size (the last may be smaller), or of size 1 without the axis. */
function splitToSequence(c: NodeContext): Sequence {
  const x = c.input(0);
  const axis = c.axis(c.int("axis", 0), x.rank);
  const n = x.dims[axis] as Dim;
  const sizes = c.optional(1);
  const list = sizes === null ? null : sizes.rank === 0 ? evenly(c, n, sizes) : (sizes.known ?? sizesFromData(c, sizes, n));
  const pieces = list ?? Array.from({ length: countOf(c, n) }, () => 1);
  let from: Dim = 0;
  const parts = pieces.map((size) => {
    const part = slicedAlong(c, x, axis, from, size);
    from = addDim(from, size);
    return sizes === null && c.int("keepdims", 1) === 0 ? reshaped(c, part, x.dims.toSpliced(axis, 1)) : part;
  });
  c.sameDim(from, n, "sum of the pieces");
  return new Sequence(parts);
}

/** Sizes that the model computes: as many as the list has entries. */
function sizesFromData(c: NodeContext, sizes: Operand, n: Dim): Dim[] {
  const count = countOf(c, sizes.dims[0] as Dim);
  return Array.from({ length: count }, (_, i) => c.g.bindSize(reshaped(c, slicedAlong(c, sizes, 0, i, 1), []).value, "piece", 0, n));
}

function countOf(c: NodeContext, n: Dim): number {
  return typeof n === "number" ? n : c.unsupported(`a sequence of ${n} pieces: their number has to be known`);
}

function evenly(c: NodeContext, n: Dim, size: Operand): number[] {
  const [piece] = size.numbers ?? c.unsupported("pieces whose size is computed by the model: their number has to be known");
  if (piece === undefined || piece < 1) return c.fail(`pieces of size ${piece}`);
  const total = countOf(c, n);
  return Array.from({ length: Math.ceil(total / piece) }, (_, i) => Math.min(piece, total - i * piece));
}

function concatFromSequence(c: NodeContext): Operand {
  const { elements } = c.sequence(0);
  const [first] = elements;
  if (first === undefined) return c.fail("an empty sequence has nothing to join");
  const fresh = c.int("new_axis", 0) === 1;
  const axis = c.axis(c.int("axis", 0), first.rank + (fresh ? 1 : 0));
  const parts = elements.map((e) => (fresh ? reshaped(c, e, e.dims.toSpliced(axis, 0, 1)).value : e.value));
  return c.of(parts.length === 1 ? (parts[0] as Value) : c.g.one("concat", parts, { axis }));
}

/** The body, once for each position of the first sequence; sequences give their elements, tensors are given whole. */
function sequenceMap(c: NodeContext): Binding[] {
  const body = c.graph("body");
  const n = c.sequence(0).elements.length;
  const inputs = c.inputs.map((_, i) => c.binding(i));
  const outputs: Operand[][] = body.outputs.map(() => []);
  for (let k = 0; k < n; k++) {
    const given = inputs.map((b) => (b instanceof Sequence ? (b.elements[k] ?? c.fail(`sequences of ${n} and ${b.elements.length}`)) : b));
    c.inlineGraph(body, given).forEach((r, i) => outputs[i]?.push(r instanceof Operand ? r : c.fail("its body gives something that is no tensor")));
  }
  return outputs.map((o) => new Sequence(o));
}

function optional(c: NodeContext): Optional {
  const [given] = c.inputs;
  if (given === undefined || given === null) return new Optional(null);
  return given instanceof Optional ? given : new Optional(given);
}

function hasElement(c: NodeContext): Operand {
  const [given] = c.inputs;
  const has = given !== undefined && given !== null && !(given instanceof Optional && given.content === null);
  return c.knownOf(bool, [], [has ? 1 : 0]);
}

function getElement(c: NodeContext): Binding {
  const b = c.binding(0);
  if (!(b instanceof Optional)) return b;
  return b.content ?? c.fail("the optional holds nothing; ask OptionalHasElement before");
}

export const sequenceOps: OpTable = {
  SequenceEmpty: { since: 11, map: () => new Sequence([]) },
  SequenceConstruct: { since: 11, map: (c) => new Sequence(c.all()) },
  SequenceLength: { since: 11, map: (c) => c.knownOf(i64, [], [c.sequence(0).elements.length]) },
  SequenceAt: { since: 11, map: at },
  SequenceInsert: { since: 11, map: insert },
  SequenceErase: { since: 11, map: erase },
  SplitToSequence: { since: 11, map: splitToSequence },
  ConcatFromSequence: { since: 11, map: concatFromSequence },
  SequenceMap: { since: 17, map: sequenceMap },
  Optional: { since: 15, map: optional },
  OptionalHasElement: { since: 15, map: hasElement },
  OptionalGetElement: { since: 15, map: getElement },
};
