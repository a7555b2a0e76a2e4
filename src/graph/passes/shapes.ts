import { type Dim, addDim, dimEquals, dimMin, mulDim, subDim } from "../../base/dim.ts";
import type { DType } from "../../base/dtype.ts";
import type { Op, Value } from "../ir.ts";
import { type GraphRule, type Matcher, dimList, ints, isEmpty } from "./rules.ts";

type Rewrite = (op: Op, m: Matcher) => readonly Value[] | null;

/** A rule on an op whose operand is made by an op of the same name: two steps become one. */
function twice(
  name: string,
  doc: string,
  examples: readonly string[],
  merge: (outer: Op, inner: Op, x: Value, m: Matcher) => Value | null,
): GraphRule {
  const rewrite: Rewrite = (op, m) => {
    const inner = m.is(op.operands[0], name);
    if (inner === undefined) return null;
    m.absorb(inner);
    const y = merge(op, inner, inner.operands[0] as Value, m);
    return y === null ? null : [y];
  };
  return { name: `${name}-of-${name}`, doc, roots: [name], exactness: "exact", examples, rewrite };
}

/** Does every value of `from` have an exact representation in `to`? */
function holdsAll(from: DType, to: DType): boolean {
  if (from === to || from.kind === "bool") return true;
  if (from.isFloat) return to.isFloat && from.bits < to.bits && to.bits >= 32;
  if (to.isFloat) return to.bits >= 32 && from.bits <= (to.bits === 32 ? 24 : 53);
  if (to.kind === "bool") return false;
  return from.kind === to.kind ? to.bits >= from.bits : from.kind === "uint" && to.bits > from.bits;
}

const doubled: readonly GraphRule[] = [
  twice(
    "transpose",
    "Two transposes are one.",
    ["input %x: f32[2, n, 4] %y: f32[4, 2, n] = transpose(%x) {perm = [2, 0, 1]} %z: f32[2, 4, n] = transpose(%y) {perm = [1, 0, 2]} output %z"],
    (outer, inner, x, m) =>
      m.g.transpose(
        x,
        ints(outer.attrs, "perm").map((p) => ints(inner.attrs, "perm")[p] as number),
      ),
  ),
  twice(
    "reshape",
    "Two reshapes are the last one.",
    ["input %x: f32[2, n, 4] %y: f32[8 * n] = reshape(%x) {dims = [8 * n]} %z: f32[4, 2 * n] = reshape(%y) {dims = [4, 2 * n]} output %z"],
    (outer, _, x, m) => m.g.reshape(x, dimList(outer.attrs, "dims")),
  ),
  twice(
    "broadcast",
    "Two broadcasts are one.",
    [
      "input %x: f32[n, 1] %y: f32[n, 3] = broadcast(%x) {dims = [n, 3], map = [0, 1]} %z: f32[2, n, 3] = broadcast(%y) {dims = [2, n, 3], map = [1, 2]} output %z",
    ],
    (outer, inner, x, m) =>
      m.g.broadcast(
        x,
        dimList(outer.attrs, "dims"),
        ints(inner.attrs, "map").map((d) => ints(outer.attrs, "map")[d] as number),
      ),
  ),
  twice(
    "reverse",
    "Two reversals undo each other on the axes they share.",
    ["input %x: f32[2, 3] %y: f32[2, 3] = reverse(%x) {axes = [0, 1]} %z: f32[2, 3] = reverse(%y) {axes = [0]} output %z"],
    (outer, inner, x, m) => {
      const [a, b] = [ints(outer.attrs, "axes"), ints(inner.attrs, "axes")];
      const axes = [...a.filter((d) => !b.includes(d)), ...b.filter((d) => !a.includes(d))];
      return axes.length === 0 ? x : m.g.one("reverse", [x], { axes });
    },
  ),
  twice(
    "slice",
    "A slice of a slice is one slice.",
    [
      "input %x: f32[9] %y: f32[6] = slice(%x) {start = [1], stride = [1], dims = [6]} %z: f32[3] = slice(%y) {start = [5], stride = [-2], dims = [3]} output %z",
    ],
    (outer, inner, x, m) => {
      if (isEmpty((outer.results[0] as Value).dims)) return null;
      const [by, from] = [ints(inner.attrs, "stride"), dimList(inner.attrs, "start")];
      const start = dimList(outer.attrs, "start").map((s, i) => addDim(from[i] as Dim, mulDim(s, by[i] as number)));
      return m.g.one("slice", [x], {
        start,
        stride: ints(outer.attrs, "stride").map((s, i) => s * (by[i] as number)),
        dims: dimList(outer.attrs, "dims"),
      });
    },
  ),
  twice(
    "pad",
    "Padding with the same value twice is padding once.",
    ["input %x: f32[3] input %v: f32[] %y: f32[5] = pad(%x, %v) {low = [1], high = [1]} %z: f32[7] = pad(%y, %v) {low = [0], high = [2]} output %z"],
    (outer, inner, x, m) => {
      const v = outer.operands[1] as Value;
      const edges = (key: string) => [dimList(outer.attrs, key), dimList(inner.attrs, key)] as const;
      // An inner crop must not give back elements that the outer pad replaces.
      if (v !== inner.operands[1] || [...edges("low"), ...edges("high")].flat().some((d) => dimMin(d) < 0)) return null;
      const sum = (key: string) => edges(key)[0].map((d, i) => addDim(d, edges(key)[1][i] as Dim));
      return m.g.one("pad", [x, v], { low: sum("low"), high: sum("high") });
    },
  ),
  twice(
    "convert",
    "A conversion through a dtype that holds every value of the first is no detour.",
    [
      "input %x: i8[3] %y: f32[3] = convert(%x) {dtype = f32} %z: i64[3] = convert(%y) {dtype = i64} output %z",
      "input %x: f32[3] %y: f64[3] = convert(%x) {dtype = f64} %z: f32[3] = convert(%y) {dtype = f32} %w: f32[3] = exp(%z) output %w",
    ],
    (outer, inner, x, m) => (holdsAll(x.dtype, (inner.results[0] as Value).dtype) ? m.g.convert(x, (outer.results[0] as Value).dtype) : null),
  ),
];

/** Positions of the dimensions that are not 1. */
const realDims = (dims: readonly Dim[]): number[] => dims.map((_, i) => i).filter((i) => dims[i] !== 1);

/** For dims that differ from others only in 1s: where each dimension of `from` is in `to`, 1s where they fit, or null. */
function unitMap(from: readonly Dim[], to: readonly Dim[]): number[] | null {
  const [a, b] = [realDims(from), realDims(to)];
  if (a.length !== b.length || !a.every((d, i) => dimEquals(from[d] as Dim, to[b[i] as number] as Dim))) return null;
  const out: number[] = [];
  let at = 0;
  for (const d of from) {
    // A 1 takes a place before the next real dimension; a real dimension skips the 1s before its own.
    while (d !== 1 && at < to.length && to[at] === 1) at++;
    if (at >= to.length || !dimEquals(to[at] as Dim, d)) return null;
    out.push(at++);
  }
  return out;
}

const broadcastOfReshape: GraphRule = {
  name: "broadcast-of-reshape",
  doc: "A broadcast places dimensions anywhere, so a reshape that only puts in 1s before it is not needed; 1s that have no place left go.",
  roots: ["broadcast"],
  exactness: "exact",
  examples: [
    "input %x: f32[c] %y: f32[1, c, 1] = reshape(%x) {dims = [1, c, 1]} %z: f32[2, c, 5] = broadcast(%y) {dims = [2, c, 5], map = [0, 1, 2]} output %z",
    "input %x: f32[3, 1] %y: f32[3] = reshape(%x) {dims = [3]} %z: f32[2, 3, 5] = broadcast(%y) {dims = [2, 3, 5], map = [1]} output %z",
  ],
  rewrite(op, m) {
    const inner = m.is(op.operands[0], "reshape");
    if (inner === undefined) return null;
    const [x, y] = [inner.operands[0] as Value, inner.results[0] as Value];
    const [map, dims] = [ints(op.attrs, "map"), dimList(op.attrs, "dims")];
    const direct = unitMap(x.dims, y.dims);
    if (direct !== null)
      return [
        m.g.broadcast(
          x,
          dims,
          direct.map((d) => map[d] as number),
        ),
      ];
    // The other way about: x has 1s that y lacks. They may stretch over any dimension that y leaves free.
    const places = unitMap(y.dims, x.dims);
    if (places === null) return null;
    const out: number[] = [];
    for (let i = 0; i < x.dims.length; i++) {
      const k = places.indexOf(i);
      const last = out[i - 1] ?? -1;
      out.push(k >= 0 ? (map[k] as number) : last + 1);
      if ((out[i] as number) <= last || (out[i] as number) >= dims.length) return null;
    }
    return [m.g.broadcast(x, dims, out)];
  },
};

const reshapeOfBroadcast: GraphRule = {
  name: "reshape-of-broadcast",
  doc: "Putting in or dropping 1s after a broadcast is a broadcast to those dims.",
  roots: ["reshape"],
  exactness: "exact",
  examples: [
    "input %x: f32[c] %y: f32[2, c] = broadcast(%x) {dims = [2, c], map = [1]} %z: f32[2, c, 1, 1] = reshape(%y) {dims = [2, c, 1, 1]} output %z",
  ],
  rewrite(op, m) {
    const inner = m.is(op.operands[0], "broadcast");
    if (inner === undefined) return null;
    const dims = (op.results[0] as Value).dims;
    const places = unitMap((inner.results[0] as Value).dims, dims);
    if (places === null) return null;
    return [
      m.g.broadcast(
        inner.operands[0] as Value,
        dims,
        ints(inner.attrs, "map").map((d) => places[d] as number),
      ),
    ];
  },
};

const transposeOfBroadcast: GraphRule = {
  name: "transpose-of-broadcast",
  doc: "Transposing what was repeated is repeating what was transposed: the transpose works on less, or goes.",
  roots: ["transpose"],
  exactness: "exact",
  examples: [
    "input %x: f32[c] %y: f32[2, c, 3] = broadcast(%x) {dims = [2, c, 3], map = [1]} %z: f32[2, 3, c] = transpose(%y) {perm = [0, 2, 1]} output %z",
    "input %x: f32[4, c] %y: f32[2, 4, c] = broadcast(%x) {dims = [2, 4, c], map = [1, 2]} %z: f32[c, 2, 4] = transpose(%y) {perm = [2, 0, 1]} output %z",
  ],
  rewrite(op, m) {
    const inner = m.is(op.operands[0], "broadcast");
    const x = inner?.operands[0];
    if (inner === undefined || x === undefined) return null;
    const perm = ints(op.attrs, "perm");
    const places = ints(inner.attrs, "map").map((d) => perm.indexOf(d));
    const order = places.map((_, i) => i).sort((a, b) => (places[a] as number) - (places[b] as number));
    return [
      m.g.broadcast(
        m.g.transpose(x, order),
        (op.results[0] as Value).dims,
        order.map((i) => places[i] as number),
      ),
    ];
  },
};

const sliceOfConcat: GraphRule = {
  name: "slice-of-concat",
  doc: "A slice that lies within one operand of a concatenation is a slice of that operand.",
  roots: ["slice"],
  exactness: "exact",
  examples: [
    "input %a: f32[n, 2] input %b: f32[n, 5] %c: f32[n, 7] = concat(%a, %b) {axis = 1} %y: f32[n, 3] = slice(%c) {start = [0, 3], stride = [1, 1], dims = [n, 3]} output %y",
  ],
  rewrite(op, m) {
    const cat = m.is(op.operands[0], "concat");
    if (cat === undefined) return null;
    const axis = cat.attrs.axis as number;
    const [start, stride, dims] = [dimList(op.attrs, "start"), ints(op.attrs, "stride")[axis] as number, dimList(op.attrs, "dims")];
    const first = start[axis] as Dim;
    const last = addDim(first, mulDim(subDim(dims[axis] as Dim, 1), stride));
    let offset: Dim = 0;
    for (const part of cat.operands) {
      const end = addDim(offset, part.dims[axis] as Dim);
      if ([first, last].every((i) => dimMin(subDim(i, offset)) >= 0 && dimMin(subDim(end, addDim(i, 1))) >= 0)) {
        return [m.g.one("slice", [part], { ...op.attrs, start: start.with(axis, subDim(first, offset)) })];
      }
      offset = end;
    }
    return null;
  },
};

interface Cut {
  readonly x: Value;
  readonly start: Dim;
  readonly size: Dim;
}
/** Is it a slice of consecutive elements along `axis` and everything elsewhere? */
function cut(op: Op | undefined, axis: number): Cut | null {
  const [x, y] = [op?.operands[0], op?.results[0]];
  if (op === undefined || x === undefined || y === undefined || ints(op.attrs, "stride").some((s) => s !== 1)) return null;
  const start = dimList(op.attrs, "start");
  if (x.dims.some((d, i) => i !== axis && (start[i] !== 0 || !dimEquals(d, y.dims[i] as Dim)))) return null;
  return { x, start: start[axis] as Dim, size: y.dims[axis] as Dim };
}

const concatOfSlices: GraphRule = {
  name: "concat-of-slices",
  doc: "Neighbouring slices of one value that are put together again are one slice.",
  roots: ["concat"],
  exactness: "exact",
  examples: [
    `input %x: f32[7] input %e: f32[2]
     %a: f32[2] = slice(%x) {start = [1], stride = [1], dims = [2]} %b: f32[3] = slice(%x) {start = [3], stride = [1], dims = [3]}
     %y: f32[7] = concat(%a, %b, %e) {axis = 0} output %y`,
  ],
  rewrite(op, m) {
    const axis = op.attrs.axis as number;
    const parts: Value[] = [];
    let open: Cut | null = null;
    for (const o of op.operands) {
      const before: Cut | null = open;
      const c = cut(m.is(o, "slice"), axis);
      if (before !== null && c !== null && c.x === before.x && dimEquals(addDim(before.start, before.size), c.start)) {
        const { x, start }: Cut = before;
        const size: Dim = addDim(before.size, c.size);
        open = { x, start, size };
        parts[parts.length - 1] = m.g.one("slice", [x], {
          start: x.dims.map((_, i) => (i === axis ? start : 0)),
          stride: x.dims.map(() => 1),
          dims: x.dims.with(axis, size),
        });
      } else {
        parts.push(o);
        open = c;
      }
    }
    return parts.length === op.operands.length ? null : [m.g.one("concat", parts, op.attrs)];
  },
};

const concatOfConcat: GraphRule = {
  name: "concat-of-concat",
  doc: "A concatenation of which only another one along the same axis makes use is part of it. (One that others use stays: the larger can then be laid around it.)",
  roots: ["concat"],
  exactness: "exact",
  examples: [
    "input %a: f32[n, 2] input %b: f32[n, 3] input %c: f32[n, 1] %x: f32[n, 5] = concat(%a, %b) {axis = 1} %y: f32[n, 6] = concat(%c, %x) {axis = 1} output %y",
  ],
  rewrite(op, m) {
    const inner = op.operands.map((o) => m.sole(o, "concat")).map((i) => (i?.attrs.axis === op.attrs.axis ? i : undefined));
    // Twice the same operand is one user, but would copy the list; and long lists are not copied again and again.
    const length = op.operands.reduce((n, _, i) => n + (inner[i]?.operands.length ?? 1), 0);
    if (inner.every((i) => i === undefined) || new Set(op.operands).size !== op.operands.length || length > 256) return null;
    m.absorb(...inner.filter((i) => i !== undefined));
    return [
      m.g.one(
        "concat",
        op.operands.flatMap((o, i) => inner[i]?.operands ?? [o]),
        op.attrs,
      ),
    ];
  },
};

const sliceOfBroadcast: GraphRule = {
  name: "slice-of-broadcast",
  doc: "A slice that cuts only repeated dimensions is a broadcast to fewer repeats.",
  roots: ["slice"],
  exactness: "exact",
  examples: [
    "input %x: f32[n] %y: f32[4, n] = broadcast(%x) {dims = [4, n], map = [1]} %z: f32[2, n] = slice(%y) {start = [1, 0], stride = [1, 1], dims = [2, n]} output %z",
  ],
  rewrite(op, m) {
    const inner = m.is(op.operands[0], "broadcast");
    const x = inner?.operands[0];
    if (inner === undefined || x === undefined || isEmpty((op.results[0] as Value).dims)) return null;
    const map = ints(inner.attrs, "map");
    const [start, stride, dims] = [dimList(op.attrs, "start"), ints(op.attrs, "stride"), dimList(op.attrs, "dims")];
    const whole = map.every((d, i) => x.dims[i] === 1 || (start[d] === 0 && stride[d] === 1 && dimEquals(dims[d] as Dim, x.dims[i] as Dim)));
    return whole ? [m.g.broadcast(x, dims, map)] : null;
  },
};

/** Algebra of the ops that only move elements. */
export const shapeRules: readonly GraphRule[] = [
  ...doubled,
  broadcastOfReshape,
  reshapeOfBroadcast,
  transposeOfBroadcast,
  sliceOfConcat,
  concatOfSlices,
  concatOfConcat,
  sliceOfBroadcast,
];
