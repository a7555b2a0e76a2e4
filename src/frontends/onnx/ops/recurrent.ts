import { type Dim, mulDim, subDim, symbolDim } from "../../../base/dim.ts";
import { f32, i32 } from "../../../base/dtype.ts";
import type { GraphBuilder } from "../../../graph/builder.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext, OpTable } from "../context.ts";
import { type Operand, dimValue } from "../operand.ts";
import { type Activation, activations } from "./activation.ts";
import { Formula } from "./formula.ts";
import { ownSteps } from "./quantization.ts";
import { slicedAlong } from "./shape.ts";

/** A matrix [gates · hidden, columns]: numbers, or integers (their zero points taken off) that have a scale for each row. */
export interface Matrix {
  readonly elements: Value;
  readonly scales: Value | null;
}

/** What the steps of one direction work with. Biases and peepholes are vectors. */
interface Weights {
  readonly hidden: Dim;
  readonly input: Matrix;
  readonly recurrent: Matrix;
  readonly inputBias: Value | null;
  readonly recurrentBias: Value | null;
  readonly peepholes: Value | null;
}

/** One step: from the projected input [batch, gates · hidden] and the states [batch, hidden] to the next states, the hidden one first. */
type Step = (f: Formula, projected: Value, states: readonly Value[]) => readonly Value[];

interface Cell {
  readonly gates: number;
  /** Names of the activations of one direction. */
  readonly activations: readonly string[];
  /** Inputs that hold the initial states, and the one that holds the peepholes. */
  readonly states: readonly number[];
  readonly peepholes: number | null;
  /** What is made once, before the loop over time: the bias that the projection of the input takes, and the step. */
  prepare(c: NodeContext, w: Weights, functions: readonly Activation[]): { readonly bias: Value | null; readonly step: Step };
}

/** `x[:, k · size : (k + 1) · size]` for the last dimension. */
function part(g: GraphBuilder, x: Value, k: number, size: Dim, count = 1): Value {
  const axis = x.dims.length - 1;
  const start = x.dims.map((_, i) => (i === axis ? mulDim(size, k) : 0));
  return g.one("slice", [x], { start, stride: x.dims.map(() => 1), dims: x.dims.with(axis, mulDim(size, count)) });
}

/** Rows `k · size …` of a matrix. */
function rows(g: GraphBuilder, m: Matrix, k: number, size: Dim, count: number): Matrix {
  const cut = (x: Value): Value =>
    g.one("slice", [x], {
      start: x.dims.map((_, i) => (i === 0 ? mulDim(size, k) : 0)),
      stride: x.dims.map(() => 1),
      dims: x.dims.with(0, mulDim(size, count)),
    });
  return { elements: cut(m.elements), scales: m.scales === null ? null : cut(m.scales) };
}

/** x · mᵀ over the last dimension of both; for a matrix of integers x is rounded to 255 steps of its own range. */
function times(f: Formula, x: Value, m: Matrix): Value {
  const dot = (v: Value): Value => f.g.one("dot", [v, m.elements], { batchA: [], batchB: [], contractA: [v.dims.length - 1], contractB: [1] });
  if (m.scales === null) return dot(x);
  const own = ownSteps(f, x);
  const sums = f.g.convert(dot(f.g.convert(f.sub(own.steps, own.zero), i32)), f32);
  return f.mul(sums, f.g.broadcast(f.mul(m.scales, own.scale), sums.dims, [sums.dims.length - 1]));
}

/** A vector added along the last dimension. */
function plus(f: Formula, x: Value, bias: Value | null): Value {
  return bias === null ? x : f.add(x, f.g.broadcast(bias, x.dims, [x.dims.length - 1]));
}

function bothBiases(f: Formula, w: Weights): Value | null {
  return w.inputBias === null || w.recurrentBias === null ? null : f.add(w.inputBias, w.recurrentBias);
}

/** What goes into an activation, bounded by the attribute `clip`. */
function clipper(c: NodeContext): (f: Formula, x: Value) => Value {
  const limit = c.attribute("clip")?.f ?? 0;
  return limit > 0 ? (f, x) => f.clamp(x, -limit, limit) : (_, x) => x;
}

/** h' = f(Wx + Rh + b) */
const rnnCell: Cell = {
  gates: 1,
  activations: ["Tanh"],
  states: [5],
  peepholes: null,
  prepare(c, w, [act]) {
    const clip = clipper(c);
    return {
      bias: bothBiases(new Formula(c.g), w),
      step: (f, projected, [h]) => [(act as Activation)(f, clip(f, f.add(projected, times(f, h as Value, w.recurrent))))],
    };
  },
};

/** Gates z, r, h (Cho et al., 2014); with `linear_before_reset` the reset gate works on the recurrent product instead of its operand. */
const gruCell: Cell = {
  gates: 3,
  activations: ["Sigmoid", "Tanh"],
  states: [5],
  peepholes: null,
  prepare(c, w, [act, candidateAct]) {
    const [clip, size] = [clipper(c), w.hidden];
    const outer = new Formula(c.g);
    const linear = c.int("linear_before_reset", 0) !== 0;
    // The candidate's own recurrent bias is scaled by the reset gate: it cannot join the input's.
    const joined = linear && w.recurrentBias !== null ? gateBias(outer, w.recurrentBias, size) : w.recurrentBias;
    const hiddenBias = linear && w.recurrentBias !== null ? part(c.g, w.recurrentBias, 2, size) : null;
    const [gateRows, hiddenRows] = [rows(c.g, w.recurrent, 0, size, 2), rows(c.g, w.recurrent, 2, size, 1)];
    return {
      bias: w.inputBias === null || joined === null ? null : outer.add(w.inputBias, joined),
      step(f, projected, [state]) {
        const h = state as Value;
        const sigma = (x: Value): Value => (act as Activation)(f, clip(f, x));
        const whole = linear ? times(f, h, w.recurrent) : times(f, h, gateRows);
        const gate = (k: number): Value => sigma(f.add(part(f.g, projected, k, size), part(f.g, whole, k, size)));
        const [z, r] = [gate(0), gate(1)];
        const recurrent = linear ? f.mul(r, plus(f, part(f.g, whole, 2, size), hiddenBias)) : times(f, f.mul(r, h), hiddenRows);
        const candidate = (candidateAct as Activation)(f, clip(f, f.add(part(f.g, projected, 2, size), recurrent)));
        return [f.add(f.mul(f.sub(1, z), candidate), f.mul(z, h))];
      },
    };
  },
};

/** The biases of z and r, and zeros for the candidate. */
function gateBias(f: Formula, bias: Value, size: Dim): Value {
  return f.g.one("concat", [part(f.g, bias, 0, size, 2), f.g.splat(bias.dtype, [size], 0)], { axis: 0 });
}

/** Gates i, o, f, c (Hochreiter & Schmidhuber, 1997; peepholes: Gers & Schmidhuber, 2000). */
const lstmCell: Cell = {
  gates: 4,
  activations: ["Sigmoid", "Tanh", "Tanh"],
  states: [5, 6],
  peepholes: 7,
  prepare(c, w, [act, cellAct, hiddenAct]) {
    const [clip, size] = [clipper(c), w.hidden];
    const coupled = c.int("input_forget", 0) !== 0;
    const peep = [0, 1, 2].map((k) => (w.peepholes === null ? null : part(c.g, w.peepholes, k, size)));
    return {
      bias: bothBiases(new Formula(c.g), w),
      step(f, projected, [h, old]) {
        const sum = f.add(projected, times(f, h as Value, w.recurrent));
        const seen = (k: number, cell: Value): Value | null => {
          const weights = peep[k] ?? null;
          return weights === null ? null : f.mul(cell, f.g.broadcast(weights, cell.dims, [1]));
        };
        const gate = (k: number, looks: Value | null): Value => {
          const x = part(f.g, sum, k, size);
          return (act as Activation)(f, clip(f, looks === null ? x : f.add(x, looks)));
        };
        const before = old as Value;
        const i = gate(0, seen(0, before));
        const forget = coupled ? f.sub(1, i) : gate(2, seen(2, before));
        const candidate = (cellAct as Activation)(f, clip(f, part(f.g, sum, 3, size)));
        const cell = f.add(f.mul(forget, before), f.mul(i, candidate));
        const o = gate(1, seen(1, cell));
        return [f.mul(o, (hiddenAct as Activation)(f, cell)), cell];
      },
    };
  },
};

/** What one direction gives: hidden states [time, batch, hidden] (if anybody wants them), then the final states [batch, hidden]. */
interface Direction {
  readonly all: Value | null;
  readonly final: readonly Value[];
}

/** Runs the steps over the projected input [time, batch, gates · hidden], from its end if `backwards`. */
function overTime(c: NodeContext, projected: Value, initial: readonly Value[], lengths: Value | null, backwards: boolean, step: Step): Direction {
  const [time, batch, width] = projected.dims as [Dim, Dim, Dim];
  const wanted = c.wants(0);
  /** One step of the loop: the next states, and what Y shows of this step. */
  const turn = (g: GraphBuilder, i: Dim, states: readonly Value[]): readonly [states: readonly Value[], shown: readonly Value[]] => {
    const at = backwards ? subDim(subDim(time, 1), i) : i;
    const now = g.reshape(g.one("slice", [projected], { start: [at, 0, 0], stride: [1, 1, 1], dims: [1, batch, width] }), [batch, width]);
    const f = new Formula(g);
    const next = step(f, now, states);
    const [hidden] = next as [Value];
    if (lengths === null) return [next, wanted ? [hidden] : []];
    // Beyond its end, a sequence keeps its states and shows zeros.
    const inside = g.broadcast(f.op("gt", lengths, g.convert(dimValue(g, at), lengths.dtype)), hidden.dims, [0]);
    return [next.map((v, k) => f.select(inside, v, states[k] as Value)), wanted ? [f.select(inside, hidden, 0)] : []];
  };
  if (time === 1) {
    const [final, shown] = turn(c.g, 0, initial);
    return { final, all: shown[0] === undefined ? null : c.g.reshape(shown[0], [1, ...shown[0].dims]) };
  }
  const index = symbolDim(c.g.dataSymbol("step", 0, subDim(time, 1)));
  const body = c.g.nested();
  const params = initial.map((v, k) => body.value(k === 0 ? "hidden" : "cell", v));
  const [next, shown] = turn(body, index, params);
  const results = c.g.op(
    "loop",
    initial,
    { index: [index], length: [time], states: initial.length, conditional: false },
    { regions: [body.region(params, [...next, ...shown])] },
  );
  const stacked = results[1 + initial.length];
  const all = stacked === undefined || !backwards ? stacked : c.g.one("reverse", [stacked], { axes: [0] });
  return { final: results.slice(1, 1 + initial.length), all: all ?? null };
}

/** Entry `k` of dimension 0, which goes. */
export function entry(c: NodeContext, o: Operand | null, k: number): Value | null {
  if (o === null) return null;
  if (o.rank === 0) return c.fail("a scalar where each direction has its own values");
  return c.g.reshape(slicedAlong(c, o, 0, k, 1).value, o.dims.slice(1));
}

/** The matrix of one direction in input 1 or 2, as the op lays it out. */
type MatrixOf = (c: NodeContext, input: number, direction: number) => Matrix;

const plainMatrix: MatrixOf = (c, input, direction) => ({ elements: entry(c, c.input(input), direction) as Value, scales: null });

function directionOf(
  c: NodeContext,
  cell: Cell,
  matrixOf: MatrixOf,
  d: number,
  backwards: boolean,
  sequence: Value,
  functions: readonly Activation[],
): Direction {
  const [w, r] = [matrixOf(c, 1, d), matrixOf(c, 2, d)];
  const size = c.int("hidden_size", 0);
  const columns = r.elements.dims[1] as Dim;
  const hidden = size > 0 ? c.sameDim(size, columns, "'hidden_size' and the columns of R") : columns;
  const width = mulDim(hidden, cell.gates);
  c.sameDim(w.elements.dims[0] as Dim, width, "rows of W");
  c.sameDim(r.elements.dims[0] as Dim, width, "rows of R");
  const recurrent = { ...r, elements: c.sizes.refine(r.elements, [width, hidden]) };
  const [x, elements] = c.paired(sequence, 2, c.sizes.refine(w.elements, w.elements.dims.with(0, width)), 1, "features of X, and columns of W");
  const input = { ...w, elements };
  const vector = (i: number, n: Dim, what: string): Value | null => {
    const v = entry(c, c.optional(i), d);
    if (v === null) return null;
    if (v.dims.length !== 1) return c.fail(`${what} in an input of rank ${v.dims.length + 1}, expected 2`);
    c.sameDim(v.dims[0] as Dim, n, what);
    return c.sizes.refine(v, [n]);
  };
  const bias = vector(3, mulDim(width, 2), "elements of B");
  const weights: Weights = {
    hidden,
    input,
    recurrent,
    inputBias: bias === null ? null : part(c.g, bias, 0, width),
    recurrentBias: bias === null ? null : part(c.g, bias, 1, width),
    peepholes: cell.peepholes === null ? null : vector(cell.peepholes, mulDim(hidden, 3), "elements of P"),
  };
  const f = new Formula(c.g);
  const prepared = cell.prepare(c, weights, functions);
  const projected = plus(f, times(f, x, input), prepared.bias);
  const batch = x.dims[1] as Dim;
  const initial = cell.states.map((k) => initialState(c, k, d, [batch, hidden], x));
  return overTime(c, projected, initial, sequenceLengths(c, batch), backwards, prepared.step);
}

function sequenceLengths(c: NodeContext, batch: Dim): Value | null {
  const o = c.optional(4);
  if (o === null) return null;
  if (o.rank !== 1) return c.fail(`sequence lengths of rank ${o.rank}, expected 1`);
  c.sameDim(o.dims[0] as Dim, batch, "sequence lengths, and batches");
  return c.sizes.refine(o.value, [batch]);
}

function initialState(c: NodeContext, input: number, d: number, dims: readonly Dim[], x: Value): Value {
  const o = c.optional(input);
  if (o === null) return c.g.splat(x.dtype, dims, 0);
  if (o.rank !== 3) return c.fail(`initial state of rank ${o.rank}, expected 3`);
  const whole = c.int("layout", 0) === 1 ? c.of(c.g.transpose(o.value, [1, 0, 2])) : o;
  const v = entry(c, whole, d) as Value;
  dims.forEach((n, i) => c.sameDim(v.dims[i] as Dim, n, `dimension ${i} of the initial state`));
  return c.sizes.refine(v, dims);
}

/** Values of all directions side by side in a new dimension. */
function stackedAt(g: GraphBuilder, values: readonly Value[], axis: number): Value {
  const parts = values.map((v) => g.reshape(v, v.dims.toSpliced(axis, 0, 1)));
  return parts.length === 1 ? (parts[0] as Value) : g.one("concat", parts, { axis });
}

/** RNN, GRU and LSTM: all inputs are projected at once, then a loop runs over time. */
function recurrent(cell: Cell, matrixOf: MatrixOf = plainMatrix): (c: NodeContext) => readonly (Operand | null)[] {
  return (c) => {
    const x = c.input(0);
    const direction = c.text("direction", "forward");
    if (!["forward", "reverse", "bidirectional"].includes(direction)) return c.fail(`direction '${direction}'`);
    const ways = direction === "bidirectional" ? [false, true] : [direction === "reverse"];
    if (x.rank !== 3 || c.input(1).rank !== 3 || c.input(2).rank !== 3)
      return c.fail(`X, W and R of ranks ${x.rank}, ${c.input(1).rank} and ${c.input(2).rank}, expected 3`);
    for (const i of [1, 2]) c.sameDim(c.input(i).dims[0] as Dim, ways.length, `directions of input ${i}`);
    const batchFirst = c.int("layout", 0) === 1;
    const sequence = batchFirst ? c.g.transpose(x.value, [1, 0, 2]) : x.value;
    const names = ways.flatMap(() => cell.activations);
    const functions = activations(c, names);
    const n = cell.activations.length;
    const done = ways.map((backwards, d) => directionOf(c, cell, matrixOf, d, backwards, sequence, functions.slice(d * n, (d + 1) * n)));
    const finals = cell.states.map((_, k) =>
      c.wants(1 + k)
        ? c.of(
            stackedAt(
              c.g,
              done.map((o) => o.final[k] as Value),
              batchFirst ? 1 : 0,
            ),
          )
        : null,
    );
    return [allSteps(c, done, batchFirst), ...finals];
  };
}

/** Y: [time, directions, batch, hidden], or with the batch first [batch, time, directions, hidden]. */
function allSteps(c: NodeContext, done: readonly Direction[], batchFirst: boolean): Operand | null {
  const values = done.flatMap((d) => (d.all === null ? [] : [d.all]));
  if (values.length === 0) return null;
  const y = stackedAt(c.g, values, 1);
  return c.of(batchFirst ? c.g.transpose(y, [2, 0, 1, 3]) : y);
}

/** An LSTM whose matrices are laid out as `matrixOf` reads them. */
export const lstmOf = (matrixOf: MatrixOf) => recurrent(lstmCell, matrixOf);

export const recurrentOps: OpTable = {
  RNN: { since: 7, map: recurrent(rnnCell) },
  GRU: { since: 7, map: recurrent(gruCell) },
  LSTM: { since: 7, map: recurrent(lstmCell) },
};
