import { bool, i32, u32 } from "../../../../base/dtype.ts";
import type { Value } from "../../../../graph/ir.ts";
import type { Mapped, NodeContext, OpTable } from "../../context.ts";
import type { Operand } from "../../operand.ts";
import type { AttributeProto } from "../../proto.ts";
import { Formula } from "../formula.ts";
import { range, trilu } from "../generators.ts";
import { gridSample } from "../grid.ts";
import { gatherNd } from "../indexing.ts";
import { pad } from "../padding.ts";
import { maxPool } from "../pooling.ts";
import { centred, integerProduct } from "../quantization.ts";
import { unique } from "../sorting.ts";
import { reshaped } from "../shape.ts";
import { biased } from "./activation.ts";
import { inLayout } from "./layout.ts";

/** An integer attribute that a node of another op would have. */
function integer(name: string, value: number): AttributeProto {
  const none = { refName: "", f: 0, s: new Uint8Array(), t: null, g: null, floats: [], ints: [], strings: [] };
  return { ...none, name, type: 2, i: BigInt(value) };
}

/** x with a dimension of 1 more. */
function expandDims(c: NodeContext): Operand {
  const x = c.input(0);
  const [given] = c.knownNumbers(1, "'axis'");
  const axis = c.axis(given ?? c.fail("'axis' is empty"), x.rank + 1);
  return reshaped(c, x, x.dims.toSpliced(axis, 0, 1));
}

/** Values by their first occurrence, the place of each element's among them, and how often they occur. */
function uniqueByOccurrence(c: NodeContext): Mapped {
  if (c.input(0).rank !== 1) return c.fail(`rank ${c.input(0).rank}, expected 1`);
  const all = unique(c.readAs(11, c.inputs, [integer("sorted", 0)]));
  const [values, , inverse, counts] = all as readonly Operand[];
  return [values ?? null, inverse ?? null, counts ?? null];
}

/** From a start to a limit, in steps of 1 if none are given. */
function rangeOf(c: NodeContext): Mapped {
  const step = c.optional(2) ?? c.knownOf(c.input(0).dtype, [], [1]);
  const scalar = (o: Operand): Operand => (o.rank === 1 ? reshaped(c, o, []) : o);
  return range(c.readAs(11, [c.input(0), c.input(1), step].map(scalar)));
}

/** x + bias (+ residual): nothing is dropped when a model runs. */
function biasDropout(c: NodeContext): readonly (Operand | null)[] {
  const training = c.optional(4);
  if (training !== null && !(training.numbers?.every((v) => v === 0) ?? false)) return c.unsupported("training_mode");
  const sum = biased(c, biased(c, c.value(0), c.input(1)), c.optional(2));
  return [c.of(sum), c.wants(1) ? c.of(c.g.splat(bool, sum.dims, 1)) : null];
}

/** Is there no infinity, and nothing that is no number, in any of the inputs? */
function isAllFinite(c: NodeContext): Operand {
  const f = new Formula(c.g);
  const [onlyInfinite, onlyNaN] = [c.int("isinf_only", 0) !== 0, c.int("isnan_only", 0) !== 0];
  if (onlyInfinite && onlyNaN) return c.fail("both isinf_only and isnan_only");
  const fine = (x: Value): Value => {
    if (onlyNaN) return f.op("eq", x, x);
    const infinite = f.op("eq", f.op("abs", x), Number.POSITIVE_INFINITY);
    const finite = f.op("not", infinite);
    return onlyInfinite ? finite : f.and(finite, f.op("eq", x, x));
  };
  const parts = c.all().map(({ value }) => c.g.one("reduce", [fine(value)], { monoid: "and", axes: value.dims.map((_, i) => i) }));
  return c.of(parts.reduce((a, b) => f.and(a, b)));
}

/** Products of integers less their zero points. */
function mulInteger(c: NodeContext): Operand {
  const integers = (i: number): Value => {
    const [x, zero] = [c.value(i), c.optional(i + 1)];
    return centred(c, x, zero === null ? null : c.stretch(zero.value, x.dims));
  };
  const [a, b] = c.together(integers(0), integers(2)) as [Value, Value];
  return c.of(c.g.one("mul", [a, b]));
}

function reduceSumInteger(c: NodeContext): Operand {
  const x = c.value(0);
  const axes = c.normalAxes(c.ints("axes") ?? x.dims.map((_, i) => i), x.dims.length);
  const sum = c.g.one("reduce", [c.g.convert(x, x.dtype.kind === "uint" ? u32 : i32)], { monoid: "add", axes });
  if (c.int("keepdims", 1) === 0) return c.of(sum);
  return c.of(
    c.g.reshape(
      sum,
      x.dims.map((d, i) => (axes.includes(i) ? 1 : d)),
    ),
  );
}

/** The largest of windows, channels last. */
function nhwcMaxPool(c: NodeContext): Operand {
  return c.of(inLayout(c, true, c.value(0), (x) => (maxPool(c.readAs(12, [c.of(x)]))[0] as Operand).value));
}

export const tensorOps: OpTable = {
  Trilu: { since: 1, map: (c) => trilu(c.readAs(14)) },
  ExpandDims: { since: 1, map: expandDims },
  GridSample: { since: 1, map: (c) => gridSample(c.readAs(20)) },
  GatherND: { since: 1, map: (c) => gatherNd(c.readAs(11)) },
  Pad: { since: 1, map: (c) => pad(c.readAs(13)) },
  Unique: { since: 1, map: uniqueByOccurrence },
  Range: { since: 1, map: rangeOf },
  BiasDropout: { since: 1, map: biasDropout },
  IsAllFinite: { since: 1, map: isAllFinite },
  MulInteger: { since: 1, map: mulInteger },
  MatMulInteger16: { since: 1, map: (c) => c.of(integerProduct(c, c.input(0), null, c.input(1), null)) },
  ReduceSumInteger: { since: 1, map: reduceSumInteger },
  NhwcMaxPool: { since: 1, map: nhwcMaxPool },
};
