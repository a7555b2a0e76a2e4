import type { DType } from "../../base/dtype.ts";
import { InternalError } from "../../base/errors.ts";
import type { CoreOpName } from "../../scalar/ops/table.ts";

/**
 * How each core scalar op is rendered: the instructions that follow its operands on the stack, by compute type. SIMD
 * opcodes are written with their prefix in the high byte (0xfd_00_NN); saturating truncations with 0xfc.
 */
export type Shape = "i32" | "u32" | "i64" | "u64" | "f32" | "f64" | "i32x4" | "u32x4" | "f32x4" | "mask";
export type Instruction = number;
export const simd = (n: number): Instruction => 0xfd0000 | n;
export const saturating = (n: number): Instruction => 0xfc0000 | n;

/** A table by shape; what is missing has no rendering. */
type ByShape = Partial<Record<Shape, readonly Instruction[]>>;
/** `special`: needs more than its operands on the stack; written out in emission. */
type Rendering = ByShape | "special";

const int = (i32: number, u32: number, i64: number, u64: number): ByShape => ({ i32: [i32], u32: [u32], i64: [i64], u64: [u64] });
const sameInt = (i32: number, i64: number): ByShape => int(i32, i32, i64, i64);
const float = (f32: number, f64: number, f32x4: number): ByShape => ({ f32: [f32], f64: [f64], f32x4: [simd(f32x4)] });
const vector = (i32x4: number, u32x4 = i32x4): ByShape => ({ i32x4: [simd(i32x4)], u32x4: [simd(u32x4)] });

export const rendering: { readonly [K in CoreOpName]: Rendering } = {
  add: { ...sameInt(0x6a, 0x7c), ...float(0x92, 0xa0, 0xe4), ...vector(0xae) },
  sub: { ...sameInt(0x6b, 0x7d), ...float(0x93, 0xa1, 0xe5), ...vector(0xb1) },
  mul: { ...sameInt(0x6c, 0x7e), ...float(0x94, 0xa2, 0xe6), ...vector(0xb5) },
  div: { ...int(0x6d, 0x6e, 0x7f, 0x80), ...float(0x95, 0xa3, 0xe7) },
  rem: "special",
  floordiv: "special",
  mod: "special",
  min: "special",
  max: "special",
  fma: "special",
  neg: "special",
  abs: "special",
  sqrt: float(0x91, 0x9f, 0xe3),
  floor: float(0x8e, 0x9c, 0x68),
  ceil: float(0x8d, 0x9b, 0x67),
  trunc: float(0x8f, 0x9d, 0x69),
  round: float(0x90, 0x9e, 0x6a),
  eq: { ...sameInt(0x46, 0x51), ...float(0x5b, 0x61, 0x41), ...vector(0x37), mask: [simd(0x37)] },
  ne: { ...sameInt(0x47, 0x52), ...float(0x5c, 0x62, 0x42), ...vector(0x38), mask: [simd(0x38)] },
  lt: { ...int(0x48, 0x49, 0x53, 0x54), ...float(0x5d, 0x63, 0x43), ...vector(0x39, 0x3a) },
  le: { ...int(0x4c, 0x4d, 0x57, 0x58), ...float(0x5f, 0x65, 0x45), ...vector(0x3d, 0x3e) },
  gt: { ...int(0x4a, 0x4b, 0x55, 0x56), ...float(0x5e, 0x64, 0x44), ...vector(0x3b, 0x3c) },
  ge: { ...int(0x4e, 0x4f, 0x59, 0x5a), ...float(0x60, 0x66, 0x46), ...vector(0x3f, 0x40) },
  and: { ...sameInt(0x71, 0x83), ...vector(0x4e), mask: [simd(0x4e)] },
  or: { ...sameInt(0x72, 0x84), ...vector(0x50), mask: [simd(0x50)] },
  xor: { ...sameInt(0x73, 0x85), ...vector(0x51), mask: [simd(0x51)] },
  not: "special",
  shl: "special",
  shr: "special",
  dot16: vector(0xba),
  dot8: "special",
  add16: vector(0x8e),
  select: "special",
  cast: "special",
  bitcast: "special",
};

/** The machine shape of a value. */
export function shapeOf(d: DType, lanes: number): Shape {
  if (lanes === 1)
    return d.compute === "i32" && d.kind !== "int" && d.kind !== "bool" && d.bits === 32
      ? "u32"
      : d.compute === "i64" && d.kind === "uint"
        ? "u64"
        : d.compute;
  if (d.kind === "bool") return "mask";
  if (d.name === "f32") return "f32x4";
  // Narrower integers lie in lanes of 32 bits.
  if (d.name === "i32" || (d.isInteger && d.bits < 32)) return "i32x4";
  if (d.name === "u32") return "u32x4";
  throw new InternalError("wasm-shape", `no vectors of ${d}`);
}
