import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Bytes, type FunctionType, TypeTable, type WasmFunction, encodeModule } from "./encoder.ts";

/** Reads a LEB128 number as the specification defines it. */
function readLeb(bytes: Uint8Array, signed: boolean): { value: bigint; length: number } {
  let [value, shift, i] = [0n, 0n, 0];
  for (;;) {
    const b = bytes[i++];
    if (b === undefined) throw new Error("the number does not end");
    value |= BigInt(b & 0x7f) << shift;
    shift += 7n;
    if ((b & 0x80) === 0) return { value: signed && (b & 0x40) !== 0 ? value - (1n << shift) : value, length: i };
  }
}

describe("numbers", () => {
  const edges32 = [0, 1, -1, 63, 64, -64, -65, 127, 128, 8191, 8192, 2 ** 31 - 1, -(2 ** 31)];
  test("u32 in as few bytes as it takes", () => {
    fc.assert(
      fc.property(fc.oneof(fc.constantFrom(0, 127, 128, 16383, 16384, 2 ** 31, 2 ** 32 - 1), fc.nat(2 ** 32 - 1)), (v) => {
        const bytes = new Bytes().u32(v).take();
        expect(readLeb(bytes, false)).toEqual({ value: BigInt(v), length: bytes.length });
        expect(bytes.length).toBe(Math.max(1, Math.ceil(v.toString(2).length / 7)));
      }),
    );
  });
  test("s32", () => {
    fc.assert(
      fc.property(fc.oneof(fc.constantFrom(...edges32), fc.integer()), (v) => {
        const bytes = new Bytes().s32(v).take();
        expect(readLeb(bytes, true)).toEqual({ value: BigInt(v), length: bytes.length });
        expect(bytes.length).toBeLessThanOrEqual(5);
      }),
    );
  });
  test("s64", () => {
    fc.assert(
      fc.property(fc.oneof(fc.constantFrom(0n, -1n, 2n ** 63n - 1n, -(2n ** 63n)), fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n)), (v) => {
        const bytes = new Bytes().s64(v).take();
        expect(readLeb(bytes, true)).toEqual({ value: v, length: bytes.length });
        expect(bytes.length).toBeLessThanOrEqual(10);
      }),
    );
  });
  test("floats keep their bits", () => {
    fc.assert(
      fc.property(fc.float(), fc.double(), (a, b) => {
        const bytes = new Bytes().f32(a).f64(b).take();
        const view = new DataView(bytes.buffer, bytes.byteOffset);
        expect([view.getFloat32(0, true), view.getFloat64(4, true)]).toEqual([a, b]);
      }),
    );
  });
});

describe("bytes", () => {
  test("grow, append and are taken as copies", () => {
    const inner = new Bytes();
    for (let i = 0; i < 1000; i++) inner.byte(i & 255);
    const outer = new Bytes().byte(7).bytes(inner).bytes(inner.take());
    const taken = outer.take();
    outer.byte(9);
    expect(taken.length).toBe(2001);
    expect([...taken.slice(1, 1001)]).toEqual([...inner.view()]);
    expect([...taken.slice(1001)]).toEqual([...inner.view()]);
  });
  test("names are UTF-8 with their length in bytes", () => {
    expect([...new Bytes().name("é").take()]).toEqual([2, 0xc3, 0xa9]);
  });
});

describe("modules", () => {
  const code = (...b: number[]) => new Bytes().byte(...b);
  const add: FunctionType = { params: ["i32", "i32"], results: ["i32"] };
  const functions: WasmFunction[] = [
    { name: "add", type: add, locals: ["i32", "i32", "v128", "f64", "i32"], code: code(0x20, 0, 0x20, 1, 0x6a), exported: true },
    { name: "hidden", type: { params: [], results: [] }, locals: [], code: code(0x10, 0), exported: false },
    { name: "twice", type: add, locals: [], code: code(0x20, 0, 0x20, 1, 0x10, 1, 0x41, 2, 0x6c), exported: true },
  ];
  const imports = [{ module: "env", name: "tick", type: { params: [], results: [] } as FunctionType }];

  test.each([
    { initial: 1, maximum: null, shared: false },
    { initial: 1, maximum: 4, shared: false },
    { initial: 2, maximum: 65536, shared: true },
  ])("with memory %o are valid and run", (memory) => {
    const bytes = encodeModule(functions, imports, memory);
    expect(WebAssembly.validate(bytes as BufferSource)).toBe(true);
    const module = new WebAssembly.Module(bytes as BufferSource);
    expect(WebAssembly.Module.exports(module).map((e) => e.name)).toEqual(["add", "twice"]);
    expect(WebAssembly.Module.imports(module).map((i) => `${i.module}.${i.name}`)).toEqual(["env.tick", "env.memory"]);
    expect(WebAssembly.Module.customSections(module, "name").length).toBe(1);
    const descriptor = { initial: memory.initial, shared: memory.shared, ...(memory.maximum === null ? {} : { maximum: memory.maximum }) };
    const { exports } = new WebAssembly.Instance(module, { env: { tick: () => {}, memory: new WebAssembly.Memory(descriptor) } });
    expect((exports.add as (a: number, b: number) => number)(2, 3)).toBe(5);
  });

  test("a table of functions is called by number; it may be empty", () => {
    const types = new TypeTable();
    const type = types.index(add);
    const choose: WasmFunction = {
      name: "choose",
      type: { params: ["i32"], results: ["i32"] },
      locals: [],
      code: code(0x41, 5, 0x41, 3, 0x20, 0, 0x11, type, 0),
      exported: true,
    };
    const memory = { initial: 1, maximum: null, shared: false };
    const run = (table: readonly number[]) => {
      const bytes = encodeModule([...functions, choose], imports, memory, { types, table });
      const env = { tick: () => {}, memory: new WebAssembly.Memory({ initial: 1 }) };
      return new WebAssembly.Instance(new WebAssembly.Module(bytes as BufferSource), { env }).exports.choose as (i: number) => number;
    };
    // The import is function 0.
    const chosen = run([1, 3]);
    expect([chosen(0), chosen(1)]).toEqual([8, 16]);
    expect(() => chosen(2)).toThrowError(WebAssembly.RuntimeError);
    expect(() => run([])(0)).toThrowError(WebAssembly.RuntimeError);
  });

  test("equal types are written once", () => {
    const bytes = encodeModule(functions, imports, { initial: 1, maximum: null, shared: false });
    // Section 1 comes first: its id, its size, the number of types.
    expect([bytes[8], bytes[10]]).toEqual([1, 2]);
  });

  test("a body that does not type-check is refused by the engine", () => {
    const wrong: WasmFunction[] = [{ name: "f", type: add, locals: [], code: code(0x20, 0), exported: true }];
    const right = encodeModule(wrong, [], { initial: 1, maximum: null, shared: false });
    expect(WebAssembly.validate(right as BufferSource)).toBe(true);
    const bad = encodeModule([{ ...(wrong[0] as WasmFunction), code: code(0x20, 9) }], [], { initial: 1, maximum: null, shared: false });
    expect(WebAssembly.validate(bad as BufferSource)).toBe(false);
  });
});
