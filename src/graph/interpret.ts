import { type Dim, dimSymbols, evaluateDim, substituteDim } from "../base/dim.ts";
import { InternalError, UserError } from "../base/errors.ts";
import { GraphBuilder, inferTypes } from "./builder.ts";
import type { HostTensor } from "./host.ts";
import type { GraphFunction, Op, Region, Value } from "./ir.ts";
import type { AnyAttrs } from "./op.ts";

/** Values of the symbols, found by matching inputs' sizes against the parameters' dims. @throws UserError `shape` */
export function bindSymbols(
  params: readonly { readonly name: string; readonly dims: readonly Dim[] }[],
  dims: readonly (readonly number[])[],
): Map<string, number> {
  const env = new Map<string, number>();
  params.forEach((p, k) => {
    const got = dims[k] as readonly number[];
    if (got.length !== p.dims.length)
      throw new UserError("shape", `input '${p.name}': expected rank ${p.dims.length} [${p.dims.join(", ")}], got [${got.join(", ")}]`);
    p.dims.forEach((d, i) => {
      const [term] = typeof d === "number" ? [] : d.terms;
      const [atom] = term?.atoms ?? [];
      if (
        typeof d !== "number" &&
        d.terms.length === 1 &&
        term?.coef === 1 &&
        term.atoms.length === 1 &&
        atom?.kind === "symbol" &&
        !env.has(atom.name)
      )
        env.set(atom.name, got[i] as number);
    });
  });
  params.forEach((p, k) => {
    p.dims.forEach((d, i) => {
      const expected = evaluateDim(d, env);
      if (expected !== dims[k]?.[i])
        throw new UserError("shape", `input '${p.name}': dimension ${i} (${d}) must be ${expected}, got ${dims[k]?.[i]}`);
    });
  });
  return env;
}

/**
 * The reference: runs a graph op by op with each op's own `evaluate`, independent of all lowering. Composites run through
 * their decomposition. `observe` sees every value.
 */
export function interpretGraph(f: GraphFunction, inputs: readonly HostTensor[], observe: (v: Value, t: HostTensor) => void = () => {}): HostTensor[] {
  const symbols = bindSymbols(
    f.params,
    inputs.map((t) => t.dims),
  );
  const env = new Map([...symbols].map(([k, v]) => [k, v as Dim]));
  const values = new Map<Value, HostTensor>();
  f.params.forEach((p, k) => {
    values.set(p, inputs[k] as HostTensor);
  });
  runRegion(f, values, env, observe);
  return f.results.map((r) => values.get(r) as HostTensor);
}

/** Values of the symbols; ops that bind one add to it. */
type Env = Map<string, Dim>;

/** Attributes with symbols replaced by their values. */
function concreteAttrs(attrs: AnyAttrs, env: Env): AnyAttrs {
  if (env.size === 0) return attrs;
  return Object.fromEntries(
    Object.entries(attrs).map(([k, v]) => [
      k,
      Array.isArray(v) && v.some((d) => typeof d === "object" && d !== null && "terms" in d) ? (v as Dim[]).map((d) => substituteDim(d, env)) : v,
    ]),
  );
}

function runRegion(region: Region, values: Map<Value, HostTensor>, env: Env, observe: (v: Value, t: HostTensor) => void): void {
  for (const op of region.ops) {
    const operands = op.operands.map((v) => {
      const t = values.get(v);
      if (t === undefined) throw new InternalError("interpret", `value %${v.name} has no value yet`);
      return t;
    });
    const results = runOp(op, operands, values, env, observe);
    op.results.forEach((r, k) => {
      values.set(r, results[k] as HostTensor);
      observe(r, results[k] as HostTensor);
    });
  }
}

function runOp(
  op: Op,
  operands: readonly HostTensor[],
  values: Map<Value, HostTensor>,
  env: Env,
  observe: (v: Value, t: HostTensor) => void,
): readonly HostTensor[] {
  const { def } = op;
  const attrs = def.binds ? op.attrs : concreteAttrs(op.attrs, env);
  const size = (d: Dim): number => {
    const v = substituteDim(d, env);
    return typeof v === "number" ? v : evaluateDim(d, new Map());
  };
  if (def.evaluate === undefined) {
    const g = new GraphBuilder();
    const params = operands.map((o, i) => g.param(`p${i}`, o));
    const results = def.decompose?.(g, params, attrs as never) ?? [];
    return interpretGraph(g.finish(def.name, [], results), operands);
  }
  const types =
    op.regions.length > 0
      ? op.results.map((r) => ({ dtype: r.dtype, dims: r.dims.map(size) }))
      : inferTypes(def, operands, attrs, op.regions).map((t) => ({ dtype: t.dtype, dims: t.dims.map(Number) }));
  return def.evaluate({
    operands,
    attrs: attrs as never,
    types,
    regions: op.regions,
    bind: (symbol, value) => bindSymbol(env, symbol, value),
    size,
    run(region, params) {
      const inner = new Map(values);
      region.params.forEach((p, k) => {
        inner.set(p, params[k] as HostTensor);
      });
      runRegion(region, inner, env, observe);
      return region.results.map((r) => inner.get(r) as HostTensor);
    },
  });
}

/** @throws UserError `size` for a value that the symbol cannot have */
function bindSymbol(env: Env, symbol: Dim, value: number): void {
  const [s] = dimSymbols(symbol).values();
  if (s === undefined) throw new InternalError("interpret", `'${symbol}' is no symbol`);
  const most = s.bound === null ? s.max : Math.min(s.max, Number(substituteDim(s.bound, env)));
  if (value < s.min || value > most) throw new UserError("size", `the size '${s.name}' is ${value}, but must lie in [${s.min}, ${most}]`);
  env.set(s.name, value);
}
