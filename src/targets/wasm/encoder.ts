/** WebAssembly's binary format (core specification 2.0, section 5): bytes, LEB128 numbers, sections. */
export class Bytes {
  private data = new Uint8Array(256);
  length = 0;

  private reserve(n: number): void {
    if (this.length + n <= this.data.length) return;
    const grown = new Uint8Array(Math.max(this.data.length * 2, this.length + n));
    grown.set(this.data.subarray(0, this.length));
    this.data = grown;
  }
  byte(...bytes: readonly number[]): this {
    this.reserve(bytes.length);
    for (const b of bytes) this.data[this.length++] = b;
    return this;
  }
  bytes(b: Bytes | Uint8Array): this {
    const raw = b instanceof Bytes ? b.view() : b;
    this.reserve(raw.length);
    this.data.set(raw, this.length);
    this.length += raw.length;
    return this;
  }
  u32(v: number): this {
    let rest = v >>> 0;
    while (rest >= 0x80) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    return this.byte(rest);
  }
  s32(v: number): this {
    return this.s64(BigInt(v | 0));
  }
  s64(v: bigint): this {
    let rest = BigInt.asIntN(64, v);
    for (;;) {
      const low = Number(rest & 0x7fn);
      rest >>= 7n;
      if ((rest === 0n && (low & 0x40) === 0) || (rest === -1n && (low & 0x40) !== 0)) return this.byte(low);
      this.byte(low | 0x80);
    }
  }
  f32(v: number): this {
    this.reserve(4);
    new DataView(this.data.buffer).setFloat32(this.length, v, true);
    this.length += 4;
    return this;
  }
  f64(v: number): this {
    this.reserve(8);
    new DataView(this.data.buffer).setFloat64(this.length, v, true);
    this.length += 8;
    return this;
  }
  name(s: string): this {
    const utf8 = new TextEncoder().encode(s);
    return this.u32(utf8.length).bytes(utf8);
  }
  /** A vector: its length, then its items. */
  vector<T>(items: readonly T[], write: (item: T) => void): this {
    this.u32(items.length);
    for (const i of items) write(i);
    return this;
  }
  view(): Uint8Array {
    return this.data.subarray(0, this.length);
  }
  take(): Uint8Array {
    return this.data.slice(0, this.length);
  }
}

export const valueType = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;
export type ValueType = keyof typeof valueType;

export interface FunctionType {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}
export interface WasmFunction {
  readonly name: string;
  readonly type: FunctionType;
  readonly locals: readonly ValueType[];
  readonly code: Bytes;
  readonly exported: boolean;
}
export interface WasmImport {
  readonly module: string;
  readonly name: string;
  readonly type: FunctionType;
}
export interface MemoryImport {
  /** Pages of 64 KiB. */
  readonly initial: number;
  readonly maximum: number | null;
  readonly shared: boolean;
}

/** A module's function types: equal ones are one. */
export class TypeTable {
  readonly types: FunctionType[] = [];
  private readonly keys = new Map<string, number>();
  index(t: FunctionType): number {
    const key = `${t.params}>${t.results}`;
    let i = this.keys.get(key);
    if (i === undefined) {
      i = this.types.push(t) - 1;
      this.keys.set(key, i);
    }
    return i;
  }
}

/** What a module may have besides functions. */
export interface ModuleExtras {
  /** The functions, imports counted, that table 0 holds, for `call_indirect`; without it there is no table. */
  readonly table?: readonly number[];
  /** Types that code written before names by their index. */
  readonly types?: TypeTable;
}

/** A whole module that imports its memory as `env.memory`. */
export function encodeModule(
  functions: readonly WasmFunction[],
  imports: readonly WasmImport[],
  memory: MemoryImport,
  { table, types: typeTable = new TypeTable() }: ModuleExtras = {},
): Uint8Array {
  const out = new Bytes().byte(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00);
  const { types } = typeTable;
  const typeIndex = (t: FunctionType): number => typeTable.index(t);
  const importTypes = imports.map((i) => typeIndex(i.type));
  const functionTypes = functions.map((f) => typeIndex(f.type));
  const section = (id: number, fill: (b: Bytes) => void): void => {
    const body = new Bytes();
    fill(body);
    out.byte(id).u32(body.length).bytes(body);
  };
  section(1, (b) =>
    b.vector(types, (t) =>
      b
        .byte(0x60)
        .vector(t.params, (p) => b.byte(valueType[p]))
        .vector(t.results, (r) => b.byte(valueType[r])),
    ),
  );
  section(2, (b) => {
    b.u32(imports.length + 1);
    imports.forEach((i, k) =>
      b
        .name(i.module)
        .name(i.name)
        .byte(0x00)
        .u32(importTypes[k] as number),
    );
    b.name("env").name("memory").byte(0x02);
    b.byte((memory.shared ? 2 : 0) | (memory.maximum === null ? 0 : 1)).u32(memory.initial);
    if (memory.maximum !== null) b.u32(memory.maximum);
  });
  section(3, (b) => b.vector(functionTypes, (t) => b.u32(t)));
  if (table !== undefined) section(4, (b) => b.byte(1, 0x70, 0x01).u32(table.length).u32(table.length));
  const exported = functions.map((f, i) => ({ f, i })).filter(({ f }) => f.exported);
  section(7, (b) =>
    b.vector(exported, ({ f, i }) =>
      b
        .name(f.name)
        .byte(0x00)
        .u32(imports.length + i),
    ),
  );
  // One segment, put at the table's start when the module is instantiated.
  if (table !== undefined && table.length > 0) section(9, (b) => b.byte(1, 0x00, 0x41, 0x00, 0x0b).vector(table, (f) => b.u32(f)));
  section(10, (b) =>
    b.vector(functions, (f) => {
      const body = new Bytes();
      const runs: { type: ValueType; n: number }[] = [];
      for (const l of f.locals) {
        const last = runs[runs.length - 1];
        if (last?.type === l) last.n++;
        else runs.push({ type: l, n: 1 });
      }
      body.vector(runs, (r) => body.u32(r.n).byte(valueType[r.type]));
      body.bytes(f.code).byte(0x0b);
      b.u32(body.length).bytes(body);
    }),
  );
  // The name section lets profilers and stack traces speak of the model's own nodes.
  section(0, (b) => {
    b.name("name");
    const names = new Bytes();
    names.u32(imports.length + functions.length);
    imports.forEach((im, i) => names.u32(i).name(im.name));
    functions.forEach((f, i) => names.u32(imports.length + i).name(f.name));
    b.byte(1).u32(names.length).bytes(names);
  });
  return out.take();
}
