import { type DType, f32, f64, i32, i64 } from "../../../../base/dtype.ts";
import type { Num } from "../../../../base/numeric.ts";
import { type HostTensor, hostFrom, hostFromBytes } from "../../../../graph/host.ts";
import type { Value } from "../../../../graph/ir.ts";
import type { NodeContext, OpMapping, OpTable } from "../../context.ts";
import { type Label, type Operand, mapsOperand } from "../../operand.ts";
import { Formula } from "../formula.ts";

/** Keys or values of a LabelEncoder, whichever attribute has them. */
function listOf(c: NodeContext, which: "keys" | "values"): HostTensor {
  if ((c.attribute(`${which}_strings`)?.strings.length ?? 0) > 0) return c.unsupported(`'${which}_strings': strings are not supported`);
  const ints = c.attribute(`${which}_int64s`)?.ints ?? [];
  if (ints.length > 0) return hostFrom(i64, [ints.length], (i) => ints[i] ?? 0n);
  const numbers = c.attribute(`${which}_floats`)?.floats ?? [];
  if (numbers.length > 0) return hostFrom(f32, [numbers.length], (i) => numbers[i] ?? 0);
  const t = c.tensor(`${which}_tensor`);
  if (t === null) return c.version === 1 ? c.unsupported("strings are not supported") : c.fail(`there are no ${which}`);
  return hostFromBytes(t.dtype, t.dims, t.data.read(0, t.data.byteLength));
}

/** What comes out for something that is no key. */
function otherwise(c: NodeContext, d: DType): Num {
  const t = c.tensor("default_tensor");
  if (t !== null) {
    if (t.dtype !== d) return c.fail(`default_tensor is ${t.dtype}, and the values are ${d}`);
    return (hostFromBytes(t.dtype, t.dims, t.data.read(0, t.data.byteLength)).data[0] as Num | undefined) ?? c.fail("default_tensor is empty");
  }
  if (d.isFloat) return c.float("default_float", -0);
  const v = c.attribute("default_int64")?.i ?? -1n;
  return d === i64 ? v : Number(v);
}

/** Up to so many keys are compared one by one, which runs in vectors; more are searched. */
const fewKeys = 24;

function labelEncoder(c: NodeContext): Operand {
  const f = new Formula(c.g);
  const x = c.input(0);
  const [keys, values] = [listOf(c, "keys"), listOf(c, "values")];
  const n = keys.data.length;
  if (values.data.length !== n) return c.fail(`${n} keys for ${values.data.length} values`);
  if (keys.dtype !== x.dtype) return c.fail(`keys of ${keys.dtype} for an input of ${x.dtype}`);
  // Of equal keys the first one counts.
  const map = new Map<Num, Num>();
  for (let i = 0; i < n; i++) {
    const key = keys.data[i] === 0 ? 0 : (keys.data[i] as Num);
    if (!map.has(key)) map.set(key, values.data[i] as Num);
  }
  // From version 4 on, a NaN is found like another key.
  const ofNaN = c.version < 4 ? undefined : map.get(Number.NaN);
  map.delete(Number.NaN);
  const d = values.dtype;
  const rest = c.g.splat(d, x.dims, otherwise(c, d));
  const found = map.size <= fewKeys ? compared(c, x.value, map, rest) : searched(c, x.value, map, d, rest);
  return c.of(ofNaN === undefined ? found : f.select(f.op("ne", x.value, x.value), c.g.splat(d, x.dims, ofNaN), found));
}

function compared(c: NodeContext, x: Value, map: ReadonlyMap<Num, Num>, rest: Value): Value {
  return [...map].reduce((out, [key, value]) => {
    const is = c.g.one("eq", [x, c.g.splat(x.dtype, x.dims, key)]);
    return c.g.one("select", [is, c.g.splat(out.dtype, x.dims, value), out]);
  }, rest);
}

/** A binary search among the sorted keys, in as many steps as there may be. */
function searched(c: NodeContext, x: Value, map: ReadonlyMap<Num, Num>, d: DType, rest: Value): Value {
  const f = new Formula(c.g);
  const sorted = [...map].sort(([a], [b]) => (a < b ? -1 : 1));
  const n = sorted.length;
  const table = (of: DType, k: 0 | 1, name: string): Value =>
    c.g.host(
      hostFrom(of, [n], (i) => sorted[i]?.[k] ?? 0),
      name,
    );
  const [keys, values] = [table(x.dtype, 0, "keys"), table(d, 1, "values")];
  const pick = (from: Value, at: Value): Value => c.g.one("gather", [from, at], { axes: [0], at: 0 });
  // The last place whose key is not above x, or the first one.
  let at = c.g.splat(i32, x.dims, 0);
  for (let step = 2 ** Math.floor(Math.log2(n)); step >= 1; step /= 2) {
    const next = f.min(f.add(at, step), n - 1);
    at = f.select(f.op("le", pick(keys, next), x), next, at);
  }
  return f.select(f.op("eq", pick(keys, at), x), pick(values, at), rest);
}

/** A column for each category, 1 where the element is it. */
function oneHotEncoder(c: NodeContext): Operand {
  const x = c.input(0);
  const categories = c.attribute("cats_int64s")?.ints ?? [];
  if (categories.length === 0) return c.unsupported("categories that are strings");
  if (c.int("zeros", 1) === 0) return c.unsupported("zeros = 0, an error for what is no category: set it to 1");
  const dims = [...x.dims, categories.length];
  // Numbers with a fraction are cut to the integers that categories are.
  const whole = c.g.convert(x.dtype === f64 || x.dtype === f32 ? c.g.one("trunc", [x.value]) : x.value, i64);
  const elements = c.g.broadcast(
    whole,
    dims,
    x.dims.map((_, i) => i),
  );
  const wanted = c.g.host(
    hostFrom(i64, [categories.length], (i) => categories[i] ?? 0n),
    "categories",
  );
  return c.of(c.g.convert(c.g.one("eq", [elements, c.g.broadcast(wanted, dims, [x.rank])]), f32));
}

/** The keys of the maps: integers beyond what a JavaScript number holds exactly stay texts, as names are. */
function labelsOf(c: NodeContext): readonly Label[] {
  const integers = c.attribute("classlabels_int64s")?.ints ?? [];
  if (integers.length > 0) return integers.map((v) => (Number.isSafeInteger(Number(v)) ? Number(v) : String(v)));
  return (c.attribute("classlabels_strings")?.strings ?? []).map((s) => new TextDecoder().decode(s));
}

/** A list of maps from labels to probabilities: as data they stay the tensor that they are made of, a row for each map. */
function zipMap(c: NodeContext): Operand {
  const x = c.input(0);
  const labels = labelsOf(c);
  const n = labels.length;
  if (n === 0) return c.fail("there are no class labels");
  if (new Set(labels).size < n) return c.fail(`the class labels [${labels.join(", ")}] name one twice`);
  const columns = x.dims.at(-1);
  if (columns === undefined || x.rank > 2) return c.fail(`X is [${x.dims.join(", ")}], expected [${n}] or [rows, ${n}]`);
  const dims = x.dims.with(-1, c.sameDim(columns, n, `columns of X for ${n} class labels`));
  return mapsOperand(c.of(c.sizes.refine(x.value, dims)), labels);
}

const unsupported = (what: string): OpMapping => ({ since: 1, map: (c) => c.unsupported(what) });

export const labelOps: OpTable = {
  LabelEncoder: { since: 1, map: labelEncoder },
  OneHotEncoder: { since: 1, map: oneHotEncoder },
  ZipMap: { since: 1, map: zipMap },
};
/** Ops that are known, to say why they are refused. */
export const refused: OpTable = {
  CategoryMapper: unsupported("it maps strings, which are not supported"),
  DictVectorizer: unsupported("its input is a map, which is not supported: give the values as a tensor"),
  CastMap: unsupported("its input is a map, which is not supported: give the values as a tensor"),
};
