import { type Dim, dimEquals, dimsEqual } from "../../base/dim.ts";
import { i32 } from "../../base/dtype.ts";
import type { Expr } from "../../scalar/expr.ts";
import { type HostTensor, hostFrom, hostTensor, sizeOf } from "../host.ts";
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

export const controlOps = [size, scan] as const;
