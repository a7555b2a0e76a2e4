import { type Dim, dimEquals } from "../../../../base/dim.ts";
import { f32, f64, i64 } from "../../../../base/dtype.ts";
import type { Value } from "../../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../../context.ts";
import type { Operand } from "../../operand.ts";
import { Formula } from "../formula.ts";
import { reduced, spread } from "../reduction.ts";
import { floats, vector } from "./common.ts";

/** X in a float dtype: f64 stays, all else becomes f32. */
function floatInput(c: NodeContext): Value {
  const x = c.input(0);
  return c.g.convert(x.value, x.dtype === f64 ? f64 : f32);
}

/** Numbers for each feature, the last dimension of x, or one for all. */
function perFeature(c: NodeContext, x: Value, elements: readonly (number | bigint)[], name: string): Value {
  const n = x.dims.at(-1) ?? 1;
  if (elements.length === 1) return c.g.broadcast(c.g.reshape(vector(c, x.dtype, elements, name), []), x.dims, []);
  if (!dimEquals(n, elements.length)) return c.fail(`${elements.length} entries in '${name}', expected 1 or ${n}, one for each feature`);
  return c.g.broadcast(vector(c, x.dtype, elements, name), x.dims, [x.dims.length - 1]);
}

function scaler(c: NodeContext): Operand {
  const f = new Formula(c.g);
  const x = floatInput(c);
  const [offset, scale] = [floats(c, "offset"), floats(c, "scale")];
  const moved = offset.length === 0 ? x : f.sub(x, perFeature(c, x, offset, "offset"));
  return c.of(c.g.convert(scale.length === 0 ? moved : f.mul(moved, perFeature(c, moved, scale, "scale")), f32));
}

/** Each row divided by its norm; a row whose norm is 0 stays as it is. */
function normalizer(c: NodeContext): Operand {
  const f = new Formula(c.g);
  const x = floatInput(c);
  const axis = x.dims.length - 1;
  if (axis < 0 || axis > 1) return c.fail(`rank ${x.dims.length}, expected [features] or [rows, features]`);
  const by = (): Value => {
    const norm = c.text("norm", "MAX");
    switch (norm) {
      case "MAX":
        return reduced(c, x, "max", [axis]);
      case "L1":
        return reduced(c, f.op("abs", x), "add", [axis]);
      case "L2":
        return f.op("sqrt", reduced(c, f.mul(x, x), "add", [axis]));
      default:
        return c.fail(`norm '${norm}', expected MAX, L1 or L2`);
    }
  };
  const norm = by();
  const divisor = f.select(f.op("eq", norm, 0), 1, norm);
  return c.of(c.g.convert(f.div(x, spread(c, divisor, x.dims, [axis])), f32));
}

function binarizer(c: NodeContext): Operand {
  const x = c.input(0);
  // Integers are compared as floats: the threshold need not be one of theirs.
  const above = c.withScalar("gt", x.dtype.isFloat ? x.value : c.g.convert(x.value, f64), c.float("threshold", 0));
  return c.of(c.g.convert(above, x.dtype));
}

/** What is to be replaced, NaN among it, becomes the number of its feature. */
function imputer(c: NodeContext): Operand {
  const f = new Formula(c.g);
  const x = c.value(0);
  if (x.dtype.isFloat) {
    const values = floats(c, "imputed_value_floats");
    if (values.length === 0) return c.fail("'imputed_value_floats' is missing");
    const replaced = c.float("replaced_value_float", 0);
    const isMissing = Number.isNaN(replaced) ? f.op("ne", x, x) : f.op("eq", x, replaced);
    return c.of(f.select(isMissing, perFeature(c, x, values, "imputed_value_floats"), x));
  }
  const values = c.attribute("imputed_value_int64s")?.ints ?? [];
  if (values.length === 0) return c.fail("'imputed_value_int64s' is missing");
  const replaced = c.attribute("replaced_value_int64")?.i ?? 0n;
  const wanted = c.g.splat(x.dtype, x.dims, x.dtype === i64 ? replaced : Number(replaced));
  return c.of(f.select(f.op("eq", x, wanted), perFeature(c, x, values, "imputed_value_int64s"), x));
}

/** The columns that Y names. */
function arrayFeatureExtractor(c: NodeContext): Operand {
  const x = c.value(0);
  const rank = x.dims.length;
  if (rank === 0) return c.fail("X has no dimensions");
  const y = c.input(1);
  const count = y.dims.reduce<Dim>(
    (n, d) => (n === 1 ? d : d === 1 ? n : c.fail(`Y is ${y.dtype}[${y.dims.join(", ")}], expected one dimension`)),
    1,
  );
  for (const at of y.numbers ?? []) {
    const n = x.dims[rank - 1];
    if (at < 0 || (typeof n === "number" && at >= n)) c.fail(`column ${at} of ${n}`);
  }
  const z = c.g.one("gather", [x, c.g.reshape(y.value, [count])], { axes: [rank - 1], at: rank - 1 });
  return c.of(rank === 1 ? c.g.reshape(z, [1, count]) : z);
}

/** All inputs side by side, each cut or filled up with zeros to the size that the node says. */
function featureVectorizer(c: NodeContext): Operand {
  const sizes = c.ints("inputdimensions");
  const parts = c.all().map((x, i) => {
    if (x.rank < 1 || x.rank > 2) return c.fail(`input ${i} has ${x.rank} dimensions, expected [features] or [rows, features]`);
    const rows = x.rank === 1 ? 1 : (x.dims[0] as Dim);
    const n = x.dims[x.rank - 1] as Dim;
    const v = c.g.reshape(c.g.convert(x.value, f32), [rows, n]);
    const wanted = sizes?.[i] ?? n;
    if (dimEquals(wanted, n)) return v;
    if (typeof wanted !== "number" || typeof n !== "number") return c.unsupported(`input ${i} has ${n} features: give it a shape`);
    if (wanted < n) return c.g.one("slice", [v], { start: [0, 0], stride: [1, 1], dims: [rows, wanted] });
    return c.g.one("pad", [v, c.g.scalar(f32, 0)], { low: [0, 0], high: [0, wanted - n] });
  });
  const [first, ...rest] = parts;
  if (first === undefined) return c.fail("there are no inputs");
  return c.of(rest.length === 0 ? first : c.g.one("concat", parts, { axis: 1 }));
}

export const scalingOps: OpTable = {
  Scaler: { since: 1, map: scaler },
  Normalizer: { since: 1, map: normalizer },
  Binarizer: { since: 1, map: binarizer },
  Imputer: { since: 1, map: imputer },
  ArrayFeatureExtractor: { since: 1, map: arrayFeatureExtractor },
  FeatureVectorizer: { since: 1, map: featureVectorizer },
};
