import { InternalError } from "../../base/errors.ts";
import { Bytes, type FunctionType, type ValueType, type WasmFunction } from "./encoder.ts";
import { atomicNames, plainNames } from "./opcodes.ts";

/** Codes by name; those behind 0xfe as two bytes. */
const codes: ReadonlyMap<string, readonly number[]> = new Map([
  ...[...plainNames].map(([code, name]): [string, readonly number[]] => [name, [code]]),
  ...[...atomicNames].map(([code, name]): [string, readonly number[]] => [name, [0xfe, code]]),
]);

/** What names that start with `$` stand for: constants, functions, types. */
export type Symbols = Readonly<Record<string, number>>;

export interface FunctionText {
  readonly name: string;
  /** By name, in order. */
  readonly params: readonly string[];
  readonly results?: readonly ValueType[];
  readonly locals?: readonly string[];
  readonly exported?: boolean;
  readonly text: string;
}

/**
 * A function on i32 values from WebAssembly's text format, one instruction a line: those of one byte and the atomic ones,
 * blocks without results or with an i32, `$name` for params, locals and symbols, comments after `;;`.
 * @throws InternalError `assemble` for a line that is none of that
 */
export function assembleFunction(f: FunctionText, symbols: Symbols): WasmFunction {
  const variables = [...f.params, ...(f.locals ?? [])];
  const all = { ...symbols, ...Object.fromEntries(variables.map((v, i) => [v, i])) };
  const type: FunctionType = { params: f.params.map((): ValueType => "i32"), results: f.results ?? [] };
  const locals = (f.locals ?? []).map((): ValueType => "i32");
  return { name: f.name, type, locals, code: assemble(f.text, all), exported: f.exported ?? false };
}

/** Writes the instructions of a text. */
export function assemble(text: string, symbols: Symbols): Bytes {
  const out = new Bytes();
  for (const line of text.split("\n")) {
    const words = (line.split(";;", 1)[0] as string).trim().split(/\s+/);
    if (words[0] !== "") instruction(out, words, symbols, line);
  }
  return out;
}

function instruction(out: Bytes, [name = "", ...rest]: readonly string[], symbols: Symbols, line: string): void {
  const fail = (why: string): never => {
    throw new InternalError("assemble", `'${line.trim()}': ${why}`);
  };
  const code = codes.get(name) ?? fail("there is no such instruction");
  const number = (word: string | undefined): number => {
    if (word === undefined) return fail("an operand is missing");
    const value = word.startsWith("$") ? symbols[word.slice(1)] : Number(word);
    return value !== undefined && Number.isInteger(value) ? value : fail(`'${word}' is no number`);
  };
  out.byte(...code);
  const [first = 0, second] = code;
  if (first >= 0x02 && first <= 0x04) out.byte(rest[0] === "(result" ? 0x7f : 0x40);
  else if (first === 0x11) out.u32(number(rest[0])).u32(0);
  else if (first === 0x0c || first === 0x0d || first === 0x10 || (first >= 0x20 && first <= 0x24)) out.u32(number(rest[0]));
  else if (first === 0x41) out.s32(number(rest[0]));
  else if (first === 0x42) out.s64(BigInt(number(rest[0])));
  else if (first === 0xfe && second === 3) out.byte(0);
  else if (first === 0xfe || (first >= 0x28 && first <= 0x3e)) {
    const offset = rest.find((w) => w.startsWith("offset="));
    out.u32(alignment(name)).u32(offset === undefined ? 0 : number(offset.slice("offset=".length)));
  }
}

/** The natural alignment of an access, as a power of two; atomic ones need exactly that. */
function alignment(name: string): number {
  const narrow = /(?:load|store|rmw)(8|16|32)/.exec(name);
  const bits = narrow !== null ? Number(narrow[1]) : /^(?:i64|f64)|wait64/.test(name) ? 64 : 32;
  return Math.log2(bits / 8);
}
