import { type Dim, dimsEqual } from "../../base/dim.ts";
import { opNames } from "../../scalar/ops/table.ts";
import type { Op, Value } from "../ir.ts";
import { type GraphRule, type Matcher, dimList, ints, isFixed } from "./rules.ts";

const elementwise: readonly string[] = [...opNames.filter((n) => n !== "cast" && n !== "bitcast"), "convert"];

const inverse = (perm: readonly number[]): number[] => perm.map((_, i) => perm.indexOf(i));
const samePerm = (a: readonly number[], b: readonly number[]): boolean => a.length === b.length && a.every((p, i) => p === b[i]);

/** The permutation that the first transposed operand, used only here, has. */
function leadingPerm(op: Op, m: Matcher): readonly number[] | null {
  for (const o of op.operands) {
    const t = m.sole(o, "transpose");
    if (t !== undefined) return ints(t.attrs, "perm");
  }
  return null;
}

/** What becomes `v` when transposed by `perm`: at no cost at run time, or null. */
function untransposed(v: Value, perm: readonly number[], m: Matcher): Value | null {
  const t = m.sole(v, "transpose");
  if (t !== undefined && samePerm(ints(t.attrs, "perm"), perm)) return t.operands[0] as Value;
  const spread = m.is(v, "broadcast");
  const few = spread !== undefined && (spread.operands[0] as Value).dims.length < v.dims.length;
  return few || (m.isConstant(v) && isFixed(v.dims)) ? m.g.transpose(v, inverse(perm)) : null;
}

const transposePastElementwise: GraphRule = {
  name: "sink-transpose",
  doc: "An elementwise op on transposed operands is the transpose of the op, so that transposes move down until they meet and cancel.",
  roots: elementwise,
  exactness: "exact",
  examples: [
    "input %x: f32[2, n] %y: f32[n, 2] = transpose(%x) {perm = [1, 0]} %z: f32[n, 2] = exp(%y) output %z",
    `input %x: f32[2, n, 3] input %b: f32[2] %y: f32[n, 3, 2] = transpose(%x) {perm = [1, 2, 0]} %c: f32[n, 3, 2] = broadcast(%b) {dims = [n, 3, 2], map = [2]}
     %z: f32[n, 3, 2] = add(%y, %c) output %z`,
    "input %x: f32[2, n] input %y: f32[2, n] %a: f32[n, 2] = transpose(%x) {perm = [1, 0]} %b: f32[n, 2] = transpose(%y) {perm = [1, 0]} %z: f32[n, 2] = add(%a, %b) output %z",
  ],
  rewrite(op, m) {
    const perm = leadingPerm(op, m);
    if (perm === null) return null;
    const operands: Value[] = [];
    for (const o of op.operands) {
      const x = untransposed(o, perm, m);
      if (x === null) return null;
      operands.push(x);
    }
    return [m.g.transpose(m.g.one(op.def.name, operands, op.attrs), perm)];
  },
};

/** What becomes `v` when reshaped from `dims`: a reshape's operand, or one number throughout. */
function unreshaped(v: Value, dims: readonly Dim[], m: Matcher): Value | null {
  const r = m.sole(v, "reshape");
  const x = r?.operands[0];
  if (x !== undefined && dimsEqual(x.dims, dims)) return x;
  const s = m.splat(v);
  return s === null ? null : m.g.splat(v.dtype, dims, s);
}

const reshapePastElementwise: GraphRule = {
  name: "sink-reshape",
  doc: "An elementwise op on reshaped operands is the reshape of the op, so that reshapes move down until they meet.",
  roots: elementwise,
  exactness: "exact",
  examples: [
    "input %x: f32[2, n] %y: f32[2 * n] = reshape(%x) {dims = [2 * n]} %z: f32[2 * n] = exp(%y) output %z",
    "input %x: f32[2, 3] input %y: f32[2, 3] %a: f32[6] = reshape(%x) {dims = [6]} %b: f32[6] = reshape(%y) {dims = [6]} %z: f32[6] = add(%a, %b) output %z",
  ],
  rewrite(op, m) {
    const first = op.operands.map((o) => m.sole(o, "reshape")).find((r) => r !== undefined);
    const dims = first?.operands[0]?.dims;
    if (dims === undefined) return null;
    const operands: Value[] = [];
    for (const o of op.operands) {
      const x = unreshaped(o, dims, m);
      if (x === null) return null;
      operands.push(x);
    }
    return [m.g.reshape(m.g.one(op.def.name, operands, op.attrs), (op.results[0] as Value).dims)];
  },
};

const transposePastReduce: GraphRule = {
  name: "sink-transpose-reduce",
  doc: "Reducing a transposed value is reducing the value along the axes where they came from, and transposing what is left.",
  roots: ["reduce"],
  exactness: { ulp: 4 },
  examples: [
    "input %x: f32[2, n, 4] %y: f32[4, 2, n] = transpose(%x) {perm = [2, 0, 1]} %z: f32[4, 2] = reduce(%y) {monoid = add, axes = [2]} output %z",
  ],
  rewrite(op, m) {
    const t = m.is(op.operands[0], "transpose");
    const x = t?.operands[0];
    if (t === undefined || x === undefined) return null;
    const [perm, axes] = [ints(t.attrs, "perm"), ints(op.attrs, "axes")];
    const reduced = m.g.one("reduce", [x], { ...op.attrs, axes: axes.map((a) => perm[a] as number).sort((a, b) => a - b) });
    const kept = perm.filter((_, i) => !axes.includes(i));
    const order = [...kept].sort((a, b) => a - b);
    return [
      m.g.transpose(
        reduced,
        kept.map((p) => order.indexOf(p)),
      ),
    ];
  },
};

const transposePastConcat: GraphRule = {
  name: "sink-transpose-concat",
  doc: "Concatenating values transposed alike is transposing the concatenation.",
  roots: ["concat"],
  exactness: "exact",
  examples: [
    "input %x: f32[2, n] input %y: f32[3, n] %a: f32[n, 2] = transpose(%x) {perm = [1, 0]} %b: f32[n, 3] = transpose(%y) {perm = [1, 0]} %z: f32[n, 5] = concat(%a, %b) {axis = 1} output %z",
    "input %x: f32[2, n, 3] input %y: f32[2, n, 1] %a: f32[n, 3, 2] = transpose(%x) {perm = [1, 2, 0]} %b: f32[n, 1, 2] = transpose(%y) {perm = [1, 2, 0]} %z: f32[n, 4, 2] = concat(%a, %b) {axis = 1} output %z",
  ],
  rewrite(op, m) {
    const perm = leadingPerm(op, m);
    if (perm === null) return null;
    const ts = op.operands.map((o) => m.sole(o, "transpose"));
    if (!ts.every((t) => t !== undefined && samePerm(ints(t.attrs, "perm"), perm))) return null;
    return [
      m.g.transpose(
        m.g.one(
          "concat",
          ts.map((t) => t?.operands[0] as Value),
          { axis: perm[op.attrs.axis as number] as number },
        ),
        perm,
      ),
    ];
  },
};

const transposePastCut: GraphRule = {
  name: "sink-transpose-slice",
  doc: "Slicing, padding or reversing a transposed value is transposing what is sliced, padded or reversed.",
  roots: ["slice", "pad", "reverse"],
  exactness: "exact",
  examples: [
    "input %x: f32[5, n, 3] %y: f32[n, 3, 5] = transpose(%x) {perm = [1, 2, 0]} %z: f32[n, 1, 2] = slice(%y) {start = [0, 1, 4], stride = [1, 1, -2], dims = [n, 1, 2]} output %z",
    "input %x: f32[5, n, 3] input %v: f32[] %y: f32[3, 5, n] = transpose(%x) {perm = [2, 0, 1]} %z: f32[4, 5, n + 2] = pad(%y, %v) {low = [1, 0, 0], high = [0, 0, 2]} output %z",
    "input %x: f32[2, 3, 4] %y: f32[4, 2, 3] = transpose(%x) {perm = [2, 0, 1]} %z: f32[4, 2, 3] = reverse(%y) {axes = [0]} output %z",
  ],
  rewrite(op, m) {
    const t = m.sole(op.operands[0], "transpose");
    const x = t?.operands[0];
    if (t === undefined || x === undefined) return null;
    const perm = ints(t.attrs, "perm");
    const back = <T>(list: readonly T[]): T[] => inverse(perm).map((i) => list[i] as T);
    const lists = ["start", "stride", "dims", "low", "high"].filter((k) => k in op.attrs);
    const attrs =
      "axes" in op.attrs
        ? { axes: ints(op.attrs, "axes").map((a) => perm[a] as number) }
        : Object.fromEntries(lists.map((k) => [k, back(dimList(op.attrs, k))]));
    return [m.g.transpose(m.g.one(op.def.name, [x, ...op.operands.slice(1)], attrs), perm)];
  },
};

const transposeIntoDot: GraphRule = {
  name: "transpose-into-dot",
  doc: "A dot takes its dimensions by number, so a transpose before it only renumbers them, as long as the free ones stay in order.",
  roots: ["dot"],
  exactness: { ulp: 4 },
  examples: [
    "input %x: f32[2, n, 3] input %k: f32[2, n, 3] %t: f32[2, 3, n] = transpose(%k) {perm = [0, 2, 1]} %y: f32[2, n, n] = dot(%x, %t) {batchA = [0], batchB = [0], contractA = [2], contractB = [1]} output %y",
    "input %x: f32[3, 5, 2, 4] input %y: f32[3, 2, 4, 6] %t: f32[3, 2, 5, 4] = transpose(%x) {perm = [0, 2, 1, 3]} %z: f32[3, 2, 5, 6] = dot(%t, %y) {batchA = [0, 1], batchB = [0, 1], contractA = [3], contractB = [2]} output %z",
    "input %x: f32[n, 3, 2] input %y: f32[2, 4, 3] %t: f32[2, n, 3] = transpose(%x) {perm = [2, 0, 1]} %u: f32[4, 3, 2] = transpose(%y) {perm = [1, 2, 0]} %z: f32[2, n, 4] = dot(%t, %u) {batchA = [0], batchB = [2], contractA = [2], contractB = [1]} output %z",
  ],
  rewrite(op, m) {
    const operands = [...op.operands];
    const attrs: Record<string, readonly number[]> = { ...(op.attrs as Record<string, readonly number[]>) };
    let changed = false;
    for (const [k, side] of ["A", "B"].entries()) {
      const t = m.is(operands[k], "transpose");
      if (t === undefined) continue;
      const perm = ints(t.attrs, "perm");
      const used = [...ints(op.attrs, `batch${side}`), ...ints(op.attrs, `contract${side}`)];
      const free = perm.filter((_, i) => !used.includes(i));
      if (free.some((p, i) => i > 0 && p < (free[i - 1] as number))) continue;
      operands[k] = t.operands[0] as Value;
      for (const key of [`batch${side}`, `contract${side}`]) attrs[key] = ints(op.attrs, key).map((d) => perm[d] as number);
      changed = true;
    }
    return changed ? [m.g.one("dot", operands, attrs)] : null;
  },
};

const transposeOfDot: GraphRule = {
  name: "transpose-of-dot",
  doc: "A transpose that exchanges rows and columns of a product (and batches among themselves) exchanges its factors.",
  roots: ["transpose"],
  exactness: { ulp: 4 },
  examples: [
    "input %x: f32[2, n, 3] input %y: f32[2, 3, 4] %z: f32[2, n, 4] = dot(%x, %y) {batchA = [0], batchB = [0], contractA = [2], contractB = [1]} %t: f32[2, 4, n] = transpose(%z) {perm = [0, 2, 1]} output %t",
    "input %x: f32[2, 5, n, 3] input %y: f32[5, 2, 3, 4] %z: f32[2, 5, n, 4] = dot(%x, %y) {batchA = [0, 1], batchB = [1, 0], contractA = [3], contractB = [2]} %t: f32[5, 2, n, 4] = transpose(%z) {perm = [1, 0, 2, 3]} output %t",
  ],
  rewrite(op, m) {
    const dot = m.sole(op.operands[0], "dot");
    if (dot === undefined) return null;
    const [a, b] = dot.operands as [Value, Value];
    const [batchA, batchB, contractA, contractB] = ["batchA", "batchB", "contractA", "contractB"].map((k) => ints(dot.attrs, k)) as [
      readonly number[],
      readonly number[],
      readonly number[],
      readonly number[],
    ];
    const [perm, nb] = [ints(op.attrs, "perm"), batchA.length];
    const freeA = a.dims.length - nb - contractA.length;
    const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
    const [rows, columns] = [range(nb, nb + freeA), range(nb + freeA, perm.length)];
    const batch = perm.slice(0, nb);
    if (batch.some((p) => p >= nb)) return null;
    const [left, right] = [batch.map((p) => batchA[p] as number), batch.map((p) => batchB[p] as number)];
    if (samePerm(perm.slice(nb), [...columns, ...rows]))
      return [m.g.one("dot", [b, a], { batchA: right, batchB: left, contractA: contractB, contractB: contractA })];
    return samePerm(perm.slice(nb), [...rows, ...columns]) ? [m.g.one("dot", [a, b], { batchA: left, batchB: right, contractA, contractB })] : null;
  },
};

const transposeIntoConvolution: GraphRule = {
  name: "transpose-into-convolution",
  doc: "A convolution takes its dimensions by number, so a transpose before it only renumbers them.",
  roots: ["convolution"],
  exactness: { ulp: 4 },
  examples: [
    `input %x: f32[1, 5, 5, 2] input %w: f32[3, 2, 3, 3] %t: f32[1, 2, 5, 5] = transpose(%x) {perm = [0, 3, 1, 2]}
     %y: f32[1, 3, 3, 3] = convolution(%t, %w) {strides = [1, 1], pads = [(0, 0), (0, 0)], dilation = [1, 1], inputDilation = [1, 1], groups = 1, xDims = [0, 1, 2, 3], wDims = [0, 1, 2, 3], resultDims = [0, 1, 2, 3]}
     output %y`,
  ],
  rewrite(op, m) {
    const [x, w] = op.operands.map((o) => m.is(o, "transpose"));
    if (x === undefined && w === undefined) return null;
    const through = (t: Op | undefined, key: string) => ints(op.attrs, key).map((d) => (t === undefined ? d : (ints(t.attrs, "perm")[d] as number)));
    const operands = [x?.operands[0] ?? op.operands[0], w?.operands[0] ?? op.operands[1]] as Value[];
    return [m.g.one("convolution", operands, { ...op.attrs, xDims: through(x, "xDims"), wDims: through(w, "wDims") })];
  },
};

const transposeOfConvolution: GraphRule = {
  name: "transpose-of-convolution",
  doc: "A convolution places its result's dimensions by number, so a transpose after it only renumbers them.",
  roots: ["transpose"],
  exactness: { ulp: 4 },
  examples: [
    `input %x: f32[1, 2, 5, 5] input %w: f32[3, 2, 3, 3]
     %y: f32[1, 3, 3, 3] = convolution(%x, %w) {strides = [1, 1], pads = [(0, 0), (0, 0)], dilation = [1, 1], inputDilation = [1, 1], groups = 1, xDims = [0, 1, 2, 3], wDims = [0, 1, 2, 3], resultDims = [0, 1, 2, 3]}
     %t: f32[1, 3, 3, 3] = transpose(%y) {perm = [0, 2, 3, 1]} output %t`,
  ],
  rewrite(op, m) {
    const conv = m.sole(op.operands[0], "convolution");
    if (conv === undefined) return null;
    const perm = ints(op.attrs, "perm");
    return [m.g.one("convolution", conv.operands, { ...conv.attrs, resultDims: ints(conv.attrs, "resultDims").map((d) => perm.indexOf(d)) })];
  },
};

const scalePastSum: GraphRule = {
  name: "sink-scale-reduce",
  doc: "A sum of scaled values is the scaled sum: fewer products.",
  roots: ["reduce"],
  exactness: { ulp: 8 },
  examples: [
    "input %x: f32[3, n] %c: f32[] = constant() {dtype = f32, dims = [], data = values(0.3)} %s: f32[3, n] = broadcast(%c) {dims = [3, n], map = []} %y: f32[3, n] = mul(%x, %s) %z: f32[3] = reduce(%y) {monoid = add, axes = [1]} output %z",
  ],
  rewrite(op, m) {
    const mul = op.attrs.monoid === "add" ? m.sole(op.operands[0], "mul") : undefined;
    const [x, c] = mul?.operands ?? [];
    const s = c === undefined ? null : m.splat(c);
    if (mul === undefined || x === undefined || s === null) return null;
    m.absorb(mul);
    const sum = m.g.one("reduce", [x], op.attrs);
    return [m.g.one("mul", [sum, m.g.splat(sum.dtype, sum.dims, s)])];
  },
};

/** Operator sinking. */
export const sinkingRules: readonly GraphRule[] = [
  transposePastElementwise,
  reshapePastElementwise,
  transposePastReduce,
  transposePastConcat,
  transposePastCut,
  transposeIntoDot,
  transposeOfDot,
  transposeIntoConvolution,
  transposeOfConvolution,
  scalePastSum,
];
