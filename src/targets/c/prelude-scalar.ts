import { findDType } from "../../base/dtype.ts";
import type { Helper } from "./prelude.ts";

/** C types of scalars by the names that helpers have for them. */
const types = {
  f32: "float",
  f64: "double",
  i8: "int8_t",
  u8: "uint8_t",
  i16: "int16_t",
  u16: "uint16_t",
  i32: "int32_t",
  u32: "uint32_t",
  i64: "int64_t",
  u64: "uint64_t",
} as const;
type ScalarName = keyof typeof types;
const isScalar = (s: string | undefined): s is ScalarName => s !== undefined && Object.hasOwn(types, s);

const define = (head: string, body: readonly string[], needs: readonly string[] = []): Helper => ({
  text: `static inline ${head} {\n${body.map((l) => `  ${l}\n`).join("")}}\n`,
  needs,
});

/** The scalar helper of that name: `tw_OP_TYPE`, conversions `tw_cast_TO_FROM` and `tw_bits_TO_FROM`; null when there is none. */
export function scalarHelper(name: string): Helper | null {
  const [, op, a, b] = name.split("_");
  const narrow = findDType(name.replace("tw_wrap_", ""));
  if (op === "wrap" && narrow !== null) {
    const mask = 2 ** narrow.bits - 1;
    const sign = 2 ** (narrow.bits - 1);
    return define(`int32_t ${name}(int32_t a)`, [narrow.kind === "uint" ? `return a & ${mask};` : `return ((a & ${mask}) ^ ${sign}) - ${sign};`]);
  }
  if (op === undefined || !isScalar(a)) return null;
  const t = types[a];
  switch (op) {
    case "load":
      return load(name, a);
    case "store":
      return store(name, a);
    case "add":
    case "sub":
    case "mul":
      return wrapping(name, a, { add: "+", sub: "-", mul: "*" }[op]);
    case "neg":
      return define(`${t} ${name}(${t} a)`, [`return (${t})(0 - (u${t})a);`]);
    case "shl":
      return define(`${t} ${name}(${t} a, ${t} n)`, [`return (${t})((${unsignedOf(t)})a << (n & ${t.includes("64") ? 63 : 31}));`]);
    case "shr":
      return define(`${t} ${name}(${t} a, ${t} n)`, [`return a >> (n & ${t.includes("64") ? 63 : 31});`]);
    case "abs":
      return define(`${t} ${name}(${t} a)`, [`return a < 0 ? (${t})(0 - (u${t})a) : a;`]);
    case "min":
    case "max":
      return extremum(name, t, op === "min" ? "<" : ">");
    case "lt":
    case "le":
    case "gt":
    case "ge":
    case "eq":
    case "ne":
      return define(`int32_t ${name}(${t} a, ${t} b)`, [`return a ${{ lt: "<", le: "<=", gt: ">", ge: ">=", eq: "==", ne: "!=" }[op]} b;`]);
    case "cast":
      return isScalar(b) ? saturating(name, a, b) : null;
    case "bits":
      return isScalar(b) ? define(`${t} ${name}(${types[b]} a)`, [`${t} r;`, "memcpy(&r, &a, sizeof r);", "return r;"]) : null;
    default:
      return null;
  }
}

const unsignedOf = (t: string): string => (t.startsWith("u") ? t : `u${t}`);

/** Memory is read by copying: what type it was stored as does not matter to C. */
function load(name: string, s: ScalarName): Helper {
  const t = types[s];
  if (s === "u8") return define(`int32_t ${name}(const unsigned char *p)`, ["return *p;"]);
  if (s === "i8") return define(`int32_t ${name}(const unsigned char *p)`, ["return (int8_t)*p;"]);
  const wide = s === "i16" || s === "u16" ? "int32_t" : t;
  return define(`${wide} ${name}(const unsigned char *p)`, [`${t} x;`, "memcpy(&x, p, sizeof x);", "return x;"]);
}

function store(name: string, s: ScalarName): Helper {
  const t = types[s];
  if (s === "u8" || s === "i8") return define(`void ${name}(unsigned char *p, int32_t x)`, ["*p = (unsigned char)x;"]);
  if (s === "i16" || s === "u16")
    return define(`void ${name}(unsigned char *p, int32_t x)`, ["const uint16_t y = (uint16_t)x;", "memcpy(p, &y, sizeof y);"]);
  return define(`void ${name}(unsigned char *p, ${t} x)`, ["memcpy(p, &x, sizeof x);"]);
}

/** Integers wrap. */
function wrapping(name: string, s: ScalarName, symbol: string): Helper {
  const t = types[s];
  return define(`${t} ${name}(${t} a, ${t} b)`, [`return (${t})((${unsignedOf(t)})a ${symbol} (${unsignedOf(t)})b);`]);
}

/** The smaller or larger; of floats NaN if one is NaN. */
function extremum(name: string, t: string, symbol: string): Helper {
  const nan = t === "float" || t === "double" ? "a != a || " : "";
  return define(`${t} ${name}(${t} a, ${t} b)`, [`return ${nan}a ${symbol} b ? a : b;`]);
}

/** A float as an integer: towards zero, at the ends of the range the nearest, 0 for NaN. */
function saturating(name: string, to: ScalarName, from: ScalarName): Helper | null {
  if (from !== "f32" && from !== "f64") return null;
  const [t, f] = [types[to], types[from]];
  const suffix = from === "f32" ? "f" : "";
  const [low, high] = {
    i32: ["-2147483648.0", "2147483648.0"],
    u32: ["0.0", "4294967296.0"],
    i64: ["-9223372036854775808.0", "9223372036854775808.0"],
    u64: ["0.0", "18446744073709551616.0"],
  }[to as string] ?? [null, null];
  if (low === null || high === null) return null;
  const [least, most] = to.startsWith("i") ? [`INT${to.slice(1)}_MIN`, `INT${to.slice(1)}_MAX`] : ["0", `UINT${to.slice(1)}_MAX`];
  return define(`${t} ${name}(${f} x)`, [
    "if (x != x) return 0;",
    `if (x <= ${low}${suffix}) return ${least};`,
    `if (x >= ${high}${suffix}) return ${most};`,
    `return (${t})x;`,
  ]);
}
