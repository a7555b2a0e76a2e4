import fs from "node:fs";
import path from "node:path";
import v8 from "node:v8";
import { InternalError, VerifyError } from "../base/errors.ts";
import type { TraceListener } from "../base/trace.ts";
import { type Source, importSource, inputNamesOf } from "../importer.ts";
import type { Feature } from "../load.ts";
import { sha256 } from "../node/files.ts";
import { readModel } from "../node/model-file.ts";
import { type Sizes, parseSizes } from "../node/option-text.ts";
import { hasRelaxedSimd } from "../runtime/model.ts";

export { type Sizes, parseBytes, parseCount, parseSizes } from "../node/option-text.ts";
export { Progress } from "../node/progress.ts";

/** Options of all commands that compile. */
export interface ModelFlags {
  readonly target?: string;
  readonly threads?: number;
  readonly shape?: readonly string[];
  readonly deterministic?: boolean;
  readonly exact?: boolean;
  readonly maxMemory?: number;
  readonly keptMemory?: number;
  readonly features?: readonly Feature[];
  readonly db?: string | undefined;
}

/** An error raised while a model was read: it is the model's fault, also where a verifier found it. */
export class ReadingError extends Error {
  constructor(cause: unknown) {
    super("reading failed", { cause });
  }
}

export const collect = (value: string, list: readonly string[] = []): string[] => [...list, value];
export const parseFeatures = (text: string): Feature[] => text.split(",").map((f) => f.trim()) as Feature[];

export interface Loaded {
  readonly source: Source;
  readonly sizes: Sizes;
  readonly name: string;
  readonly hash: string;
}

/** Reads and imports a model file. @throws ReadingError for whatever is wrong with it */
export function loadSource(file: string, shape: readonly string[] = []): Loaded {
  try {
    const model = readModel(file);
    const { name } = path.parse(file);
    const sizes = parseSizes(shape, shape.length === 0 ? [] : inputNamesOf(model.bytes));
    const source = importSource(model.bytes, { name, resolver: model.resolver, ...sizes });
    return { source, sizes, name, hash: sha256(model.bytes) };
  } catch (e) {
    throw new ReadingError(e);
  }
}

export function isFolder(file: string): boolean {
  return fs.statSync(file, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** Prints what a program is about to tell its user beside the result. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Prints the trace to stderr as `TILEWRIGHT_DEBUG` asks: 1 steps and times, 2 rules that fired, 3…6 the IR after the steps of more and more stages. */
export function debugListeners(): TraceListener[] {
  const level = Number(process.env.TILEWRIGHT_DEBUG ?? 0);
  if (!(level >= 1)) return [];
  const stages = ["graph", "tensor", "schedule", "loop"].slice(0, Math.max(0, level - 2));
  return [
    (e) => {
      note(`[${e.stage}] ${e.step}: ${e.ms.toFixed(1)} ms${e.changed ? "" : ", no change"}`);
      if (level >= 2) for (const [rule, n] of Object.entries(e.rules)) note(`    ${n} × ${rule}`);
      if (stages.includes(e.stage)) note(e.text());
    },
  ];
}

let switched = false;
/** On Node 20 relaxed SIMD is behind a flag, which the command line sets (the library never does). */
export function enableRelaxedSimd(): void {
  if (hasRelaxedSimd() || !process.versions.node.startsWith("20.")) return;
  v8.setFlagsFromString("--experimental-wasm-relaxed-simd");
  switched = hasRelaxedSimd();
}
/** How this process came to its SIMD. */
export function simdText(relaxed: boolean): string {
  if (!relaxed) return "SIMD without relaxed operations";
  return switched ? "relaxed SIMD (switched on by this command: node --experimental-wasm-relaxed-simd)" : "relaxed SIMD";
}

/** Exit status of an error: 2 wrong use or bad input, 3 internal. */
export function exitStatus(e: unknown): number {
  if (e instanceof ReadingError) return e.cause instanceof VerifyError ? 2 : exitStatus(e.cause);
  if (e instanceof InternalError || e instanceof VerifyError) return 3;
  const name = e instanceof Error ? e.name : "";
  // The runtime's own UserError is another class of the same name.
  return name === "UserError" || name === "UnsupportedError" ? 2 : 3;
}

/** The error as a user reads it; with `TILEWRIGHT_DEBUG` its stack. */
export function errorText(e: unknown): string {
  if (e instanceof ReadingError) return errorText(e.cause);
  if (!(e instanceof Error)) return `error: ${String(e)}`;
  if (process.env.TILEWRIGHT_DEBUG) return `error: ${e.stack ?? e.message}`;
  if (exitStatus(e) === 3 && !(e instanceof InternalError))
    return `error: ${e.message}\nThis is a bug in tilewright (${e.name}); please report it with the model. TILEWRIGHT_DEBUG=1 shows where it happened.`;
  return `error: ${e.message}`;
}

export function portText(p: { readonly name: string; readonly dtype: string; readonly dims: readonly (number | string)[] }): string {
  return `${p.name}: ${p.dtype}[${p.dims.join(", ")}]`;
}

/** Columns of a table, numbers to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((h, i) => Math.max(h.length, ...rows.map((r) => r[i]?.length ?? 0)));
  const right = head.map((_, i) => rows.length > 0 && rows.every((r) => /^[\d.,%–-]*$/.test(r[i] ?? "")));
  const line = (r: readonly string[]) =>
    r
      .map((c, i) => (right[i] ? c.padStart(widths[i] as number) : c.padEnd(widths[i] as number)))
      .join("  ")
      .trimEnd();
  return [line(head), ...rows.map(line)].join("\n");
}
