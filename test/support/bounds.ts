import { type Dim, dimSymbols, evaluateDim, substituteDim } from "../../src/base/dim.ts";
import { type DType, i32 } from "../../src/base/dtype.ts";
import type { Num } from "../../src/base/numeric.ts";
import { type HostTensor, hostFrom, hostTensor, sizeOf } from "../../src/graph/host.ts";
import { bindSymbols } from "../../src/graph/interpret.ts";
import type { GraphFunction, Op, Region, Value } from "../../src/graph/ir.ts";
import type { AnyAttrs } from "../../src/graph/op.ts";
import { decomposeComposites } from "../../src/graph/passes/decompose.ts";
import { findScalarOp } from "../../src/scalar/ops/table.ts";

/**
 * How far a correct execution may be from the reference interpreter, element by element. Every core op adds its own
 * rounding (4 ulp, plus what a derived function states, or 4·√n·ε·Σ|terms| for a sum of n terms) to what it makes of the
 * errors of its operands. Integers and truth values that depend on no rounded value must be exact.
 */
export interface Bounded {
  /** The reference's value. */
  readonly value: HostTensor;
  /** Largest |difference| of each element. */
  readonly error: Float64Array;
}

/** Bits of the fraction; undefined for what is no float. */
function fractionOf(d: DType): number | undefined {
  return d.format?.fraction ?? { f32: 23, f64: 52 }[d.name];
}
/** Distance between neighbouring values of the dtype at a magnitude; 0 for integers, which do not round. */
function ulpAt(d: DType, v: number): number {
  const bits = fractionOf(d);
  if (bits === undefined || !Number.isFinite(v)) return 0;
  const least = d.format !== null ? 1 - d.format.bias : d.name === "f64" ? -1022 : -126;
  return 2 ** (Math.max(least, v === 0 ? least : Math.floor(Math.log2(Math.abs(v)))) - bits);
}
const epsilon = (d: DType) => 2 ** -(fractionOf(d) ?? Number.POSITIVE_INFINITY);

/** The graph's results by the reference, each with its bounds. */
export function boundGraph(source: GraphFunction, inputs: readonly HostTensor[]): Bounded[] {
  const f = decomposeComposites(source);
  const env = bindSymbols(
    f.params,
    inputs.map((t) => t.dims),
  );
  const values = new Map<Value, Bounded>();
  f.params.forEach((p, i) => {
    values.set(p, exact(inputs[i] as HostTensor));
  });
  return new Bounder(new Map(env)).region(f, values);
}

function exact(value: HostTensor): Bounded {
  return { value, error: new Float64Array(value.data.length) };
}
const f64Of = (d: DType, dims: readonly number[], data: Float64Array): HostTensor => ({ dtype: d, dims, data });
const magnitude = (b: Bounded): HostTensor =>
  f64Of(
    b.value.dtype,
    b.value.dims,
    Float64Array.from(b.value.data as Float64Array, (v) => Math.abs(Number(v))),
  );
const errorOf = (b: Bounded): HostTensor => f64Of(b.value.dtype, b.value.dims, b.error);

/** Ops that only move elements: a result's error is that of the element it came from. */
const movement = new Set(["refine", "broadcast", "reshape", "transpose", "slice", "pad", "concat", "reverse", "gather"]);
const sources = new Set(["constant", "iota", "iota_size"]);
/** Ops whose results are places in exact operands. */
const choosers = new Set(["arg_window", "argsort", "argsort_rows", "positions_where", "suppress_overlaps", "walk_trees"]);

class Bounder {
  private readonly env: Map<string, number>;
  constructor(env: Map<string, number>) {
    this.env = env;
  }

  region(r: Region, outer: ReadonlyMap<Value, Bounded>): Bounded[] {
    const values = new Map(outer);
    for (const op of r.ops) {
      const results = this.op(
        op,
        op.operands.map((v) => values.get(v) as Bounded),
        values,
      );
      op.results.forEach((v, i) => {
        values.set(v, results[i] as Bounded);
      });
    }
    return r.results.map((v) => values.get(v) as Bounded);
  }

  private attrs(op: Op): AnyAttrs {
    const dims = (v: unknown): v is readonly Dim[] => Array.isArray(v) && v.some((d) => typeof d === "object" && d !== null && "terms" in d);
    return Object.fromEntries(Object.entries(op.attrs).map(([k, v]) => [k, dims(v) ? v.map((d) => substituteDim(d, this.env)) : v]));
  }

  /** The op's own reference on given operands: its first result. */
  private evaluate(op: Op, operands: readonly HostTensor[], attrs: AnyAttrs = this.attrs(op)): HostTensor {
    return this.evaluateAll(op, operands, attrs)[0] as HostTensor;
  }
  private evaluateAll(op: Op, operands: readonly HostTensor[], attrs: AnyAttrs = this.attrs(op)): readonly HostTensor[] {
    const types = op.results.map((r) => ({ dtype: r.dtype, dims: r.dims.map((d) => evaluateDim(d, this.env)) }));
    const never = (): never => {
      throw new Error("no regions and no symbols here");
    };
    const out = op.def.evaluate?.({ operands, attrs: attrs as never, types, regions: [], run: never, bind: never, size: never });
    if (out === undefined) throw new Error(`op '${op.def.name}' has no reference of its own`);
    return out;
  }

  private op(op: Op, operands: readonly Bounded[], values: ReadonlyMap<Value, Bounded>): Bounded[] {
    const { name } = op.def;
    if (name === "scan") return this.scan(op, operands, values);
    if (name === "if") return this.region(op.regions[Number(operands[0]?.value.data[0]) !== 0 ? 0 : 1] as Region, values);
    if (name === "loop") return this.loop(op, operands, values);
    if (name === "bind_size") {
      this.bind(op.attrs["symbol"] as readonly Dim[], Number(operands[0]?.value.data[0]));
      return [];
    }
    if (name === "require_equal") return [];
    if (choosers.has(name)) return this.choice(op, operands);
    const value = this.evaluate(
      op,
      operands.map((o) => o.value),
    );
    if (sources.has(name)) return [exact(value)];
    if (findScalarOp(name) !== null || name === "convert") return [{ value, error: this.elementwise(op, operands, value) }];
    if (movement.has(name)) {
      const errors = operands.map((o) => (o.value.dtype.isFloat ? errorOf(o) : o.value));
      return [
        {
          value,
          error: value.dtype.isFloat ? Float64Array.from(this.evaluate(op, errors).data as Float64Array) : new Float64Array(value.data.length),
        },
      ];
    }
    if (!value.dtype.isFloat) return [exact(value)];
    if (name === "dot" || name === "convolution") return [{ value, error: this.contraction(op, operands, value) }];
    if (name === "reduce" || name === "reduce_window")
      return [
        {
          value,
          error: this.fold(
            op,
            operands,
            value,
            "monoid",
            Number(op.operands[0] === undefined ? 0 : sizeOf((operands[0] as Bounded).value.dims)) / value.data.length,
          ),
        },
      ];
    if (name === "cumulative")
      return [{ value, error: this.fold(op, operands, value, "monoid", (operands[0] as Bounded).value.dims[op.attrs["axis"] as number] as number) }];
    if (name === "scatter") return [{ value, error: this.fold(op, operands, value, "combiner", 1 + sizeOf((operands[1] as Bounded).value.dims)) }];
    throw new Error(`test/support/bounds.ts has no error rule for op '${name}': add one`);
  }

  /** An op that picks elements of exact operands, and says which. */
  private choice(op: Op, operands: readonly Bounded[]): Bounded[] {
    if (operands.some((o) => o.error.some((e) => e > 0))) throw new Error(`what '${op.def.name}' picks depends on errors of its operands`);
    const results = this.evaluateAll(
      op,
      operands.map((o) => o.value),
    );
    return results.map(exact);
  }

  /** Tries every corner of the operands' error boxes. */
  private elementwise(op: Op, operands: readonly Bounded[], value: HostTensor): Float64Array {
    const entry = findScalarOp(op.def.name === "convert" ? "cast" : op.def.name);
    if (entry === null) throw new Error(op.def.name);
    const types = operands.map((o) => o.value.dtype);
    const stated = entry.ulp === undefined ? 4 : 4 + entry.ulp;
    const rounds = value.dtype.isFloat;
    return Float64Array.from(value.data as Float64Array, (raw, i) => {
      const want = Number(raw);
      let worst = 0;
      const boxes = operands.map((o): readonly Num[] => {
        const [v, e] = [o.value.data[i] as Num, o.error[i] as number];
        return e > 0 && typeof v === "number" && Number.isFinite(v) ? [v - e, v, v + e] : [v];
      });
      const visit = (k: number, args: readonly Num[]): void => {
        if (k < boxes.length) {
          for (const v of boxes[k] as readonly Num[]) visit(k + 1, [...args, v]);
          return;
        }
        const d = Math.abs(Number(entry.evaluate(args, value.dtype, types)) - want);
        // A corner where the function is not defined says nothing.
        if (Number.isFinite(d)) worst = Math.max(worst, d);
      };
      if (boxes.some((b) => b.length > 1)) visit(0, []);
      return (
        worst +
        (rounds ? Math.max(stated * ulpAt(value.dtype, Math.abs(want) + worst), this.inner(entry.name, operands, i) * epsilon(value.dtype)) : 0)
      );
    });
  }

  /** Ops that are sums inside (a · b + c, a - q · b) are bounded as such: 4·√2·Σ|terms|, in units of ε. */
  private inner(name: string, operands: readonly Bounded[], i: number): number {
    const [a, b, c] = operands.map((o) => Math.abs(Number(o.value.data[i])) + (o.error[i] as number));
    if (name === "fma") return 4 * Math.SQRT2 * ((a ?? 0) * (b ?? 0) + (c ?? 0));
    return name === "rem" ? 4 * Math.SQRT2 * 2 * (a ?? 0) : 0;
  }

  private contraction(op: Op, [a, b]: readonly Bounded[], value: HostTensor): Float64Array {
    const [x, y] = [a as Bounded, b as Bounded];
    const n =
      op.def.name === "dot"
        ? (op.attrs["contractA"] as readonly number[]).reduce((p, d) => p * (x.value.dims[d] as number), 1)
        : y.value.data.length / (y.value.dims[(op.attrs["wDims"] as readonly number[])[0] as number] as number);
    const terms = this.evaluate(op, [magnitude(x), magnitude(y)]);
    const left = this.evaluate(op, [errorOf(x), magnitude(y)]);
    const right = this.evaluate(op, [magnitude(x), errorOf(y)]);
    return Float64Array.from(
      { length: value.data.length },
      (_, i) => 1.01 * (Number(left.data[i]) + Number(right.data[i])) + 4 * Math.sqrt(Math.max(1, n)) * epsilon(value.dtype) * Number(terms.data[i]),
    );
  }

  /** Reductions, windows and scatters by their monoid; `n` terms go into each element at most. */
  private fold(op: Op, operands: readonly Bounded[], value: HostTensor, key: string, n: number): Float64Array {
    const monoid = String(op.attrs[key]);
    const as = (m: string) => ({ ...this.attrs(op), [key]: m });
    const data = (pick: (b: Bounded) => HostTensor) => operands.map((o) => (o.value.dtype.isFloat ? pick(o) : o.value));
    const count = op.def.name === "reduce_window" ? (op.attrs["window"] as readonly number[]).reduce((p, w) => p * w, 1) : n;
    const at = (t: HostTensor, i: number) => Math.max(0, Number(t.data[i]));
    switch (monoid) {
      case "add": {
        const [errors, terms] = [this.evaluate(op, data(errorOf)), this.evaluate(op, data(magnitude))];
        return Float64Array.from(
          { length: value.data.length },
          (_, i) => 1.01 * at(errors, i) + 4 * Math.sqrt(Math.max(1, count)) * epsilon(value.dtype) * at(terms, i),
        );
      }
      case "mul": {
        const wide = this.evaluate(
          op,
          data((o) =>
            f64Of(
              o.value.dtype,
              o.value.dims,
              Float64Array.from(o.error, (e, i) => Math.abs(Number(o.value.data[i])) + e),
            ),
          ),
        );
        return Float64Array.from(
          { length: value.data.length },
          (_, i) => Math.abs(Number(wide.data[i])) - Math.abs(Number(value.data[i])) + 4 * count * ulpAt(value.dtype, Number(wide.data[i])),
        );
      }
      case "none":
        return Float64Array.from(this.evaluate(op, data(errorOf)).data as Float64Array);
      default: {
        const errors = this.evaluate(op, data(errorOf), as("max"));
        return Float64Array.from({ length: value.data.length }, (_, i) => at(errors, i));
      }
    }
  }

  private scan(op: Op, operands: readonly Bounded[], values: ReadonlyMap<Value, Bounded>): Bounded[] {
    const [body] = op.regions;
    const count = op.attrs["states"] as number;
    if (body === undefined) throw new Error("a scan has a region");
    let states = operands.slice(0, count);
    const types = op.results.slice(count).map((r) => ({ dtype: r.dtype, dims: r.dims.map((d) => evaluateDim(d, this.env)) }));
    const ys = types.map((t) => exact(hostTensor(t.dtype, t.dims)));
    const steps = Number(evaluateDim((op.attrs["length"] as readonly Dim[])[0] as Dim, this.env));
    for (let t = 0; t < steps; t++) {
      const inner = new Map(values);
      const slices = operands.slice(count).map((x): Bounded => {
        const n = sizeOf(x.value.dims.slice(1));
        return {
          value: { dtype: x.value.dtype, dims: x.value.dims.slice(1), data: x.value.data.slice(t * n, (t + 1) * n) },
          error: x.error.slice(t * n, (t + 1) * n),
        };
      });
      body.params.forEach((p, i) => {
        inner.set(p, [...states, ...slices][i] as Bounded);
      });
      const results = this.region(body, inner);
      states = results.slice(0, count);
      results.slice(count).forEach((y, k) => {
        const n = y.error.length;
        ys[k]?.value.data.set(y.value.data as never, t * n);
        ys[k]?.error.set(y.error, t * n);
      });
    }
    return [...states, ...ys];
  }

  private bind([symbol]: readonly Dim[], value: number): void {
    for (const name of dimSymbols(symbol as Dim).keys()) this.env.set(name, value);
  }

  private loop(op: Op, operands: readonly Bounded[], outer: ReadonlyMap<Value, Bounded>): Bounded[] {
    const {
      index,
      length,
      states: count,
      conditional,
    } = op.attrs as { index: readonly Dim[]; length: readonly Dim[]; states: number; conditional: boolean };
    const body = op.regions[0] as Region;
    const extra = conditional ? 1 : 0;
    let more = !conditional || Number(operands[0]?.value.data[0]) !== 0;
    let states = operands.slice(extra);
    const ys = op.results.slice(1 + count).map((r) =>
      exact(
        hostTensor(
          r.dtype,
          r.dims.map((d) => evaluateDim(d, this.env)),
        ),
      ),
    );
    const most = evaluateDim(length[0] as Dim, this.env);
    let turns = 0;
    for (; turns < most && more; turns++) {
      this.bind(index, turns);
      const inner = new Map(outer);
      body.params.forEach((p, i) => {
        inner.set(p, states[i] as Bounded);
      });
      const results = this.region(body, inner);
      more = !conditional || Number(results[0]?.value.data[0]) !== 0;
      states = results.slice(extra, extra + count);
      results.slice(extra + count).forEach((y, k) => {
        ys[k]?.value.data.set(y.value.data as never, turns * y.error.length);
        ys[k]?.error.set(y.error, turns * y.error.length);
      });
    }
    return [exact(hostFrom(i32, [], () => turns)), ...states, ...ys];
  }
}

/** The first element outside of its bound, in words; null when all are inside. `factor` widens the bounds. */
export function firstDifference(got: HostTensor, want: Bounded, factor = 1): string | null {
  const { value, error } = want;
  if (got.dtype !== value.dtype || got.dims.join() !== value.dims.join())
    return `got ${got.dtype}[${got.dims.join(", ")}], expected ${value.dtype}[${value.dims.join(", ")}]`;
  for (let i = 0; i < value.data.length; i++) {
    const [g, w] = [got.data[i] as Num, value.data[i] as Num];
    if (Object.is(g, w) || g === w) continue;
    const bound = factor * (error[i] as number);
    const difference = Math.abs(Number(g) - Number(w));
    if (!(bound > 0 && difference <= bound)) return `element ${i}: got ${g}, expected ${w} ± ${bound} (difference ${difference})`;
  }
  return null;
}
