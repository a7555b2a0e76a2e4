import path from "node:path";
import { Reader } from "../base/text.ts";
import { evaluateDim } from "../base/dim.ts";
import { type DType, type TypedArray, arrayOf, bool, f16, parseDType } from "../base/dtype.ts";
import { UserError } from "../base/errors.ts";
import { type Num, roundTo, writeElement } from "../base/numeric.ts";
import type { ModelManifest, PortInfo } from "../runtime/model.ts";
import { readFile } from "./files.ts";
import { type Normalization, decodePicture, pictureLayout, pictureToTensor } from "./images.ts";
import { readNpy, typedArray } from "./npy.ts";

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

/** Reads an input's file by its extension. @throws UserError for what cannot be read or does not fit */
function readInputFile(p: PortInfo, file: string, sizes: KnownSizes, norm: Normalization): InputValue {
  const extension = path.extname(file).toLowerCase();
  const bytes = readFile(file);
  const dtype = parseDType(p.dtype);
  switch (extension) {
    case ".npy": {
      const array = readNpy(bytes, file);
      // NumPy has no array of some dtypes: their bits are given.
      const coded = dtype === bool || (dtype.format !== null && dtype !== f16 && dtype.bits >= 8);
      const stored = array.dtype === dtype || (arrayOf(array.dtype) === arrayOf(dtype) && coded);
      if (!stored) throw new UserError("dtype", `${file}: holds ${array.dtype}, input '${p.name}' is ${p.dtype}; convert it with numpy's astype`);
      return { data: array.data, dims: array.dims };
    }
    case ".raw":
    case ".bin": {
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
    case ".json":
      return readJson(p, dtype, file, bytes, sizes);
    case ".png":
    case ".jpg":
    case ".jpeg":
      return readPicture(p, file, bytes, sizes, norm);
    default:
      throw new UserError("input", `${file}: inputs are read from .npy, .raw, .json, .png and .jpg files`);
  }
}

function readPicture(p: PortInfo, file: string, bytes: Uint8Array, sizes: KnownSizes, norm: Normalization): InputValue {
  const dims = knownDims(p, { ...sizes, symbols: new Map([...oneOf(p), ...sizes.symbols]) });
  const layout = dims === null ? null : pictureLayout(dims);
  if (layout === null || p.dtype !== "f32")
    throw new UserError(
      "image",
      `${file}: input '${p.name}' is ${p.dtype}[${p.dims.join(", ")}], which no picture fits; pictures go into f32 inputs of shape [1, C, H, W] or [1, H, W, C] with 1 or 3 channels`,
    );
  return { data: pictureToTensor(decodePicture(bytes, file), layout, norm), dims: layout.dims };
}
/** A symbolic batch of a picture is one picture. */
function oneOf(p: PortInfo): [string, number][] {
  const [batch] = p.dims;
  return typeof batch === "string" && p.dims.length === 4 && p.dims.slice(1).every((d) => typeof d === "number") ? [[batch, 1]] : [];
}

/** Nested arrays, a flat array where the shape is known, or { "dims": [...], "data": [...] }. */
function readJson(p: PortInfo, dtype: DType, file: string, bytes: Uint8Array, sizes: KnownSizes): InputValue {
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
function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Random values: floats in [-1, 1); integers and bools 0 or 1, so that they are valid as indices and masks. */
function randomInput(p: PortInfo, sizes: KnownSizes, random: () => number): InputValue {
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

export interface InputFlags {
  readonly input?: readonly string[];
  readonly random?: number;
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
}

/** All inputs of a model: files where they are given, else random ones if a seed is. @throws UserError that lists the inputs */
export function gatherInputs(m: Pick<ModelManifest, "inputs">, flags: InputFlags, sizes: KnownSizes): Record<string, InputValue> {
  const list = m.inputs.map((p) => `  ${p.name}: ${p.dtype}[${p.dims.join(", ")}]`).join("\n");
  const files = new Map<string, string>();
  for (const text of flags.input ?? []) {
    // A name may hold '=' itself: the longest one that fits wins.
    const port = m.inputs.filter((p) => text.startsWith(`${p.name}=`)).sort((a, b) => b.name.length - a.name.length)[0];
    const alone = m.inputs.length === 1 && !text.includes("=") ? m.inputs[0] : undefined;
    const found = port ?? alone;
    if (found === undefined) throw new UserError("unknown-input", `--input ${text}: expected NAME=FILE with the name of an input:\n${list}`);
    files.set(found.name, port === undefined ? text : text.slice(found.name.length + 1));
  }
  const missing = m.inputs.filter((p) => !files.has(p.name));
  if (missing.length > 0 && flags.random === undefined) {
    throw new UserError(
      "missing-input",
      `no value for ${missing.map((p) => `'${p.name}'`).join(", ")}; give --input NAME=FILE for each, or --random SEED. The inputs are:\n${list}`,
    );
  }
  const random = randomSource(flags.random ?? 0);
  const norm = { mean: flags.mean ?? [], std: flags.std ?? [] };
  return Object.fromEntries(
    m.inputs.map((p) => {
      const file = files.get(p.name);
      return [p.name, file === undefined ? randomInput(p, sizes, random) : readInputFile(p, file, sizes, norm)];
    }),
  );
}
