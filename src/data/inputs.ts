import { evaluateDim } from "../base/dim.ts";
import { type DType, type TypedArray, arrayOf, bool, f16, parseDType } from "../base/dtype.ts";
import { UserError } from "../base/errors.ts";
import { type Num, roundTo, writeElement } from "../base/numeric.ts";
import { Reader } from "../base/text.ts";
import type { PortInfo } from "../runtime/model.ts";
import { readNpy, typedArray } from "./npy.ts";
import { type Normalization, type Picture, pictureLayout, pictureToTensor } from "./pictures.ts";

/** Values for inputs: from the bytes of files, from pictures, at random. */

/** An input's value as `run` takes it. */
export interface InputValue {
  readonly data: TypedArray;
  readonly dims: readonly number[];
}

/** Sizes of what is symbolic: whole shapes by input name, symbols by name. */
export interface KnownSizes {
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  readonly symbols: ReadonlyMap<string, number>;
}

/** The shape of an input, or null where a symbol in it has no known size. */
function knownDims(p: PortInfo, sizes: KnownSizes): readonly number[] | null {
  const given = sizes.shapes[p.name];
  if (given !== undefined) return given;
  const dims = p.dims.map((d) => (typeof d === "number" ? d : sizeOfText(d, sizes.symbols)));
  return dims.every((d) => d !== null) ? dims : null;
}
function sizeOfText(text: string, symbols: ReadonlyMap<string, number>): number | null {
  const r = new Reader(text);
  const d = r.dim();
  return [...r.symbols.keys()].every((s) => symbols.has(s)) ? evaluateDim(d, symbols) : null;
}

/**
 * Reads a value from a file's bytes, by the extension of its name: `.npy`, `.raw` or `.bin` (the elements alone), `.json`.
 * @throws UserError for what cannot be read, or does not fit
 */
export function readInput(p: PortInfo, file: string, bytes: Uint8Array, sizes: KnownSizes): InputValue {
  const dtype = parseDType(p.dtype);
  switch (/\.\w+$/.exec(file)?.[0].toLowerCase()) {
    case ".npy":
      return npyInput(p, dtype, file, bytes);
    case ".raw":
    case ".bin":
      return rawInput(p, dtype, file, bytes, sizes);
    case ".json":
      return jsonInput(p, dtype, file, bytes, sizes);
    default:
      throw new UserError("input", `${file}: inputs are read from .npy, .raw, .json, .png and .jpg files`);
  }
}

function npyInput(p: PortInfo, dtype: DType, file: string, bytes: Uint8Array): InputValue {
  const array = readNpy(bytes, file);
  // NumPy has no array of some dtypes: their bits are given.
  const coded = dtype === bool || (dtype.format !== null && dtype !== f16 && dtype.bits >= 8);
  const stored = array.dtype === dtype || (arrayOf(array.dtype) === arrayOf(dtype) && coded);
  if (!stored) throw new UserError("dtype", `${file}: holds ${array.dtype}, input '${p.name}' is ${p.dtype}; convert it with numpy's astype`);
  return { data: array.data, dims: array.dims };
}

function rawInput(p: PortInfo, dtype: DType, file: string, bytes: Uint8Array, sizes: KnownSizes): InputValue {
  const dims = knownDims(p, sizes);
  if (dims === null)
    throw new UserError(
      "shape",
      `${file}: raw data tells no shape, and input '${p.name}' is ${p.dtype}[${p.dims.join(", ")}]: give it with --shape ${p.name}=${p.dims.map((d) => (typeof d === "number" ? d : "N")).join("x")}`,
    );
  const expected = dtype.bytes(dims.reduce((a, b) => a * b, 1));
  if (bytes.length !== expected)
    throw new UserError("size", `${file}: has ${bytes.length} bytes, input '${p.name}' (${p.dtype}[${dims.join(", ")}]) takes ${expected}`);
  return { data: typedArray(dtype, bytes), dims };
}

/** A picture as an input. @throws UserError `image` for an input that no picture fits */
export function pictureInput(p: PortInfo, file: string, picture: () => Picture, sizes: KnownSizes, norm: Normalization): InputValue {
  const dims = knownDims(p, { ...sizes, symbols: new Map([...oneOf(p), ...sizes.symbols]) });
  const layout = dims === null ? null : pictureLayout(dims);
  if (layout === null || p.dtype !== "f32")
    throw new UserError(
      "image",
      `${file}: input '${p.name}' is ${p.dtype}[${p.dims.join(", ")}], which no picture fits; pictures go into f32 inputs of shape [1, C, H, W] or [1, H, W, C] with 1 or 3 channels`,
    );
  return { data: pictureToTensor(picture(), layout, norm), dims: layout.dims };
}
/** A symbolic batch of a picture is one picture. */
function oneOf(p: PortInfo): [string, number][] {
  const [batch] = p.dims;
  return typeof batch === "string" && p.dims.length === 4 && p.dims.slice(1).every((d) => typeof d === "number") ? [[batch, 1]] : [];
}

/** Nested arrays, a flat array where the shape is known, or { "dims": [...], "data": [...] }. */
function jsonInput(p: PortInfo, dtype: DType, file: string, bytes: Uint8Array, sizes: KnownSizes): InputValue {
  const fail = (message: string): never => {
    throw new UserError("json", `${file}: ${message}`);
  };
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch (e) {
    return fail(`is no JSON (${(e as Error).message})`);
  }
  let given: readonly number[] | null = null;
  if (typeof value === "object" && value !== null && "data" in value && "dims" in value) {
    if (!Array.isArray(value.dims) || !value.dims.every((d) => Number.isSafeInteger(d) && d >= 0)) fail("'dims' must be a list of sizes");
    given = value.dims as number[];
    value = value.data;
  }
  const nested: number[] = [];
  for (let v = value; Array.isArray(v); v = v[0]) nested.push(v.length);
  const flat = (Array.isArray(value) ? value.flat(Number.POSITIVE_INFINITY) : [value]) as unknown[];
  const rectangular = nested.reduce((a, b) => a * b, 1) === flat.length;
  if (!rectangular) fail("its arrays are of different lengths");
  const dims = given ?? (nested.length === p.dims.length ? nested : (knownDims(p, sizes) ?? nested));
  const bad = flat.findIndex((v) => typeof v !== "number" && typeof v !== "boolean");
  if (bad >= 0) fail(`element ${bad} is ${JSON.stringify(flat[bad])}, expected a number`);
  const count = dims.reduce((a, b) => a * b, 1);
  if (flat.length !== count) fail(`holds ${flat.length} numbers, [${dims.join(", ")}] takes ${count}`);
  return { data: fill(dtype, count, (i) => roundTo(dtype, Number(flat[i]))), dims };
}

function fill(dtype: DType, count: number, at: (i: number) => Num): TypedArray {
  const data = new (arrayOf(dtype))(dtype.bits < 8 ? dtype.bytes(count) : count);
  for (let i = 0; i < count; i++) writeElement(dtype, data as never, i, at(i));
  return data;
}

/** A seeded source of numbers in [0, 1) (mulberry32). */
export function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Random values: floats in [-1, 1); integers and bools 0 or 1, so that they are valid as indices and masks. */
export function randomInput(p: PortInfo, sizes: KnownSizes, random: () => number): InputValue {
  const dims = knownDims(p, sizes);
  if (dims === null)
    throw new UserError(
      "shape",
      `input '${p.name}' is ${p.dtype}[${p.dims.join(", ")}]: say how large with --shape, for example --shape ${String(p.dims.find((d) => typeof d === "string"))}=8`,
    );
  const dtype = parseDType(p.dtype);
  const count = dims.reduce((a, b) => a * b, 1);
  return { data: fill(dtype, count, () => roundTo(dtype, dtype.isFloat ? random() * 2 - 1 : random() < 0.5 ? 0 : 1)), dims };
}
