import { UnsupportedError, UserError } from "../base/errors.ts";
import type { NumberArray } from "../runtime/values.ts";
import type { Tensor } from "./tensor.ts";

/** The API's names of element types, and those of the rest of tilewright. */

type NumericType = Exclude<Tensor.Type, "string">;
type Arrays = Exclude<NumberArray, never> | Uint8ClampedArray;
interface ArrayClass {
  new (n: number): NumberArray;
  new (buffer: ArrayBufferLike, offset: number, length: number): NumberArray;
}

interface TypeInfo {
  /** tilewright's name. */
  readonly dtype: string;
  /** The classes that may hold the elements; the first is the one for new tensors. */
  readonly arrays: readonly string[];
}

const types: { readonly [T in NumericType]: TypeInfo } = {
  float32: { dtype: "f32", arrays: ["Float32Array"] },
  uint8: { dtype: "u8", arrays: ["Uint8Array", "Uint8ClampedArray"] },
  int8: { dtype: "i8", arrays: ["Int8Array"] },
  uint16: { dtype: "u16", arrays: ["Uint16Array"] },
  int16: { dtype: "i16", arrays: ["Int16Array"] },
  int32: { dtype: "i32", arrays: ["Int32Array"] },
  int64: { dtype: "i64", arrays: ["BigInt64Array"] },
  bool: { dtype: "bool", arrays: ["Uint8Array"] },
  float16: { dtype: "f16", arrays: ["Float16Array", "Uint16Array"] },
  float64: { dtype: "f64", arrays: ["Float64Array"] },
  uint32: { dtype: "u32", arrays: ["Uint32Array"] },
  uint64: { dtype: "u64", arrays: ["BigUint64Array"] },
  uint4: { dtype: "u4", arrays: ["Uint8Array"] },
  int4: { dtype: "i4", arrays: ["Int8Array", "Uint8Array"] },
};
const typeOfDtype = new Map(Object.entries(types).map(([type, { dtype }]) => [dtype, type as NumericType]));
/** The type of a tensor that is made of an array alone. */
const typeOfArray: Readonly<Record<string, NumericType>> = {
  Float32Array: "float32",
  Float64Array: "float64",
  Float16Array: "float16",
  Int8Array: "int8",
  Int16Array: "int16",
  Int32Array: "int32",
  BigInt64Array: "int64",
  Uint8Array: "uint8",
  Uint8ClampedArray: "uint8",
  Uint16Array: "uint16",
  Uint32Array: "uint32",
  BigUint64Array: "uint64",
};

/** The name of an array's class; arrays of other realms (frames, test runners' sandboxes) have it too. Empty for what is no typed array. */
export function arrayName(x: unknown): string {
  return ArrayBuffer.isView(x) ? ((x as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] ?? "DataView") : "";
}

/** Is it a type of numbers? */
export function isNumeric(type: string): type is NumericType {
  return Object.hasOwn(types, type);
}

/** Names of the types that a tensor can have. */
export const typeNames: readonly string[] = [...Object.keys(types), "string"];

/** The type for a typed array; null where there is none. */
export function inferredType(array: unknown): NumericType | null {
  return typeOfArray[arrayName(array)] ?? null;
}

/** The classes that may hold elements of a type, as this engine has them. */
export function arrayClasses(type: NumericType): readonly string[] {
  return types[type].arrays.filter((name) => name in globalThis);
}

/** The class that holds elements of new tensors of a type. */
export function classOf(type: NumericType): ArrayClass {
  // The API's 4-bit arrays: it declares Int8Array for int4, and makes a Uint8Array.
  const name = type === "int4" ? "Uint8Array" : (arrayClasses(type)[0] as string);
  return (globalThis as unknown as Record<string, ArrayClass>)[name] as ArrayClass;
}

/** Two elements are in a byte. */
export const isPacked = (type: string): boolean => type === "int4" || type === "uint4";

/**
 * The API's name of a dtype.
 * @throws UnsupportedError for dtypes that it has no name for
 */
export function typeOf(dtype: string, port: string): NumericType {
  const type = typeOfDtype.get(dtype);
  if (type !== undefined) return type;
  throw new UnsupportedError(
    "ort-type",
    `'${port}' is of type ${dtype}, which the API of onnxruntime-common has no name for: use tilewright's own API, whose run takes and gives such tensors`,
  );
}

/** The elements as the rest of tilewright takes them: floats of 16 bits as their bits, bytes unsigned. */
export function storedArray(type: NumericType, data: Arrays): NumberArray {
  const view = (make: ArrayClass): NumberArray => new make(data.buffer, data.byteOffset, data.length);
  const name = arrayName(data);
  if (type === "float16" && name === "Float16Array") return view(Uint16Array);
  if (name === "Uint8ClampedArray" || (type === "int4" && name === "Int8Array")) return view(Uint8Array);
  return data as NumberArray;
}

/** The same memory as an array of the class that the API gives for the type. `array` must be exactly what tilewright gives. */
export function apiArray(type: NumericType, array: NumberArray): NumberArray {
  const make = classOf(type);
  return array instanceof make ? array : new make(array.buffer, array.byteOffset, array.length);
}

/** @throws UserError for dims that are no list of sizes */
export function sizeOf(dims: unknown): number {
  if (!Array.isArray(dims)) throw new UserError("dims", `a tensor's dims must be an array of numbers, got ${typeof dims}`);
  return dims.reduce((size: number, d: unknown, i) => {
    if (!Number.isSafeInteger(d) || (d as number) < 0) throw new UserError("dims", `dims[${i}] is ${String(d)}, expected a whole number from 0 on`);
    return size * (d as number);
  }, 1);
}
