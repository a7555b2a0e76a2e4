/** Names of WebAssembly's instructions by their codes (core specification 2.0, and the proposals for relaxed SIMD and for threads), for listings. */

/** `prefix: a b c` gives `prefix.a`, …; `-` leaves a code out. */
function names(first: number, text: string): [number, string][] {
  let code = first;
  return text
    .trim()
    .split("\n")
    .flatMap((line) => {
      const [prefix = "", rest = ""] = line.trim().split(":");
      return rest
        .trim()
        .split(/\s+/)
        .map((w): [number, string] => [code++, w === "-" ? "" : prefix === "" ? w : `${prefix}.${w}`]);
    });
}

const intCompare = "eqz eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u";
const intArith = "clz ctz popcnt add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr";
const floatArith = "abs neg ceil floor trunc nearest sqrt add sub mul div min max copysign";
const floatCompare = "eq ne lt gt le ge";

/** One-byte instructions. */
export const plainNames: ReadonlyMap<number, string> = new Map([
  ...names(0x00, ": unreachable nop block loop if else"),
  ...names(0x0b, ": end br br_if br_table return call call_indirect"),
  ...names(0x1a, ": drop select"),
  ...names(0x20, "local: get set tee\nglobal: get set"),
  ...names(
    0x28,
    `i32: load\ni64: load\nf32: load\nf64: load\ni32: load8_s load8_u load16_s load16_u\ni64: load8_s load8_u load16_s load16_u load32_s load32_u
     i32: store\ni64: store\nf32: store\nf64: store\ni32: store8 store16\ni64: store8 store16 store32\nmemory: size grow\ni32: const\ni64: const\nf32: const\nf64: const
     i32: ${intCompare}\ni64: ${intCompare}\nf32: ${floatCompare}\nf64: ${floatCompare}\ni32: ${intArith}\ni64: ${intArith}\nf32: ${floatArith}\nf64: ${floatArith}
     i32: wrap_i64 trunc_f32_s trunc_f32_u trunc_f64_s trunc_f64_u\ni64: extend_i32_s extend_i32_u trunc_f32_s trunc_f32_u trunc_f64_s trunc_f64_u
     f32: convert_i32_s convert_i32_u convert_i64_s convert_i64_u demote_f64\nf64: convert_i32_s convert_i32_u convert_i64_s convert_i64_u promote_f32
     i32: reinterpret_f32\ni64: reinterpret_f64\nf32: reinterpret_i32\nf64: reinterpret_i64\ni32: extend8_s extend16_s\ni64: extend8_s extend16_s extend32_s`,
  ),
]);

/** Instructions behind 0xfc. */
export const saturatingNames: ReadonlyMap<number, string> = new Map(
  names(
    0,
    "i32: trunc_sat_f32_s trunc_sat_f32_u trunc_sat_f64_s trunc_sat_f64_u\ni64: trunc_sat_f32_s trunc_sat_f32_u trunc_sat_f64_s trunc_sat_f64_u\nmemory: init\ndata: drop\nmemory: copy fill",
  ),
);

const laneCompare = "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u";
/** Instructions behind 0xfd. */
export const simdNames: ReadonlyMap<number, string> = new Map([
  ...names(
    0,
    `v128: load load8x8_s load8x8_u load16x4_s load16x4_u load32x2_s load32x2_u load8_splat load16_splat load32_splat load64_splat store const
     i8x16: shuffle swizzle splat\ni16x8: splat\ni32x4: splat\ni64x2: splat\nf32x4: splat\nf64x2: splat
     i8x16: extract_lane_s extract_lane_u replace_lane\ni16x8: extract_lane_s extract_lane_u replace_lane
     i32x4: extract_lane replace_lane\ni64x2: extract_lane replace_lane\nf32x4: extract_lane replace_lane\nf64x2: extract_lane replace_lane
     i8x16: ${laneCompare}\ni16x8: ${laneCompare}\ni32x4: ${laneCompare}\nf32x4: ${floatCompare}\nf64x2: ${floatCompare}
     v128: not and andnot or xor bitselect any_true load8_lane load16_lane load32_lane load64_lane store8_lane store16_lane store32_lane store64_lane load32_zero load64_zero
     f32x4: demote_f64x2_zero\nf64x2: promote_low_f32x4\ni8x16: abs neg popcnt all_true bitmask narrow_i16x8_s narrow_i16x8_u\nf32x4: ceil floor trunc nearest
     i8x16: shl shr_s shr_u add add_sat_s add_sat_u sub sub_sat_s sub_sat_u\nf64x2: ceil floor\ni8x16: min_s min_u max_s max_u\nf64x2: trunc\ni8x16: avgr_u
     i16x8: extadd_pairwise_i8x16_s extadd_pairwise_i8x16_u\ni32x4: extadd_pairwise_i16x8_s extadd_pairwise_i16x8_u
     i16x8: abs neg q15mulr_sat_s all_true bitmask narrow_i32x4_s narrow_i32x4_u extend_low_i8x16_s extend_high_i8x16_s extend_low_i8x16_u extend_high_i8x16_u shl shr_s shr_u add add_sat_s add_sat_u sub sub_sat_s sub_sat_u
     f64x2: nearest\ni16x8: mul min_s min_u max_s max_u - avgr_u extmul_low_i8x16_s extmul_high_i8x16_s extmul_low_i8x16_u extmul_high_i8x16_u
     i32x4: abs neg - all_true bitmask - - extend_low_i16x8_s extend_high_i16x8_s extend_low_i16x8_u extend_high_i16x8_u shl shr_s shr_u add - - sub - - - mul min_s min_u max_s max_u dot_i16x8_s - extmul_low_i16x8_s extmul_high_i16x8_s extmul_low_i16x8_u extmul_high_i16x8_u
     i64x2: abs neg - all_true bitmask - - extend_low_i32x4_s extend_high_i32x4_s extend_low_i32x4_u extend_high_i32x4_u shl shr_s shr_u add - - sub - - - mul eq ne lt_s gt_s le_s ge_s extmul_low_i32x4_s extmul_high_i32x4_s extmul_low_i32x4_u extmul_high_i32x4_u
     f32x4: abs neg - sqrt add sub mul div min max pmin pmax\nf64x2: abs neg - sqrt add sub mul div min max pmin pmax
     i32x4: trunc_sat_f32x4_s trunc_sat_f32x4_u\nf32x4: convert_i32x4_s convert_i32x4_u\ni32x4: trunc_sat_f64x2_s_zero trunc_sat_f64x2_u_zero\nf64x2: convert_low_i32x4_s convert_low_i32x4_u
     i8x16: relaxed_swizzle\ni32x4: relaxed_trunc_f32x4_s relaxed_trunc_f32x4_u relaxed_trunc_f64x2_s_zero relaxed_trunc_f64x2_u_zero
     f32x4: relaxed_madd relaxed_nmadd\nf64x2: relaxed_madd relaxed_nmadd\ni8x16: relaxed_laneselect\ni16x8: relaxed_laneselect\ni32x4: relaxed_laneselect\ni64x2: relaxed_laneselect
     f32x4: relaxed_min relaxed_max\nf64x2: relaxed_min relaxed_max\ni16x8: relaxed_q15mulr_s relaxed_dot_i8x16_i7x16_s\ni32x4: relaxed_dot_i8x16_i7x16_add_s`,
  ),
]);

/** The seven widths of each atomic read-modify-write. */
const readModifyWrite = (op: string): string =>
  `i32: atomic.rmw.${op}\ni64: atomic.rmw.${op}\ni32: atomic.rmw8.${op}_u atomic.rmw16.${op}_u\ni64: atomic.rmw8.${op}_u atomic.rmw16.${op}_u atomic.rmw32.${op}_u`;

/** Instructions behind 0xfe. */
export const atomicNames: ReadonlyMap<number, string> = new Map([
  ...names(0x00, "memory: atomic.notify atomic.wait32 atomic.wait64"),
  ...names(0x03, ": atomic.fence"),
  ...names(
    0x10,
    `i32: atomic.load\ni64: atomic.load\ni32: atomic.load8_u atomic.load16_u\ni64: atomic.load8_u atomic.load16_u atomic.load32_u
     i32: atomic.store\ni64: atomic.store\ni32: atomic.store8 atomic.store16\ni64: atomic.store8 atomic.store16 atomic.store32
     ${["add", "sub", "and", "or", "xor", "xchg", "cmpxchg"].map(readModifyWrite).join("\n")}`,
  ),
]);
