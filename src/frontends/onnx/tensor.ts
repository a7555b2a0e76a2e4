import { type ConstantData, inlineConstant } from "../../base/constant.ts";
import {
  type DType,
  arrayOf,
  bf16,
  bool,
  f4e2m1,
  f8e4m3fn,
  f8e4m3fnuz,
  f8e5m2,
  f8e5m2fnuz,
  f8e8m0,
  f16,
  f32,
  f64,
  i2,
  i4,
  i8,
  i16,
  i32,
  i64,
  u2,
  u4,
  u8,
  u16,
  u32,
  u64,
} from "../../base/dtype.ts";
import { UnsupportedError, UserError } from "../../base/errors.ts";
import type { AttributeProto, TensorProto } from "./proto.ts";

/** Opens data that lies outside of the model file. */
export interface ExternalDataResolver {
  /**
   * Bytes `[offset, offset + length)` of the file at `location` (relative to the model), `length` null meaning up to its
   * end. Nothing need be read before the result is.
   */
  open(location: string, offset: number, length: number | null): ConstantData;
}

/** A tensor of the model file: where its bytes are, and what they mean. */
export interface ModelTensor {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly data: ConstantData;
  readonly external: boolean;
}

const names =
  "undefined float uint8 int8 uint16 int16 int32 int64 string bool float16 double uint32 uint64 complex64 complex128 bfloat16 float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz uint4 int4 float4e2m1 float8e8m0 uint2 int2 float6e2m3 float6e3m2".split(
    " ",
  );
const dtypes: Readonly<Record<number, DType>> = {
  1: f32,
  2: u8,
  3: i8,
  4: u16,
  5: i16,
  6: i32,
  7: i64,
  9: bool,
  10: f16,
  11: f64,
  12: u32,
  13: u64,
  16: bf16,
  17: f8e4m3fn,
  18: f8e4m3fnuz,
  19: f8e5m2,
  20: f8e5m2fnuz,
  21: u4,
  22: i4,
  23: f4e2m1,
  24: f8e8m0,
  25: u2,
  26: i2,
};

/** The dtype of a TensorProto.DataType, or null where there is none for it. */
export function dtypeOf(code: number): DType | null {
  return dtypes[code] ?? null;
}
/** ONNX's own name of a TensorProto.DataType. */
export function onnxTypeName(code: number): string {
  return names[code] ?? `type ${code}`;
}

/**
 * The tensor that a TensorProto holds. Bytes in the file stay where they are.
 * @throws UnsupportedError `unsupported-dtype`; UserError `bad-tensor` for data that does not fit, `external-data`
 */
export function readTensorProto(t: TensorProto, resolver: ExternalDataResolver | null): ModelTensor {
  const dtype = dtypeOf(t.dataType);
  const label = t.name === "" ? "a tensor" : `tensor '${t.name}'`;
  if (dtype === null) throw new UnsupportedError("unsupported-dtype", `${label} is of dtype ${onnxTypeName(t.dataType)}`);
  const bytes = dtype.bytes(t.dims.reduce((a, b) => a * b, 1));
  const common = { dtype, dims: t.dims };
  if (t.external !== null) return { ...common, data: openExternal(label, t.external, bytes, resolver), external: true };
  const raw = t.raw !== null && (t.raw.byteLength > 0 || t.ints.length === 0) ? t.raw : integerBytes(t, dtype);
  if (raw.byteLength !== bytes)
    throw new UserError("bad-tensor", `${label}: ${dtype}[${t.dims.join(", ")}] takes ${bytes} bytes, the file holds ${raw.byteLength}`);
  return { ...common, data: inlineConstant(raw), external: false };
}

function openExternal(label: string, entries: ReadonlyMap<string, string>, bytes: number, resolver: ExternalDataResolver | null): ConstantData {
  const location = entries.get("location") ?? "";
  const offset = Number(entries.get("offset") ?? 0);
  const length = entries.has("length") ? Number(entries.get("length")) : null;
  if (location === "") throw new UserError("external-data", `${label}: its data lies in another file, but the model does not say in which`);
  if (![offset, length ?? 0].every((n) => Number.isSafeInteger(n) && n >= 0))
    throw new UserError(
      "external-data",
      `${label}: external data at offset ${entries.get("offset")} of length ${entries.get("length")}, expected whole numbers that are not negative`,
    );
  if (length !== null && length !== bytes)
    throw new UserError("external-data", `${label}: takes ${bytes} bytes, the model says that '${location}' holds ${length} for it`);
  if (resolver === null)
    throw new UserError(
      "external-data",
      `${label}: its data lies in the file '${location}' beside the model; give the model's path instead of its bytes, or a resolver for external data`,
    );
  const data = resolver.open(location, offset, bytes);
  if (data.byteLength !== bytes)
    throw new UserError("external-data", `${label}: takes ${bytes} bytes, the resolver gave ${data.byteLength} of '${location}'`);
  return data;
}

/** The bytes of elements that are kept as varints: integers, the bits of narrow floats, bytes of what is packed. */
function integerBytes(t: TensorProto, dtype: DType): Uint8Array {
  if (dtype.bits < 8) return Uint8Array.from(t.ints, Number);
  const array = new (arrayOf(dtype))(t.ints.length);
  const big = dtype.bits === 64;
  t.ints.forEach((v, i) => {
    (array as { [i: number]: number | bigint })[i] = big ? (dtype === u64 ? BigInt.asUintN(64, v) : v) : Number(v);
  });
  return new Uint8Array(array.buffer);
}

/** The tensor in a node's attribute of the kinds that Constant has, or null when it is of another kind. */
export function readConstantAttribute(a: AttributeProto, resolver: ExternalDataResolver | null): ModelTensor | null {
  const of = (dtype: DType, dims: readonly number[], array: Float32Array | BigInt64Array): ModelTensor => ({
    dtype,
    dims,
    data: inlineConstant(new Uint8Array(array.buffer)),
    external: false,
  });
  switch (a.name) {
    case "value":
      return a.t === null ? null : readTensorProto(a.t, resolver);
    case "value_float":
      return of(f32, [], Float32Array.of(a.f));
    case "value_floats":
      return of(f32, [a.floats.length], Float32Array.from(a.floats));
    case "value_int":
      return of(i64, [], BigInt64Array.of(a.i));
    case "value_ints":
      return of(i64, [a.ints.length], BigInt64Array.from(a.ints));
    default:
      return null;
  }
}
