import type { DType } from "../../base/dtype.ts";
import { InternalError } from "../../base/errors.ts";
import { Names } from "../../base/text.ts";

/** The C type in which a scalar of the dtype is computed; narrow integers and truth values are computed in int32_t. */
export function scalarType(d: DType): string {
  switch (d.compute) {
    case "f32":
      return "float";
    case "f64":
      return "double";
    case "i32":
      return d.kind === "uint" && d.bits === 32 ? "uint32_t" : "int32_t";
    case "i64":
      return d.kind === "uint" ? "uint64_t" : "int64_t";
    default:
      throw d.compute satisfies never;
  }
}

/** The dtype whose arithmetic a scalar is computed with: of narrow integers and truth values i32's. */
export function arithmeticName(d: DType): "f32" | "f64" | "i32" | "u32" | "i64" | "u64" {
  if (d.kind !== "uint") return d.compute;
  if (d.compute === "i64") return "u64";
  return d.bits === 32 ? "u32" : "i32";
}

/** Elements of vectors; their truth values have a type of their own. */
export type LaneName = "f32" | "i32" | "u32";
export function laneName(d: DType): LaneName {
  if (d.name === "f32" || d.name === "i32" || d.name === "u32") return d.name;
  // Narrower integers lie in lanes of 32 bits.
  if (d.isInteger && d.bits < 32) return "i32";
  throw new InternalError("c", `there are no vectors of ${d}`);
}

/** Words that no variable or function may be called: C's and C++'s own, and names of the headers that the code includes. */
const taken = new Set(
  `alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl concept const consteval constexpr constinit const_cast continue
  co_await co_return co_yield decltype default delete do double dynamic_cast else enum explicit export extern false float for friend goto if inline int
  long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires restrict return
  short signed sizeof static static_assert static_cast struct switch template this thread_local throw true try typedef typeid typename typeof union
  unsigned using virtual void volatile wchar_t while xor xor_eq linux unix i386 main errno stdin stdout stderr
  sqrtf fabsf floorf ceilf truncf rintf fmaf
  abs acos asin atan cbrt ceil cos cosh div erf exp exp2 expm1 fabs floor fma fmax fmin fmod frexp gamma hypot index j0 j1 jn labs ldexp lgamma log log10
  log1p log2 logb lrint lround memchr memcmp memcpy memmove memset modf nan nearbyint pow remainder rindex rint round scalbn sin sinh sqrt strcat strchr
  strcmp strcpy strlen tan tanh tgamma trunc y0 y1 yn significand signgam drem finite malloc free calloc realloc exit abort clock time open close read
  write link pipe select signal INFINITY NAN NULL EOF FILE DIR time_t clock_t off_t size_t ssize_t ptrdiff_t intptr_t uintptr_t intmax_t uintmax_t
  int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t INT32_MIN INT32_MAX INT64_MIN INT64_MAX UINT32_MAX UINT64_MAX`
    .trim()
    .split(/\s+/),
);

/** Longest name made of a name of the model. */
const longest = 60;

/** Any name as a C identifier that is no word of C's or C++'s and none of the runtime's (`tw_…`). */
export function cIdentifier(name: string): string {
  const clean = name
    .replace(/[^A-Za-z0-9_]+/g, "_")
    .replace(/^_+|_+$/g, "")
    .replace(/__+/g, "_")
    .slice(0, longest);
  return /^[0-9]|^$|^tw_/.test(clean) || taken.has(clean) ? `v_${clean}` : clean;
}

/** Gives out C names that are unique within one function or file. */
export function cNames(): Names {
  return new Names(cIdentifier);
}

/** Any text as the inside of a C comment: one line of printable ASCII that neither ends nor begins a comment. */
export function commentText(text: string): string {
  return text
    .replace(/[^\x20-\x7e]/g, "?")
    .replace(/\*\//g, "* /")
    .replace(/\/\*/g, "/ *")
    .replace(/\?\?/g, "? ?")
    .replace(/\\$/, "\\ ");
}

/** The text in lines of a comment, as wide as the code. */
export function commentLines(text: string, width = 140): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of commentText(text).split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

/** A float as a C literal: the shortest decimal that reads back to the same value. */
function floatLiteral(v: number, single: boolean): string {
  if (Number.isNaN(v)) return "NAN";
  if (!Number.isFinite(v)) return v > 0 ? "INFINITY" : "-INFINITY";
  const text = Object.is(v, -0) ? "-0.0" : single ? shortestSingle(v) : String(v);
  const decimal = /[.e]/.test(text) ? text : `${text}.0`;
  return single ? `${decimal}f` : decimal;
}

function shortestSingle(v: number): string {
  const exact = Math.fround(v);
  if (exact === 0) return v < 0 ? "-0.0" : "0.0";
  for (let digits = 1; digits < 9; digits++) {
    const text = String(Number(exact.toPrecision(digits)));
    // Not so near to the middle between two floats that reading it by way of a double could decide.
    const distance = Math.abs(Number(text) - exact);
    if (Math.fround(Number(text)) === exact && distance < 2 ** (Math.floor(Math.log2(Math.abs(exact))) - 25)) return text;
  }
  return String(exact);
}

/** A number of the arithmetic's type as a C literal. */
export function literal(v: number | bigint, type: "f32" | "f64" | "i32" | "u32" | "i64" | "u64"): string {
  if (type === "f32" || type === "f64") return floatLiteral(Number(v), type === "f32");
  const n = BigInt(v);
  switch (type) {
    case "i32":
      return n === -(2n ** 31n) ? "INT32_MIN" : String(n);
    case "u32":
      return `${BigInt.asUintN(32, n)}u`;
    case "i64":
      return n === -(2n ** 63n) ? "INT64_MIN" : `INT64_C(${n})`;
    case "u64":
      return `UINT64_C(${BigInt.asUintN(64, n)})`;
    default:
      throw type satisfies never;
  }
}
