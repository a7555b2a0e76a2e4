import { describe, expect, test } from "vitest";
import { InternalError } from "../../base/errors.ts";
import { assemble, assembleFunction } from "./assemble.ts";
import { disassemble } from "./disassemble.ts";
import { type WasmFunction, encodeModule } from "./encoder.ts";
import { atomicNames } from "./opcodes.ts";

const memory = { initial: 1, maximum: 1, shared: true };
const moduleOf = (...functions: WasmFunction[]): Uint8Array => encodeModule(functions, [], memory);

/** Text that pushes the operands of an atomic instruction, and drops its result. */
function useOf(name: string): string {
  if (name === "atomic.fence") return name;
  const wide = name.startsWith("i64") || name.endsWith("wait64");
  const value = wide ? "i64.const 1" : "i32.const 1";
  const address = "i32.const 64";
  if (name === "memory.atomic.notify") return `${address}\ni32.const 1\n${name}\ndrop`;
  if (name.includes("wait")) return `${address}\n${value}\ni64.const 0\n${name}\ndrop`;
  if (name.includes("load")) return `${address}\n${name}\ndrop`;
  if (name.includes("store")) return `${address}\n${value}\n${name}`;
  return `${address}\n${value}\n${name.includes("cmpxchg") ? `${value}\n` : ""}${name}\ndrop`;
}

describe("atomic instructions", () => {
  test.each([...atomicNames].filter(([, n]) => n !== ""))("0xfe 0x%s: %s is what an engine takes it for, and lists as itself", (_, name) => {
    const f = assembleFunction({ name: "f", params: [], text: useOf(name), exported: true }, {});
    const bytes = moduleOf(f);
    expect(WebAssembly.validate(bytes as BufferSource)).toBe(true);
    const memoryHere = new WebAssembly.Memory(memory);
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes as BufferSource), { env: { memory: memoryHere } });
    (instance.exports.f as () => void)();
    expect(disassemble(bytes)[0]?.text).toContain(`  ${name}`);
  });
  test("there are as many as in the proposal", () => {
    expect([...atomicNames].filter(([, n]) => n !== "").length).toBe(4 + 14 + 7 * 7);
  });
});

test("a function with names for params, locals and constants, memory offsets and nested blocks", () => {
  const sum = assembleFunction(
    {
      name: "sum",
      params: ["count"],
      results: ["i32"],
      locals: ["total"],
      exported: true,
      text: `
        loop ;; adds what lies at base, word by word
          local.get $count
          i32.const 0
          i32.gt_s
          if
            local.get $total
            local.get $count
            i32.const 4
            i32.mul
            i32.load offset=$base
            i32.add
            local.set $total
            local.get $count
            i32.const 1
            i32.sub
            local.set $count
            br 1
          end
        end
        local.get $total`,
    },
    { base: 96, count: 7 },
  );
  const module = new WebAssembly.Module(moduleOf(sum) as BufferSource);
  const m = new WebAssembly.Memory(memory);
  new Int32Array(m.buffer).fill(1, 24, 40);
  const { exports } = new WebAssembly.Instance(module, { env: { memory: m } });
  expect((exports.sum as (n: number) => number)(5)).toBe(5);
});

test("what a listing says assembles to the same bytes", () => {
  const text = "loop\nbr 0\nend\ni32.const -5\nif (result i32)\ni32.const 1\nelse\ni32.const 2\nend\ndrop\ni32.const 8\ni32.atomic.load\ndrop";
  const f = assembleFunction({ name: "f", params: [], text }, {});
  const lines = disassemble(moduleOf(f))[0]?.text.split("\n").slice(1, -2).join("\n") ?? "";
  expect(assemble(lines, {}).take()).toEqual(f.code.take());
});

test.each([
  ["i32.plus", /'i32.plus': there is no such instruction/],
  ["local.get", /an operand is missing/],
  ["local.get $x", /'\$x' is no number/],
  ["i32.const many", /'many' is no number/],
  ["i32.load offset=$x", /'\$x' is no number/],
])("'%s' is refused", (line, message) => {
  expect(() => assemble(line, {})).toThrowError(InternalError);
  expect(() => assemble(line, {})).toThrowError(message);
});
