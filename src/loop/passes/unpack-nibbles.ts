import { i32, u8 } from "../../base/dtype.ts";
import type { Expr } from "../../scalar/expr.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { Buffer, type Kernel, type Stmt, isBuffer, mapBlock, mapStmt } from "../ir.ts";

/**
 * Buffers of 4-bit elements become buffers of bytes: element i lies in byte i >> 1, the even one in its low half. A load
 * shifts its half down and narrows it, which extends the sign of i4; a store replaces its half of the byte.
 */
export function unpackNibbles(sc: Scalars, k: Kernel): Kernel {
  const bytes = new Map<Buffer, Buffer>();
  const bytesOf = (b: Buffer): Buffer => {
    if (b.dtype.bits !== 4 || b.space === "register") return b;
    let r = bytes.get(b);
    if (r === undefined) {
      r = new Buffer(sc.freshId(), b.name, u8, b.space, b.size);
      bytes.set(b, r);
    }
    return r;
  };
  const place = (index: Expr) => sc.op("shr", [index, sc.int(1)]);
  const shift = (index: Expr) => sc.op("shl", [sc.and(index, sc.int(1)), sc.int(2)]);
  const memo = new Map<Expr, Expr>();
  const expr = (e: Expr): Expr =>
    sc.rebuild(
      [e],
      (x, args) => {
        const index = args[0] as Expr;
        const b = x.op === "load" ? bytesOf(x.attr as Buffer) : null;
        if (b === null || b === x.attr) return null;
        return sc.cast(x.dtype, sc.op("shr", [widen(sc, sc.load(b, [place(index)])), shift(index)]));
      },
      memo,
    )[0] as Expr;
  const store = (s: Extract<Stmt, { kind: "store" }>): Stmt => {
    const buffer = bytesOf(s.buffer);
    const [index, value] = [expr(s.index), expr(s.value)];
    if (buffer === s.buffer) return index === s.index && value === s.value ? s : { ...s, index, value };
    const half = shift(index);
    const others = sc.op("not", [sc.op("shl", [sc.int(15), half])]);
    const kept = sc.and(widen(sc, sc.load(buffer, [place(index)])), others);
    const own = sc.op("shl", [sc.and(widen(sc, value), sc.int(15)), half]);
    return { kind: "store", buffer, index: place(index), value: sc.cast(u8, sc.op("or", [kept, own])) };
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

function widen(sc: Scalars, e: Expr): Expr {
  return sc.op("cast", [e], i32);
}
