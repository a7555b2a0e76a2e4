import { type DType, i32, u2, u4, u8 } from "../../base/dtype.ts";
import type { Expr } from "../../scalar/expr.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { Buffer, type Kernel, type Stmt, isBuffer, mapBlock, mapStmt } from "../ir.ts";

/**
 * Buffers of elements narrower than a byte become buffers of bytes: of n elements to a byte, element i lies in byte i / n, the first
 * in its lowest bits. A load shifts its bits down and narrows them, which extends the sign of integers that have one; a store
 * replaces its bits of the byte.
 */
export function unpackBits(sc: Scalars, k: Kernel): Kernel {
  const bytes = new Map<Buffer, Buffer>();
  const bytesOf = (b: Buffer): Buffer => {
    if (b.dtype.bits >= 8 || b.space === "register") return b;
    let r = bytes.get(b);
    if (r === undefined) {
      r = new Buffer(sc.freshId(), b.name, u8, b.space, b.size);
      bytes.set(b, r);
    }
    return r;
  };
  const place = (d: DType, index: Expr) => sc.op("shr", [index, sc.int(3 - Math.log2(d.bits))]);
  const shift = (d: DType, index: Expr) => sc.op("shl", [sc.and(index, sc.int(8 / d.bits - 1)), sc.int(Math.log2(d.bits))]);
  const memo = new Map<Expr, Expr>();
  const expr = (e: Expr): Expr =>
    sc.rebuild(
      [e],
      (x, args) => {
        const index = args[0] as Expr;
        const b = x.op === "load" ? bytesOf(x.attr as Buffer) : null;
        if (b === null || b === x.attr) return null;
        const bits = sc.op("shr", [widen(sc, sc.load(b, [place(x.dtype, index)])), shift(x.dtype, index)]);
        return x.dtype.isFloat ? sc.bitcast(x.dtype, sc.cast(wordOf(x.dtype), bits)) : sc.cast(x.dtype, bits);
      },
      memo,
    )[0] as Expr;
  const store = (s: Extract<Stmt, { kind: "store" }>): Stmt => {
    const buffer = bytesOf(s.buffer);
    const [index, value] = [expr(s.index), expr(s.value)];
    if (buffer === s.buffer) return index === s.index && value === s.value ? s : { ...s, index, value };
    const { dtype } = s.buffer;
    const [at, by, mask] = [place(dtype, index), shift(dtype, index), sc.int(2 ** dtype.bits - 1)];
    const others = sc.op("not", [sc.op("shl", [mask, by])]);
    const kept = sc.and(widen(sc, sc.load(buffer, [at])), others);
    const bits = dtype.isFloat ? sc.bitcast(wordOf(dtype), value) : value;
    const own = sc.op("shl", [sc.and(widen(sc, bits), mask), by]);
    return { kind: "store", buffer, index: at, value: sc.cast(u8, sc.op("or", [kept, own])) };
  };
  const block = (b: readonly Stmt[]): readonly Stmt[] =>
    mapBlock(b, (s) => {
      if (s.kind === "store") return store(s);
      if (s.kind === "alloc") return bytesOf(s.buffer) === s.buffer ? s : { kind: "alloc", buffer: bytesOf(s.buffer) };
      return mapStmt(s, expr, block);
    });
  const params = k.params.map((p) => (isBuffer(p) ? bytesOf(p) : p));
  const body = block(k.body);
  return bytes.size === 0 ? k : { ...k, params, body, writes: new Set([...k.writes].map(bytesOf)) };
}

/** The integer of the same bits. */
function wordOf(d: DType): DType {
  return d.bits === 2 ? u2 : u4;
}
function widen(sc: Scalars, e: Expr): Expr {
  return sc.op("cast", [e], i32);
}
