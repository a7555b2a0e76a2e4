import { UserError } from "../base/errors.ts";
import type { SymbolOption } from "../frontends/onnx/symbols.ts";

/** Options as they are written: on the command line, and in the queries of imports. */

/** What `--shape` said. */
export interface Sizes {
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  readonly symbols: Readonly<Record<string, SymbolOption>>;
}

/** Is the name that of an input, or of one tensor (`list.0`) of one that is a sequence? */
function isInput(name: string, inputs: readonly string[]): boolean {
  return inputs.some((i) => name === i || (name.startsWith(`${i}.`) && /^\d+$/.test(name.slice(i.length + 1))));
}

/** Parses `name=1x3x224x224`, `batch=4` and `batch=1..16`. A single number is a symbol's, unless an input has that name. */
export function parseSizes(list: readonly string[], inputs: readonly string[]): Sizes {
  const shapes: Record<string, readonly number[]> = {};
  const symbols: Record<string, SymbolOption> = {};
  for (const text of list) {
    const m = /^(.+)=(?:(\d+)\.\.(\d+)|(\d*(?:x\d+)*))$/.exec(text);
    if (m === null) throw new UserError("shape", `--shape ${text}: expected NAME=1x3x224x224, SYMBOL=4 or SYMBOL=1..16`);
    const [, name = "", low, high, dims = ""] = m;
    if (low !== undefined) symbols[name] = { min: Number(low), max: Number(high) };
    else if (!isInput(name, inputs) && /^\d+$/.test(dims)) symbols[name] = Number(dims);
    else shapes[name] = dims === "" ? [] : dims.split("x").map(Number);
  }
  return { shapes, symbols };
}

/** Parses `20MiB`, `512kB`, `1048576`. */
export function parseBytes(text: string): number {
  const m = /^(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|KiB|MiB|GiB)?$/i.exec(text.trim());
  const units: Readonly<Record<string, number>> = { b: 1, kb: 1e3, mb: 1e6, gb: 1e9, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30 };
  const bytes = m === null ? 0 : Math.floor(Number(m[1]) * (units[(m[2] ?? "B").toLowerCase()] as number));
  if (bytes < 1) throw new UserError("option", `'${text}' is no size; write it like 20MiB, 512kB or 1048576`);
  return bytes;
}

/** The same, or `0`. */
export function parseRoom(text: string): number {
  return text.trim() === "0" ? 0 : parseBytes(text);
}

/** Parses a whole number of at least `min`. */
export function parseCount(min: number): (text: string) => number {
  return (text) => {
    const n = Number(text);
    if (!Number.isSafeInteger(n) || n < min) throw new UserError("option", `'${text}' is no whole number of at least ${min}`);
    return n;
  };
}
