import { type Dim, dimEquals, dimMin, productOf, subDim } from "../../base/dim.ts";
import { i32 } from "../../base/dtype.ts";
import type { Num } from "../../base/numeric.ts";
import type { Expr } from "../../scalar/expr.ts";
import type { OpaqueBuilder } from "../../tensor/opaque-builder.ts";
import type { Tensor } from "../../tensor/ir.ts";
import { hostFrom } from "../host.ts";
import { type LowerContext, type TensorType, defineOp } from "../op.ts";
import { comesBefore, compareElements, heapOrder, keyType, lastKey, mergeSort, siftDown, takeItem } from "./ordering.ts";

/** A size to reckon with where it is not known. */
const typical = (d: Dim): number => (typeof d === "number" ? d : Math.max(1024, dimMin(d)));
const log2 = (n: number): number => Math.ceil(Math.log2(Math.max(2, n)));

/** Operations to sort n elements: each pass takes every element once. */
const mergeCost = (n: number): number => 12 * n * log2(n);
/**
 * Operations to keep the first k in a heap: each element is compared, and of elements in random order k·ln(n/k) go into the heap,
 * which is emptied at the end.
 */
const heapCost = (n: number, k: number): number => 6 * n + (k * Math.log(Math.max(1, n / k)) + 2 * k) * log2(k) * 15;

type Row = LowerContext<unknown> & { readonly descending: boolean; readonly n: Dim; readonly count: Dim };

/** All positions in order, of which the first `count` are wanted. */
function sortRow(o: OpaqueBuilder, c: Row, at: readonly Expr[]): void {
  const { sc, n, operands, results } = c;
  const x = operands[0] as Tensor;
  const d = keyType(x.dtype);
  const twice = productOf([2, n]);
  const [keys, positions] = [o.local("keys", d, [twice]), o.local("positions", i32, [twice])];
  o.for("i", sc.int(0), sc.dim(n), (i) => {
    o.write(keys, [i], sc.cast(d, o.read(x, ...at, i)));
    o.write(positions, [i], i);
  });
  const from = mergeSort(o, n, [keys, positions], (a, b) => comesBefore(sc, o.read(keys, a), o.read(keys, b), c.descending));
  o.for("i", sc.int(0), sc.dim(c.count), (i) => o.write(results[0] as Tensor, [...at, i], o.read(positions, sc.add(from, i))));
}

/** The first `count` positions: a heap of those found so far has the last of them at its top. */
function selectRow(o: OpaqueBuilder, c: Row, at: readonly Expr[]): void {
  const { sc, operands, results, descending } = c;
  const x = operands[0] as Tensor;
  const d = keyType(x.dtype);
  const k = sc.dim(c.count);
  const heap = { keys: o.local("keys", d, [c.count]), positions: o.local("positions", i32, [c.count]) };
  const order = heapOrder(sc, descending, true);
  // Until there are as many, places hold what comes after all elements.
  o.for("i", sc.int(0), k, (i) => {
    o.write(heap.keys, [i], lastKey(sc, d, descending));
    o.write(heap.positions, [i], sc.int(2 ** 31 - 1));
  });
  o.for("i", sc.int(0), sc.dim(c.n), (i) => {
    const item = { key: o.let("key", sc.cast(d, o.read(x, ...at, i))), position: i };
    const top = { key: o.read(heap.keys, sc.int(0)), position: o.read(heap.positions, sc.int(0)) };
    o.if(order(top, item), () => siftDown(o, heap, order, item, sc.int(0), k, c.count));
  });
  o.for("taken", sc.int(0), k, (taken) => {
    const size = o.let("size", sc.sub(sc.sub(k, taken), sc.int(1)));
    o.write(results[0] as Tensor, [...at, size], o.read(heap.positions, sc.int(0)));
    siftDown(o, heap, order, takeItem(o, heap, size), sc.int(0), size, c.count);
  });
}

const argsort = defineOp({
  name: "argsort",
  doc: "The positions, in order, of the first `count` elements along the last dimension, were it sorted: ascending with NaN last, or the reverse of that if `descending`. Equal elements (-0 and 0 among them) come in the order of their positions.",
  operands: ["x"],
  attrs: { count: "dims", descending: "bool" },
  constraints: ["C1: x has a dimension.", "C2: `count` is one dim, at most the size of x's last one."],
  infer({ operands: [x], attrs, fail }) {
    const t = x as TensorType;
    const n = t.dims[t.dims.length - 1];
    const [count] = attrs.count;
    if (n === undefined) return fail("C1", "rank 0");
    if (count === undefined || attrs.count.length !== 1 || dimMin(subDim(count, n)) > 0) return fail("C2", `got [${attrs.count.join(", ")}] of ${n}`);
    return [{ dtype: i32, dims: t.dims.with(-1, count) }];
  },
  evaluate({ operands: [x], attrs, types: [out] }) {
    if (x === undefined || out === undefined) return [];
    const n = x.dims[x.dims.length - 1] as number;
    const k = out.dims[out.dims.length - 1] as number;
    const rows = new Map<number, readonly number[]>();
    const order = (row: number): readonly number[] => {
      const data = x.data.subarray(row * n, (row + 1) * n);
      const positions = Array.from({ length: n }, (_, i) => i);
      return positions.sort((a, b) => compareElements(data[a] as Num, data[b] as Num, attrs.descending));
    };
    return [
      hostFrom(i32, out.dims, (i) => {
        const row = Math.floor(i / k);
        if (!rows.has(row)) rows.set(row, order(row));
        return rows.get(row)?.[i % k] as number;
      }),
    ];
  },
  lower(c) {
    const [x, result] = [c.operands[0], c.results[0]];
    const n = x?.dims[x.dims.length - 1];
    const [count] = c.attrs.count;
    if (result === undefined || n === undefined || count === undefined) return;
    const [all, some] = [mergeCost(typical(n)), heapCost(typical(n), typical(count))];
    const selects = typeof count === "number" && some < all && !dimEquals(count, n);
    const row: Row = { ...c, attrs: null, descending: c.attrs.descending, n, count };
    c.b.opaque(result.name, result.dims.slice(0, -1), Math.ceil(selects ? some : all), result.origin, (o, at) =>
      (selects ? selectRow : sortRow)(o, row, at),
    );
  },
  examples: [
    { operands: [{ type: "f32[5, 37]" }], attrs: { count: [37], descending: false } },
    { operands: [{ type: "f32[3, 100]" }], attrs: { count: [3], descending: true } },
    { operands: [{ type: "i32[2, 4, 33]", range: [-5, 5] }], attrs: { count: [20], descending: true } },
    { operands: [{ type: "i64[90]", range: [-20, 20] }], attrs: { count: [5], descending: false } },
    { operands: [{ type: "f16[64]", range: [-1, 1] }], attrs: { count: [1], descending: true } },
  ],
});

const argsortRows = defineOp({
  name: "argsort_rows",
  doc: "The positions of a matrix's rows in the order of the rows: by their first elements, where those are equal by the second ones, and so on, each ascending with NaN last. Equal rows come in the order of their positions.",
  operands: ["x"],
  attrs: {},
  constraints: ["C1: x has two dimensions."],
  infer({ operands: [x], fail }) {
    const t = x as TensorType;
    if (t.dims.length !== 2) return fail("C1", `rank ${t.dims.length}`);
    return [{ dtype: i32, dims: [t.dims[0] as Dim] }];
  },
  evaluate({ operands: [x], types: [out] }) {
    if (x === undefined || out === undefined) return [];
    const m = x.dims[1] as number;
    const compare = (a: number, b: number): number => {
      for (let i = 0; i < m; i++) {
        const order = compareElements(x.data[a * m + i] as Num, x.data[b * m + i] as Num, false);
        if (order !== 0) return order;
      }
      return 0;
    };
    const order = Array.from({ length: x.dims[0] as number }, (_, i) => i).sort(compare);
    return [hostFrom(i32, out.dims, (i) => order[i] as number)];
  },
  lower({ b, sc, operands: [x], results: [result] }) {
    if (x === undefined || result === undefined) return;
    const [n, m] = x.dims as [Dim, Dim];
    b.opaque(result.name, [], mergeCost(typical(n)), result.origin, (o) => {
      const positions = o.local("positions", i32, [productOf([2, n])]);
      o.for("i", sc.int(0), sc.dim(n), (i) => o.write(positions, [i], i));
      const from = mergeSort(o, n, [positions], (p, q) => {
        const [left, right] = [o.let("p", o.read(positions, p)), o.let("q", o.read(positions, q))];
        const order = o.cell("order", sc.int(0));
        o.for("column", sc.int(0), sc.dim(m), (column) =>
          o.if(sc.op("eq", [order.value, sc.int(0)]), () => {
            const [a, z] = [left, right].map((row) => o.let("element", sc.cast(keyType(x.dtype), o.read(x, row, column)))) as [Expr, Expr];
            const later = sc.select(comesBefore(sc, z, a, false), sc.int(1), sc.int(0));
            order.set(sc.select(comesBefore(sc, a, z, false), sc.int(-1), later));
          }),
        );
        return sc.op("lt", [order.value, sc.int(0)]);
      });
      o.for("i", sc.int(0), sc.dim(n), (i) => o.write(result, [i], o.read(positions, sc.add(from, i))));
    });
  },
  examples: [
    { operands: [{ type: "i32[23, 3]", range: [0, 3] }], attrs: {} },
    { operands: [{ type: "f32[9, 2]" }], attrs: {} },
    { operands: [{ type: "u8[7, 1]", range: [0, 3] }], attrs: {} },
  ],
});

export const sortingOps = [argsort, argsortRows] as const;
