import { type DType, type TypedArray, arrayOf, findDType, parseDType } from "../base/dtype.ts";
import { UserError } from "../base/errors.ts";

/** NumPy's file format (versions 1 to 3): a magic word, a Python dict with dtype, order and shape, the elements. */
export interface NpyArray {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly data: TypedArray;
}

const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
const codes: Readonly<Record<string, string>> = {
  f4: "f32",
  f8: "f64",
  f2: "f16",
  i1: "i8",
  i2: "i16",
  i4: "i32",
  i8: "i64",
  u1: "u8",
  u2: "u16",
  u4: "u32",
  u8: "u64",
  b1: "bool",
};

/** @throws UserError `npy` for what is no such file, is big-endian or of a dtype that there is none for */
export function readNpy(bytes: Uint8Array, file: string): NpyArray {
  const fail = (message: string): never => {
    throw new UserError("npy", `${file}: ${message}`);
  };
  if (bytes.length < 12 || magic.some((m, i) => bytes[i] !== m)) fail("is no .npy file");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wide = (bytes[6] as number) >= 2;
  const start = wide ? 12 : 10;
  const end = start + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  if (end > bytes.length) fail("ends within its header");
  const header = new TextDecoder().decode(bytes.subarray(start, end));
  const descr = /'descr'\s*:\s*'([<>|=])(\w+)'/.exec(header);
  const dims = /'shape'\s*:\s*\(([\d,\s]*)\)/.exec(header)?.[1];
  if (descr === null || dims === undefined) return fail(`has a header that cannot be understood: ${header.trim()}`);
  const dtype = findDType(codes[descr[2] as string] ?? "") ?? fail(`has dtype ${descr[1]}${descr[2]}, which is not supported`);
  if (descr[1] === ">" && dtype.bits > 8) fail("is big-endian; save it little-endian");
  if (/'fortran_order'\s*:\s*True/.test(header)) fail("is in Fortran order; save numpy.ascontiguousarray(x)");
  const shape = dims
    .split(",")
    .map((d) => d.trim())
    .filter((d) => d !== "")
    .map(Number);
  const count = shape.reduce((a, b) => a * b, 1);
  if (bytes.length - end !== dtype.bytes(count))
    fail(`has ${bytes.length - end} bytes of data, expected ${dtype.bytes(count)} for ${dtype}[${shape.join(", ")}]`);
  return { dtype, dims: shape, data: typedArray(dtype, bytes.subarray(end)) };
}

/** The elements in bytes, copied so that they are aligned. */
export function typedArray(dtype: DType, bytes: Uint8Array): TypedArray {
  // Not `slice`, which copies nothing where the bytes are a Buffer.
  const copy = new Uint8Array(bytes);
  return new (arrayOf(dtype))(copy.buffer, 0, copy.length / (dtype.bits < 8 ? 1 : dtype.byteWidth));
}

const descrs: Readonly<Record<string, string>> = Object.fromEntries(Object.entries(codes).map(([code, name]) => [name, code]));

/** Writes a .npy file; narrow floats that NumPy does not have as their bits, what is narrower than a byte as the packed bytes (flat). */
export function writeNpy(dtype: string, dims: readonly number[], data: TypedArray): Uint8Array {
  const known = descrs[dtype];
  const { bits } = parseDType(dtype);
  const code = known ?? (bits === 16 ? "u2" : "u1");
  const shape = bits < 8 ? [data.length] : dims;
  const order = /1$/.test(code) ? "|" : "<";
  const text = `{'descr': '${order}${code}', 'fortran_order': False, 'shape': (${shape.join(", ")}${shape.length === 1 ? "," : ""}), }`;
  const length = Math.ceil((10 + text.length + 1) / 64) * 64 - 10;
  const out = new Uint8Array(10 + length + data.byteLength);
  out.set([...magic, 1, 0, length & 255, length >> 8]);
  out.set(new TextEncoder().encode(`${text.padEnd(length - 1)}\n`), 10);
  out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 10 + length);
  return out;
}
