import { type Dim, ceilDivDim, dimsEqual, productOf } from "../../base/dim.ts";
import { bool, f32, i32 } from "../../base/dtype.ts";
import type { Expr } from "../../scalar/expr.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import type { OpaqueBuilder } from "../../tensor/opaque-builder.ts";
import type { Tensor } from "../../tensor/ir.ts";
import { type HostTensor, hostTensor } from "../host.ts";
import { type LowerContext, type TensorType, defineOp } from "../op.ts";
import { compareElements, heapOrder, siftDown, takeItem } from "./ordering.ts";

/** Elements that are counted together. */
const block = 2048;

const positionsWhere = defineOp({
  name: "positions_where",
  doc: "The positions of the elements that are true, in order, followed by zeros; and how many there are.",
  operands: ["mask"],
  attrs: {},
  constraints: ["C1: mask is a bool of rank 1."],
  infer({ operands: [mask], fail }) {
    const t = mask as TensorType;
    if (t.dtype !== bool || t.dims.length !== 1) return fail("C1", `got ${t.dtype} of rank ${t.dims.length}`);
    return [
      { dtype: i32, dims: t.dims },
      { dtype: i32, dims: [] },
    ];
  },
  evaluate({ operands: [mask] }) {
    if (mask === undefined) return [];
    const [positions, count] = [hostTensor(i32, mask.dims), hostTensor(i32, [])];
    let n = 0;
    for (let i = 0; i < mask.data.length; i++) if (mask.data[i] !== 0) positions.data[n++] = i;
    count.data[0] = n;
    return [positions, count];
  },
  lower({ b, sc, operands: [mask], results: [positions, count] }) {
    if (mask === undefined || positions === undefined || count === undefined) return;
    const n = mask.dims[0] as Dim;
    const blocks = ceilDivDim(n, block);
    // Blocks of elements are counted first, so that each knows where its positions belong.
    const counts = b.tensor(`${positions.name}.counts`, i32, [blocks], positions.origin);
    const range = (o: OpaqueBuilder, at: Expr): readonly [Expr, Expr] => {
      const begin = o.let("begin", sc.mul(at, sc.int(block)));
      return [begin, o.let("end", sc.min(sc.add(begin, sc.int(block)), sc.dim(n)))];
    };
    b.opaque(counts.name, [blocks], 2 * block, positions.origin, (o, [at]) => {
      const found = o.cell("found", sc.int(0));
      o.for("i", ...range(o, at as Expr), (i) => found.set(sc.add(found.value, sc.cast(i32, o.read(mask, i)))));
      o.write(counts, [at as Expr], found.value);
    });
    b.reduce(count, [blocks], "add", (_, [r]) => sc.load(counts, [r as Expr]));
    b.opaque(positions.name, [blocks], 8 * block, positions.origin, (o, [at]) => {
      const own = o.local("own", i32, [block]);
      const first = o.cell("first", sc.int(0));
      o.for("before", sc.int(0), at as Expr, (i) => first.set(sc.add(first.value, o.read(counts, i))));
      const [begin, end] = range(o, at as Expr);
      const found = o.cell("found", sc.int(0));
      // Each position is put where the next one found belongs, and stays there if it is one: that needs no branch.
      o.for("i", begin, end, (i) => {
        o.write(own, [found.value], i);
        found.set(sc.add(found.value, sc.cast(i32, o.read(mask, i))));
      });
      o.for("i", sc.int(0), found.value, (i) => o.write(positions, [sc.add(first.value, i)], o.read(own, i)));
      o.for("rest", sc.max(begin, o.read(count)), end, (i) => o.write(positions, [i], sc.int(0)));
    });
  },
  examples: [
    { operands: [{ type: "bool[67]", range: [0, 2] }], attrs: {} },
    { operands: [{ type: "bool[5000]", range: [0, 2] }], attrs: {} },
  ],
});

/** The parts of a box: its low and high corners, and its area. */
interface Box<T> {
  readonly low: readonly T[];
  readonly high: readonly T[];
  readonly area: T;
}

/** Do boxes overlap by more than the threshold? The reference, rounding as f32 does. */
function overlapping(a: Box<number>, b: Box<number>, threshold: number): boolean {
  const sides = [0, 1].map((d) => Math.fround(Math.min(a.high[d] as number, b.high[d] as number) - Math.max(a.low[d] as number, b.low[d] as number)));
  const [h, w] = sides as [number, number];
  if (!(h > 0 && w > 0 && a.area > 0 && b.area > 0)) return false;
  const inside = Math.fround(h * w);
  return inside > 0 && Math.fround(inside / Math.fround(Math.fround(a.area + b.area) - inside)) > threshold;
}

function overlappingExpr(sc: Scalars, a: Box<Expr>, b: Box<Expr>, threshold: Expr): Expr {
  const zero = sc.f32(0);
  const positive = (e: Expr): Expr => sc.op("gt", [e, zero]);
  const [h, w] = [0, 1].map((d) => sc.sub(sc.min(a.high[d] as Expr, b.high[d] as Expr), sc.max(a.low[d] as Expr, b.low[d] as Expr))) as [Expr, Expr];
  const inside = sc.mul(h, w);
  const share = sc.op("div", [inside, sc.sub(sc.add(a.area, b.area), inside)]);
  const conditions = [positive(h), positive(w), positive(a.area), positive(b.area), positive(inside), sc.op("gt", [share, threshold])];
  return conditions.reduce((x, y) => sc.and(x, y));
}

const parts = ["low0", "low1", "high0", "high1", "area"] as const;

/** One list of scores: candidates by falling score, each kept unless it overlaps one that was kept before. */
function suppressPoint(o: OpaqueBuilder, c: LowerContext<unknown>, [batch, list]: readonly [Expr, Expr], capacity: Dim): void {
  const { sc } = c;
  const [boxes, scores, limit, threshold, least] = c.operands as [Tensor, Tensor, Tensor, Tensor, Tensor | undefined];
  const [selected, counts] = c.results as [Tensor, Tensor];
  const n = boxes.dims[1] as Dim;
  const heap = { keys: o.local("scores", f32, [n]), positions: o.local("positions", i32, [n]) };
  const kept = parts.map((name) => o.local(name, f32, [capacity]));
  const order = heapOrder(sc, true, false);
  const size = o.cell("size", sc.int(0));
  o.for("i", sc.int(0), sc.dim(n), (i) => {
    const score = o.let("score", o.read(scores, batch, list, i));
    const add = (): void => {
      o.write(heap.keys, [size.value], score);
      o.write(heap.positions, [size.value], i);
      size.increment();
    };
    if (least === undefined) add();
    else o.if(sc.op("gt", [score, o.read(least)]), add);
  });
  const candidates = o.let("candidates", size.value);
  const half = o.let("half", sc.op("shr", [candidates, sc.int(1)]));
  o.for("i", sc.int(0), half, (i) => {
    const start = o.let("start", sc.sub(sc.sub(half, sc.int(1)), i));
    siftDown(o, heap, order, takeItem(o, heap, start), start, candidates, n);
  });
  const most = o.let("most", sc.min(o.read(limit), sc.dim(capacity)));
  const count = o.cell("count", sc.int(0));
  o.for("taken", sc.int(0), candidates, (taken) =>
    o.if(sc.op("lt", [count.value, most]), () => {
      const top = o.let("top", o.read(heap.positions, sc.int(0)));
      const last = o.let("last", sc.sub(sc.sub(candidates, taken), sc.int(1)));
      siftDown(o, heap, order, takeItem(o, heap, last), sc.int(0), last, n);
      const corner = (k: number): Expr => o.let(parts[k] as string, o.read(boxes, batch, top, sc.int(k)));
      const [low, high] = [
        [corner(0), corner(1)],
        [corner(2), corner(3)],
      ] as const;
      const area = o.let("area", sc.mul(sc.sub(high[0], low[0]), sc.sub(high[1], low[1])));
      const stays = o.cell("stays", sc.bool(true));
      o.for("other", sc.int(0), count.value, (other) =>
        o.if(stays.value, () => {
          const [l0, l1, h0, h1, a] = kept.map((t) => o.read(t, other)) as [Expr, Expr, Expr, Expr, Expr];
          const overlaps = overlappingExpr(sc, { low, high, area }, { low: [l0, l1], high: [h0, h1], area: a }, o.read(threshold));
          stays.set(sc.op("not", [overlaps]));
        }),
      );
      o.if(stays.value, () => {
        [...low, ...high, area].forEach((e, k) => {
          o.write(kept[k] as Tensor, [count.value], e);
        });
        o.write(selected, [batch, list, count.value], top);
        count.increment();
      });
    }),
  );
  o.write(counts, [batch, list], count.value);
  o.for("rest", count.value, sc.dim(capacity), (i) => o.write(selected, [batch, list, i], sc.int(0)));
}

/** The reference: one list of scores. */
function suppressList(
  boxes: HostTensor,
  scores: HostTensor,
  batch: number,
  list: number,
  least: number | null,
  most: number,
  threshold: number,
): number[] {
  const n = boxes.dims[1] as number;
  const score = (i: number): number => scores.data[list * n + i] as number;
  const boxAt = (i: number): Box<number> => {
    const [a, b, c, d] = Array.from(boxes.data.subarray((batch * n + i) * 4, (batch * n + i) * 4 + 4) as Float64Array) as [
      number,
      number,
      number,
      number,
    ];
    return { low: [a, b], high: [c, d], area: Math.fround(Math.fround(c - a) * Math.fround(d - b)) };
  };
  const candidates = Array.from({ length: n }, (_, i) => i).filter((i) => least === null || score(i) > least);
  const out: number[] = [];
  for (const i of candidates.sort((a, b) => compareElements(score(a), score(b), true) || a - b)) {
    if (out.length >= most) break;
    if (!out.some((k) => overlapping(boxAt(i), boxAt(k), threshold))) out.push(i);
  }
  return out;
}

const suppressOverlaps = defineOp({
  name: "suppress_overlaps",
  doc: "Goes through boxes by falling score, for each batch and each of its lists of scores, and keeps a box unless it overlaps one that was kept before by more than `threshold` (area of the intersection over that of the union). Boxes are [low0, low1, high0, high1]. At most `limit` boxes are kept, never more than `capacity`; with an operand `least` only boxes of a higher score than that are looked at. Results: the positions of the boxes kept, in that order, followed by zeros; and how many they are.",
  operands: ["boxes", "scores", "limit", "threshold", "least..."],
  attrs: { capacity: "dims" },
  constraints: [
    "C1: boxes is f32[batch, n, 4], scores f32[batch, lists, n].",
    "C2: limit is i32[], threshold f32[], and least, if there is one, f32[].",
    "C3: capacity is one dim.",
  ],
  infer({ operands: [boxes, scores, limit, ...levels], attrs, fail }) {
    const [b, s] = [boxes as TensorType, scores as TensorType];
    const [batch, lists] = s.dims;
    if (
      b.dtype !== f32 ||
      s.dtype !== f32 ||
      batch === undefined ||
      lists === undefined ||
      !dimsEqual(b.dims, [batch, s.dims[2] ?? 0, 4]) ||
      s.dims.length !== 3
    )
      return fail("C1", `got boxes [${b.dims.join(", ")}] and scores [${s.dims.join(", ")}]`);
    const scalar = (t: TensorType | undefined): boolean => t?.dims.length === 0;
    if (!scalar(limit) || limit?.dtype !== i32 || levels.length > 2 || levels.some((t) => !scalar(t) || t.dtype !== f32))
      return fail("C2", "expected scalars");
    const [capacity] = attrs.capacity;
    if (capacity === undefined || attrs.capacity.length !== 1) return fail("C3", `got [${attrs.capacity.join(", ")}]`);
    return [
      { dtype: i32, dims: [batch, lists, capacity] },
      { dtype: i32, dims: [batch, lists] },
    ];
  },
  evaluate({ operands: [boxes, scores, limit, threshold, least], types: [out, counted] }) {
    if (boxes === undefined || scores === undefined || out === undefined || counted === undefined) return [];
    const [selected, counts] = [hostTensor(i32, out.dims), hostTensor(i32, counted.dims)];
    const [lists, capacity] = [out.dims[1] as number, out.dims[2] as number];
    const most = Math.min(Number(limit?.data[0]), capacity);
    for (let row = 0; row < counts.data.length; row++) {
      const from = least === undefined ? null : Number(least.data[0]);
      const kept = suppressList(boxes, scores, Math.floor(row / lists), row, from, most, Number(threshold?.data[0]));
      counts.data[row] = kept.length;
      kept.forEach((k, i) => {
        selected.data[row * capacity + i] = k;
      });
    }
    return [selected, counts];
  },
  lower(c) {
    const [selected] = c.results;
    const [capacity] = c.attrs.capacity;
    if (selected === undefined || capacity === undefined) return;
    const n = (c.operands[0] as Tensor).dims[1] as Dim;
    c.b.opaque(selected.name, selected.dims.slice(0, 2), productOf([20, n]), selected.origin, (o, [batch, list]) =>
      suppressPoint(o, c, [batch as Expr, list as Expr], capacity),
    );
  },
  examples: [
    {
      operands: [
        { type: "f32[2, 40, 4]", range: [0, 4] },
        { type: "f32[2, 3, 40]", range: [0, 1] },
        { type: "i32[]", range: [8, 9] },
        { type: "f32[]", range: [0.1, 0.2] },
        { type: "f32[]", range: [0.2, 0.3] },
      ],
      attrs: { capacity: [12] },
    },
    {
      operands: [
        { type: "f32[1, 9, 4]", range: [0, 1] },
        { type: "f32[1, 2, 9]" },
        { type: "i32[]", range: [20, 21] },
        { type: "f32[]", range: [0.3, 0.4] },
      ],
      attrs: { capacity: [9] },
    },
  ],
});

export const selectionOps = [positionsWhere, suppressOverlaps] as const;
