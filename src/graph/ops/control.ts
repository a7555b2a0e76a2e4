import { type Dim, type DimSymbol, dimEquals, dimSymbols, dimsEqual, symbolDim } from "../../base/dim.ts";
import { bool, i32 } from "../../base/dtype.ts";
import { UserError } from "../../base/errors.ts";
import type { Expr } from "../../scalar/expr.ts";
import type { Tensor } from "../../tensor/ir.ts";
import { type HostTensor, hostFrom, hostTensor, sizeOf } from "../host.ts";
import type { Region } from "../ir.ts";
import { type TensorType, defineOp } from "../op.ts";

const size = defineOp({
  name: "iota_size",
  doc: "The product of dims as an i32 scalar: brings a symbolic size into the data.",
  operands: [],
  attrs: { dims: "dims" },
  constraints: [],
  infer: () => [{ dtype: i32, dims: [] }],
  evaluate: ({ attrs }) => [hostFrom(i32, [], () => sizeOf(attrs.dims.map(Number)))],
  lower({ b, sc, results: [result], attrs }) {
    if (result !== undefined) b.map(result, () => attrs.dims.reduce<Expr>((p, d) => sc.mul(p, sc.dim(d)), sc.int(1)));
  },
  examples: [],
});

const scan = defineOp({
  name: "scan",
  doc: "Runs its region once per step along dimension 0 of the `xs`. Operands: `states` initial state values, then the xs. The region takes the states and one slice of each x (without dimension 0), and gives the next states and one slice of each y. Results: the final states, then the ys stacked along a new dimension 0.",
  operands: ["operands..."],
  attrs: { states: "int", length: "dims" },
  constraints: [
    "C1: one region; its parameters have the types of the states and of slices of the xs.",
    "C2: its first results have the states' types.",
    "C3: every x has `length` as dimension 0.",
  ],
  infer({ operands, attrs, regions, fail }) {
    const [body] = regions;
    const length = attrs.length[0] as Dim;
    if (body === undefined || body.params.length !== operands.length) return fail("C1", `got ${regions.length} regions`);
    operands.forEach((o, k) => {
      const dims = k < attrs.states ? o.dims : o.dims.slice(1);
      const p = body.params[k] as TensorType;
      if (k >= attrs.states && !dimEquals(o.dims[0] ?? 0, length)) fail("C3", `operand ${k} has dimension 0 of ${o.dims[0]}`);
      if (!dimsEqual(p.dims, dims) || p.dtype !== o.dtype) fail("C1", `parameter ${k} is ${p.dtype}[${p.dims.join(", ")}]`);
    });
    const states = operands.slice(0, attrs.states);
    states.forEach((s, k) => {
      const r = body.results[k];
      if (r === undefined || !dimsEqual(r.dims, s.dims) || r.dtype !== s.dtype) fail("C2", `state ${k}`);
    });
    return [...states, ...body.results.slice(attrs.states).map((y) => ({ dtype: y.dtype, dims: [length, ...y.dims] }))];
  },
  evaluate({ operands, attrs, types, regions, run }) {
    const [body] = regions;
    if (body === undefined) return [];
    let states = operands.slice(0, attrs.states);
    const ys = types.slice(attrs.states).map((t) => hostTensor(t.dtype, t.dims));
    const steps = Number(attrs.length[0]);
    const part = (x: HostTensor, t: number): HostTensor => {
      const n = sizeOf(x.dims.slice(1));
      return { dtype: x.dtype, dims: x.dims.slice(1), data: x.data.slice(t * n, (t + 1) * n) };
    };
    for (let t = 0; t < steps; t++) {
      const results = run(body, [...states, ...operands.slice(attrs.states).map((x) => part(x, t))]);
      states = results.slice(0, attrs.states);
      results.slice(attrs.states).forEach((y, k) => {
        ys[k]?.data.set(y.data as never, t * y.data.length);
      });
    }
    return [...states, ...ys];
  },
  lower({ b, sc, operands, results, attrs, regions, inline }) {
    const [body] = regions;
    if (body === undefined) return;
    // States live outside of the kernel, next to their successors: a step reads one and writes the other, then copies.
    const states = results.slice(0, attrs.states);
    states.forEach((s, k) => {
      b.map(s, (i) => sc.load(operands[k] as (typeof operands)[0], i));
    });
    b.scan(results[0]?.name ?? "scan", attrs.length[0] as Dim, (step) => {
      const slices = operands.slice(attrs.states).map((x) => {
        const local = b.tensor(`${x.name}.step`, x.dtype, x.dims.slice(1), x.origin);
        b.map(local, (i) => sc.load(x, [step, ...i]));
        return local;
      });
      const out = inline(body, [...states, ...slices]);
      const next = states.map((s, k) => {
        const copy = b.tensor(`${s.name}.next`, s.dtype, s.dims, s.origin);
        b.map(copy, (i) => sc.load(out[k] as (typeof out)[0], i));
        return copy;
      });
      results.slice(attrs.states).forEach((y, k) => {
        b.scatter(y, y.dims.slice(1), null, (i) => ({ index: [step, ...i], value: sc.load(out[attrs.states + k] as (typeof out)[0], i) }));
      });
      states.forEach((s, k) => {
        b.map(s, (i) => sc.load(next[k] as (typeof next)[0], i));
      });
    });
  },
  examples: [],
});

/** The symbol that a dimension consists of, if it is one that the model computes. */
function dataSymbol(d: Dim | undefined): DimSymbol | null {
  const [s, ...more] = d === undefined ? [] : [...dimSymbols(d).values()];
  return s !== undefined && more.length === 0 && s.source === "data" && dimEquals(d as Dim, symbolDim(s)) ? s : null;
}

const bindSize = defineOp({
  name: "bind_size",
  doc: "Gives a symbol its value, which the model computes: dims of ops after it may depend on it. A run fails where the value lies outside of the symbol's range.",
  operands: ["value"],
  attrs: { symbol: "dims" },
  constraints: ["C1: value is an integer of rank 0.", "C2: `symbol` is one symbol of source data."],
  effect: true,
  binds: true,
  infer({ operands: [value], attrs, fail }) {
    if (value?.dims.length !== 0 || !value.dtype.isInteger) fail("C1", "expected an integer of rank 0");
    if (attrs.symbol.length !== 1 || dataSymbol(attrs.symbol[0]) === null) fail("C2", `got [${attrs.symbol.join(", ")}]`);
    return [];
  },
  evaluate({ operands: [value], attrs, bind }) {
    bind(attrs.symbol[0] as Dim, Number(value?.data[0]));
    return [];
  },
  lower({ b, operands: [value], attrs }) {
    b.bindSize(value as Tensor, dataSymbol(attrs.symbol[0]) as DimSymbol);
  },
  examples: [],
});

const requireEqual = defineOp({
  name: "require_equal",
  doc: "Checks, when the model runs, that two sizes are equal; the run fails where they are not.",
  operands: [],
  attrs: { dims: "dims" },
  constraints: ["C1: two dims."],
  effect: true,
  infer({ attrs, fail }) {
    if (attrs.dims.length !== 2) fail("C1", `got [${attrs.dims.join(", ")}]`);
    return [];
  },
  evaluate({ attrs: { dims } }) {
    if (dims[0] !== dims[1]) throw new UserError("size", `two sizes must be equal, got ${dims[0]} and ${dims[1]}`);
    return [];
  },
  lower({ b, attrs: { dims } }) {
    b.requireEqual(dims[0] as Dim, dims[1] as Dim);
  },
  examples: [],
});

const branch = defineOp({
  name: "if",
  doc: "Runs the first of its two regions where the condition holds, else the second; its results are that region's. Regions have no parameters: they use values from outside.",
  operands: ["condition"],
  attrs: {},
  constraints: ["C1: condition is a bool of rank 0.", "C2: two regions without parameters, whose results have the same types."],
  infer({ operands: [condition], regions, fail }) {
    if (condition?.dims.length !== 0 || condition.dtype !== bool) fail("C1", "expected bool[]");
    const [then, otherwise] = regions;
    if (then === undefined || otherwise === undefined || regions.some((r) => r.params.length > 0)) return fail("C2", `got ${regions.length} regions`);
    if (then.results.length !== otherwise.results.length) fail("C2", `${then.results.length} and ${otherwise.results.length} results`);
    return then.results.map((r, i) => {
      const o = otherwise.results[i] as TensorType;
      if (r.dtype !== o.dtype || !dimsEqual(r.dims, o.dims)) fail("C2", `result ${i} is ${typeText(r)} and ${typeText(o)}`);
      return { dtype: r.dtype, dims: r.dims };
    });
  },
  evaluate: ({ operands: [condition], regions, run }) => run(regions[Number(condition?.data[0]) !== 0 ? 0 : 1] as Region, []),
  lower({ b, operands: [condition], results, regions, inline }) {
    const [then, otherwise] = regions.map((r) => () => inline(r, []));
    if (condition !== undefined && then !== undefined && otherwise !== undefined) b.branch(condition, results, then, otherwise);
  },
  examples: [],
});

const loop = defineOp({
  name: "loop",
  doc: "Runs its region up to `length` times, with the symbol `index` as the number of the turn, 0 first. Operands: `while` (if `conditional`), a bool that must hold for the first turn; then the initial states. The region takes the states and gives: (if `conditional`) whether there is another turn, the next states, and slices. Results: the number of turns that ran, as an i32; the final states; the slices stacked along a new dimension 0 of size `length`, of which those of turns that did not run are undefined.",
  operands: ["operands..."],
  attrs: { index: "dims", length: "dims", states: "int", conditional: "bool" },
  constraints: [
    "C1: one region, whose parameters have the states' types.",
    "C2: its results are the condition (bool[]) if `conditional`, the states in their types, and the slices.",
    "C3: `index` is one symbol of source data, `length` one dim.",
  ],
  binds: true,
  infer({ operands, attrs, regions, fail }) {
    const [body] = regions;
    const [length] = attrs.length;
    if (attrs.length.length !== 1 || length === undefined || attrs.index.length !== 1 || dataSymbol(attrs.index[0]) === null)
      return fail("C3", `index [${attrs.index.join(", ")}], length [${attrs.length.join(", ")}]`);
    const extra = attrs.conditional ? 1 : 0;
    const states = operands.slice(extra);
    if (body === undefined || states.length !== attrs.states || body.params.length !== states.length)
      return fail("C1", `${regions.length} regions, ${body?.params.length} parameters for ${states.length} states`);
    const same = (a: TensorType | undefined, s: TensorType) => a !== undefined && a.dtype === s.dtype && dimsEqual(a.dims, s.dims);
    states.forEach((s, k) => {
      const [p, r] = [body.params[k], body.results[extra + k]];
      if (!same(p, s)) fail("C1", `parameter ${k} has another type than the state ${typeText(s)}`);
      if (!same(r, s)) fail("C2", `state ${k} is ${typeText(s)}, its successor ${r === undefined ? "missing" : typeText(r)}`);
    });
    if (attrs.conditional && !same(body.results[0], { dtype: bool, dims: [] })) fail("C2", "the first result has to be a bool[]");
    const slices = body.results.slice(extra + states.length);
    return [{ dtype: i32, dims: [] }, ...states, ...slices.map((y) => ({ dtype: y.dtype, dims: [length, ...y.dims] }))];
  },
  evaluate({ operands, attrs, types, regions, run, bind, size }) {
    const extra = attrs.conditional ? 1 : 0;
    let states = operands.slice(extra);
    let more = !attrs.conditional || Number(operands[0]?.data[0]) !== 0;
    const ys = types.slice(1 + attrs.states).map((t) => hostTensor(t.dtype, t.dims));
    const most = size(attrs.length[0] as Dim);
    let turns = 0;
    for (; turns < most && more; turns++) {
      bind(attrs.index[0] as Dim, turns);
      const results = run(regions[0] as Region, states);
      more = !attrs.conditional || Number(results[0]?.data[0]) !== 0;
      states = results.slice(extra, extra + attrs.states);
      results.slice(extra + attrs.states).forEach((y, k) => {
        ys[k]?.data.set(y.data as never, turns * y.data.length);
      });
    }
    return [hostFrom(i32, [], () => turns), ...states, ...ys];
  },
  lower({ b, operands, results, attrs, regions, inline }) {
    const extra = attrs.conditional ? 1 : 0;
    b.loop({
      index: dataSymbol(attrs.index[0]) as DimSymbol,
      length: attrs.length[0] as Dim,
      condition: attrs.conditional ? (operands[0] as Tensor) : null,
      initial: operands.slice(extra),
      turns: results[0] as Tensor,
      states: results.slice(1, 1 + attrs.states),
      stacked: results.slice(1 + attrs.states),
      body: (states) => inline(regions[0] as Region, states),
    });
  },
  examples: [],
});

const typeText = (t: TensorType): string => `${t.dtype}[${t.dims.join(", ")}]`;

export const controlOps = [size, scan, bindSize, requireEqual, branch, loop] as const;
