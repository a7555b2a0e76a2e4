import { InternalError } from "../../base/errors.ts";
import { atomicNames, plainNames, saturatingNames, simdNames } from "./opcodes.ts";

/** A function of a module as text. */
export interface Listing {
  readonly name: string;
  readonly bytes: number;
  readonly instructions: number;
  /** In WebAssembly's text format, one instruction a line. */
  readonly text: string;
}

const types: Readonly<Record<number, string>> = { 127: "i32", 126: "i64", 125: "f32", 124: "f64", 123: "v128" };

class Cursor {
  readonly bytes: Uint8Array;
  at: number;
  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }
  byte(): number {
    const b = this.bytes[this.at++];
    if (b === undefined) throw new InternalError("disassemble", "the module ends too early");
    return b;
  }
  u32(): number {
    let [value, shift] = [0, 0];
    for (;;) {
      const b = this.byte();
      value += (b & 127) * 2 ** shift;
      shift += 7;
      if (b < 128) return value;
    }
  }
  signed(): bigint {
    let [value, shift] = [0n, 0n];
    for (;;) {
      const b = this.byte();
      value |= BigInt(b & 127) << shift;
      shift += 7n;
      if (b < 128) return b & 64 ? value - (1n << shift) : value;
    }
  }
  view(n: number): DataView {
    const v = new DataView(this.bytes.buffer, this.bytes.byteOffset + this.at, n);
    this.at += n;
    return v;
  }
  name(): string {
    const n = this.u32();
    this.at += n;
    return new TextDecoder().decode(this.bytes.subarray(this.at - n, this.at));
  }
  list<T>(item: () => T): T[] {
    return Array.from({ length: this.u32() }, item);
  }
}

interface Module {
  readonly types: { readonly params: string[]; readonly results: string[] }[];
  readonly functionTypes: number[];
  imported: number;
  readonly names: Map<number, string>;
  readonly bodies: { readonly start: number; readonly end: number }[];
}

/** Lists the functions of a module that this compiler made. */
export function disassemble(bytes: Uint8Array): Listing[] {
  const m = readModule(bytes);
  return m.bodies.map((b, i) => listFunction(bytes, m, i, b));
}

function readModule(bytes: Uint8Array): Module {
  const m: Module = { types: [], functionTypes: [], imported: 0, names: new Map(), bodies: [] };
  const c = new Cursor(bytes, 8);
  const valueType = () => types[c.byte()] ?? "?";
  while (c.at < bytes.length) {
    const id = c.byte();
    const end = c.u32() + c.at;
    if (id === 1) {
      for (let n = c.u32(); n > 0; n--) {
        c.byte();
        m.types.push({ params: c.list(valueType), results: c.list(valueType) });
      }
    } else if (id === 2) readImports(c, m);
    else if (id === 3) m.functionTypes.push(...c.list(() => c.u32()));
    else if (id === 10) {
      for (let n = c.u32(); n > 0; n--) {
        const size = c.u32();
        m.bodies.push({ start: c.at, end: c.at + size });
        c.at += size;
      }
    } else if (id === 0 && c.name() === "name") readNames(c, end, m);
    c.at = end;
  }
  return m;
}

function readImports(c: Cursor, m: Module): void {
  for (let n = c.u32(); n > 0; n--) {
    c.name();
    c.name();
    const kind = c.byte();
    if (kind === 0) {
      c.u32();
      m.imported++;
    } else if (kind === 2) {
      const flags = c.u32();
      c.u32();
      if (flags & 1) c.u32();
    }
  }
}

function readNames(c: Cursor, end: number, m: Module): void {
  while (c.at < end) {
    const part = c.byte();
    const stop = c.u32() + c.at;
    if (part === 1) for (let n = c.u32(); n > 0; n--) m.names.set(c.u32(), c.name());
    c.at = stop;
  }
}

function listFunction(bytes: Uint8Array, m: Module, i: number, body: { readonly start: number; readonly end: number }): Listing {
  const c = new Cursor(bytes, body.start);
  const type = m.types[m.functionTypes[i] as number];
  const name = m.names.get(m.imported + i) ?? `f${i}`;
  const locals = c.list(() => ({ n: c.u32(), type: types[c.byte()] ?? "?" })).flatMap((r) => new Array<string>(r.n).fill(r.type));
  const part = (word: string, list: readonly string[] | undefined) => (list === undefined || list.length === 0 ? "" : ` (${word} ${list.join(" ")})`);
  const lines = [`(func $${name}${part("param", type?.params)}${part("result", type?.results)}${part("local", locals)}`];
  let [depth, instructions] = [1, 0];
  while (c.at < body.end - 1) {
    const text = instruction(c, m);
    const word = text.split(" ", 1)[0] as string;
    if (word === "end" || word === "else") depth--;
    lines.push("  ".repeat(depth) + text);
    if (word === "block" || word === "loop" || word === "if" || word === "else") depth++;
    instructions++;
  }
  lines.push(")");
  return { name, bytes: body.end - body.start, instructions, text: `${lines.join("\n")}\n` };
}

function instruction(c: Cursor, m: Module): string {
  const code = c.byte();
  if (code === 0xfc) {
    const sub = c.u32();
    if (sub >= 8) for (let n = sub === 10 ? 2 : 1; n > 0; n--) c.byte();
    return saturatingNames.get(sub) ?? unknown(code, sub);
  }
  if (code === 0xfd) return simd(c);
  if (code === 0xfe) return atomic(c);
  const name = plainNames.get(code) ?? unknown(code);
  if (code >= 0x02 && code <= 0x04) {
    const block = c.byte();
    return block === 0x40 ? name : `${name} (result ${types[block]})`;
  }
  if (code === 0x0e) return `${name} ${c.list(() => c.u32()).join(" ")} ${c.u32()}`;
  if (code === 0x10) {
    const f = c.u32();
    return `${name} $${m.names.get(f) ?? f}`;
  }
  if (code === 0x11) {
    const type = c.u32();
    return `${name} ${type} ${c.u32()}`;
  }
  if (code === 0x0c || code === 0x0d || (code >= 0x20 && code <= 0x24)) return `${name} ${c.u32()}`;
  if (code >= 0x28 && code <= 0x3e) return name + memory(c);
  if (code === 0x3f || code === 0x40) c.byte();
  if (code === 0x41 || code === 0x42) return `${name} ${c.signed()}`;
  if (code === 0x43) return `${name} ${c.view(4).getFloat32(0, true)}`;
  if (code === 0x44) return `${name} ${c.view(8).getFloat64(0, true)}`;
  return name;
}

function memory(c: Cursor): string {
  const align = c.u32();
  const offset = c.u32();
  return `${offset === 0 ? "" : ` offset=${offset}`} align=${2 ** align}`;
}

function simd(c: Cursor): string {
  const code = c.u32();
  const name = simdNames.get(code) ?? unknown(0xfd, code);
  if (code <= 11 || code === 92 || code === 93) return name + memory(c);
  if (code >= 84 && code <= 91) return `${name}${memory(c)} ${c.byte()}`;
  if (code === 12) {
    const v = c.view(16);
    return `${name} i32x4 ${[0, 4, 8, 12].map((i) => `0x${v.getUint32(i, true).toString(16).padStart(8, "0")}`).join(" ")}`;
  }
  if (code === 13) return `${name} ${Array.from({ length: 16 }, () => c.byte()).join(" ")}`;
  if (code >= 21 && code <= 34) return `${name} ${c.byte()}`;
  return name;
}

function atomic(c: Cursor): string {
  const code = c.u32();
  const name = atomicNames.get(code) ?? unknown(0xfe, code);
  if (code === 3) {
    c.byte();
    return name;
  }
  return name + memory(c);
}

function unknown(...codes: readonly number[]): never {
  throw new InternalError("disassemble", `no instruction has the code ${codes.map((x) => `0x${x.toString(16)}`).join(" ")}`);
}
