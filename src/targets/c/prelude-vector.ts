import type { Level } from "./levels.ts";
import type { Helper } from "./prelude.ts";

/** The processor's own functions for vectors of so many lanes begin with this. */
const prefixes: Readonly<Record<number, string>> = { 4: "_mm", 8: "_mm256", 16: "_mm512" };
/** Instruction sets of functions on vectors of so many lanes, where truth values are lanes. */
const targets: Readonly<Record<number, string>> = { 4: "TW_SSE42", 8: "TW_AVX2", 16: "TW_AVX512" };

/** Attributes of the functions of each instruction set; written before them. */
const attributeText = `#define TW_SSE42 static inline __attribute__((always_inline, target("sse4.2")))
#define TW_AVX2 static inline __attribute__((always_inline, target("avx2,fma")))
#define TW_AVX512 static inline __attribute__((always_inline, target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")))
`;
/** Those of the attributes that a text uses. */
export function attributesOf(text: string): string {
  return attributeText
    .split("\n")
    .filter((l) => text.includes(`${l.split(" ")[1]} `) && l !== "")
    .map((l) => `${l}\n`)
    .join("");
}

/** `tw_fma_f32` of 8 lanes is `tw_fma_f32x8`; where truth values are bits of a mask, what has to do with them ends in k. */
export function vectorName(name: string, lanes: number, level: Level): string {
  const masked = level.masks && /^tw_(select|lt|le|gt|ge|eq|ne)_|mask$/.test(name);
  return `${name}x${lanes}${masked ? "k" : ""}`;
}

interface Context {
  readonly full: string;
  readonly lanes: number;
  readonly level: Level;
  /** `_mm256` and the like. */
  readonly mm: string;
  /** `tw_f32x8` and the like. */
  readonly f32: string;
  readonly i32: string;
  readonly u32: string;
  /** Truth values, one for each lane. */
  readonly mask: string;
}

/** The vector helper of that name (`tw_OP_TYPE`, without lanes), called `full`; null when there is none. */
export function vectorHelper(name: string, full: string, lanes: number, level: Level): Helper | null {
  const mm = prefixes[lanes];
  if (mm === undefined || lanes > level.lanes) return null;
  const c: Context = {
    full,
    lanes,
    level,
    mm,
    f32: `tw_f32x${lanes}`,
    i32: `tw_i32x${lanes}`,
    u32: `tw_u32x${lanes}`,
    mask: vectorName("tw_mask", lanes, level),
  };
  const [, op = "", ...rest] = name.split("_");
  const type = rest[0];
  switch (op) {
    case "f32":
    case "i32":
    case "u32":
    case "mask":
      return typeHelper(c, op);
    case "unaligned":
      return unaligned(c, type ?? "");
    case "load":
    case "store":
      if (type === "mask") return loadMask(c);
      return type !== undefined && Object.hasOwn(narrowTypes, type) ? narrowMemory(c, op, type) : memory(c, op, type ?? "");
    case "wrap":
      return wrapLanes(c, type ?? "");
    case "splat":
      return type === "mask" ? splatMask(c) : splat(c, type ?? "");
    case "insert":
      return insert(c, type ?? "");
    case "cast":
      return cast(c, type ?? "", rest[1] ?? "");
    case "select":
      return select(c, type ?? "");
    case "min":
    case "max":
      return extremum(c, op, rest.join("_"));
    case "lt":
    case "le":
    case "gt":
    case "ge":
    case "eq":
    case "ne":
      return compare(c, op, type ?? "");
    default:
      return arithmetic(c, op, type ?? "");
  }
}

const typeOf = (c: Context, t: string): string => (t === "mask" ? c.mask : `tw_${t}x${c.lanes}`);

/** A function of one line or several; `masks`: of mask registers. */
function define(c: Context, result: string, params: string, body: readonly string[], needs: readonly string[], attribute?: string): Helper {
  const target = attribute ?? (c.full.endsWith("k") ? "TW_AVX512" : (targets[c.lanes] as string));
  return { text: `${target} ${result} ${c.full}(${params}) {\n${body.map((l) => `  ${l}\n`).join("")}}\n`, needs: needs.map((n) => `tw_${n}`) };
}

function typeHelper(c: Context, t: "f32" | "i32" | "u32" | "mask"): Helper {
  if (t === "mask") {
    if (c.level.masks) return { text: `typedef __mmask${c.lanes === 16 ? 16 : 8} ${c.full};\n`, needs: [] };
    return { text: `typedef ${c.i32} ${c.full};\n`, needs: ["tw_i32"] };
  }
  const element = { f32: "float", i32: "int32_t", u32: "uint32_t" }[t];
  return { text: `typedef ${element} ${c.full} __attribute__((vector_size(${4 * c.lanes})));\n`, needs: [] };
}

/** The same, wherever an element may lie, and whatever it was stored as. */
function unaligned(c: Context, t: string): Helper {
  return { text: `typedef tw_${t}x${c.lanes} ${c.full} __attribute__((aligned(4), may_alias));\n`, needs: [`tw_${t}`] };
}

function memory(c: Context, op: "load" | "store", t: string): Helper {
  const v = typeOf(c, t);
  const needs = [t, `unaligned_${t}`];
  const place = `tw_unaligned_${t}x${c.lanes}`;
  if (op === "load") return define(c, v, "const unsigned char *p", [`return *(const ${place} *)p;`], needs);
  return define(c, "void", `unsigned char *p, ${v} x`, [`*(${place} *)p = x;`], needs);
}

/** Integers narrower than lanes: bits, and whether they have no sign. */
const narrowTypes: Readonly<Record<string, readonly [8 | 16, boolean]>> = { i8: [8, false], u8: [8, true], i16: [16, false], u16: [16, true] };

/** Neighbours of 8 or 16 bits as lanes of 32, and back; lanes hold values of the narrow type. */
function narrowMemory(c: Context, op: "load" | "store", t: string): Helper {
  const [bits, unsigned] = narrowTypes[t] as readonly [8 | 16, boolean];
  const bytes = (c.lanes * bits) / 8;
  const cast = "(const __m128i *)(const void *)p";
  const to = "(__m128i *)(void *)p";
  if (op === "load") {
    const widen = `${c.mm}_cvtep${unsigned ? "u" : "i"}${bits}_epi32`;
    const source = {
      4: ["int32_t x;", "memcpy(&x, p, sizeof x);", "const __m128i b = _mm_cvtsi32_si128(x);"],
      8: [`const __m128i b = _mm_loadl_epi64(${cast});`],
    }[bytes];
    const wide =
      bytes === 32 ? "const __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)p);" : `const __m128i b = _mm_loadu_si128(${cast});`;
    return define(c, c.i32, "const unsigned char *p", [...(source ?? [wide]), `return (${c.i32})${widen}(b);`], ["i32"]);
  }
  const params = `unsigned char *p, ${c.i32} x`;
  if (c.lanes === 16) {
    const narrowed = `_mm512_cvtepi32_epi${bits}((__m512i)x)`;
    return define(
      c,
      "void",
      params,
      [bits === 8 ? `_mm_storeu_si128(${to}, ${narrowed});` : `_mm256_storeu_si256((__m256i *)(void *)p, ${narrowed});`],
      ["i32"],
    );
  }
  const halves = c.lanes === 8 ? "_mm256_castsi256_si128((__m256i)x), _mm256_extracti128_si256((__m256i)x, 1)" : "(__m128i)x, (__m128i)x";
  const words = `const __m128i w = _mm_pack${bits === 16 && unsigned ? "us" : "s"}_epi32(${halves});`;
  const packed = bits === 8 ? `_mm_pack${unsigned ? "us" : "s"}_epi16(w, w)` : "w";
  const store =
    bytes === 4
      ? [`const int32_t b = _mm_cvtsi128_si32(${packed});`, "memcpy(p, &b, sizeof b);"]
      : [bytes === 8 ? `_mm_storel_epi64(${to}, ${packed});` : `_mm_storeu_si128(${to}, ${packed});`];
  return define(c, "void", params, [words, ...store], ["i32"]);
}

/** Lanes reduced to the range of a narrower type. */
function wrapLanes(c: Context, t: string): Helper | null {
  const [bits, unsigned] = narrowTypes[t] ?? [];
  if (bits === undefined) return null;
  const [mask, sign] = [2 ** bits - 1, 2 ** (bits - 1)];
  return define(c, c.i32, `${c.i32} a`, [unsigned ? `return a & ${mask};` : `return ((a & ${mask}) ^ ${sign}) - ${sign};`], ["i32"]);
}

/** Bytes of 0 or 1 as truth values of lanes. */
function loadMask(c: Context): Helper {
  const bytes = {
    4: ["int32_t x;", "memcpy(&x, p, sizeof x);", "const __m128i b = _mm_cvtsi32_si128(x);"],
    8: ["const __m128i b = _mm_loadl_epi64((const __m128i *)(const void *)p);"],
    16: ["const __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);"],
  }[c.lanes] as readonly string[];
  const result = c.level.masks ? `return (${c.mask})_mm_test_epi8_mask(b, b);` : `return 0 - (${c.i32})${c.mm}_cvtepu8_epi32(b);`;
  return define(c, c.mask, "const unsigned char *p", [...bytes, result], ["mask"]);
}

const scalarOf: Readonly<Record<string, string>> = { f32: "float", i32: "int32_t", u32: "uint32_t" };
const repeated = (c: Context, x: string): string => `{${new Array<string>(c.lanes).fill(x).join(", ")}}`;

function splat(c: Context, t: string): Helper {
  const v = typeOf(c, t);
  return define(c, v, `${scalarOf[t]} x`, [`return (${v})${repeated(c, "x")};`], [t]);
}
function splatMask(c: Context): Helper {
  if (c.level.masks) return define(c, c.mask, "int32_t x", [`return x ? (${c.mask})${(1 << c.lanes) - 1} : (${c.mask})0;`], ["mask"]);
  return define(c, c.mask, "int32_t x", [`return (${c.mask})${repeated(c, "-x")};`], ["mask"]);
}

function insert(c: Context, t: string): Helper {
  if (t === "mask" && c.level.masks)
    return define(c, c.mask, `${c.mask} v, int32_t x, int lane`, [`return (${c.mask})((v & ~(1 << lane)) | (x << lane));`], ["mask"]);
  const v = typeOf(c, t);
  const value = t === "mask" ? "-x" : "x";
  return define(c, v, `${v} v, ${scalarOf[t] ?? "int32_t"} x, int lane`, [`v[lane] = ${value};`, "return v;"], [t]);
}

/** The processor's functions on lanes as words; of dot8 the one without a sign comes first. */
const wordFunctions = {
  dot16: { name: "madd_epi16", swaps: false },
  dot8: { name: "maddubs_epi16", swaps: true },
  add16: { name: "add_epi16", swaps: false },
} as const;

/** Integers wrap: C's own vectors of signed integers must not. */
function arithmetic(c: Context, op: string, t: string): Helper | null {
  const { f32, i32, u32, mm } = c;
  const v = typeOf(c, t);
  const infix = { add: "+", sub: "-", mul: "*" }[op];
  if (infix !== undefined && t === "i32")
    return define(c, i32, `${i32} a, ${i32} b`, [`return (${i32})((${u32})a ${infix} (${u32})b);`], ["i32", "u32"]);
  if (op === "neg" && t === "i32") return define(c, i32, `${i32} a`, [`return (${i32})(0u - (${u32})a);`], ["i32", "u32"]);
  if (t === "i32" && Object.hasOwn(wordFunctions, op)) {
    const { name, swaps } = wordFunctions[op as keyof typeof wordFunctions];
    const [x, y] = [`(${integer(c)})a`, `(${integer(c)})b`];
    return define(c, i32, `${i32} a, ${i32} b`, [`return (${i32})${mm}_${name}(${swaps ? `${y}, ${x}` : `${x}, ${y}`});`], ["i32"]);
  }
  if (op === "shl") return define(c, v, `${v} a, int32_t n`, [`return (${v})${mm}_sll_epi32((${integer(c)})a, _mm_cvtsi32_si128(n & 31));`], [t]);
  if (op === "shr") {
    const shift = t === "u32" ? "srl" : "sra";
    return define(c, v, `${v} a, int32_t n`, [`return (${v})${mm}_${shift}_epi32((${integer(c)})a, _mm_cvtsi32_si128(n & 31));`], [t]);
  }
  if (op === "abs" && t === "i32") return define(c, i32, `${i32} a`, [`return (${i32})${mm}_abs_epi32((${integer(c)})a);`], ["i32"]);
  if (t !== "f32") return null;
  switch (op) {
    case "fma":
      // Of four lanes, too, an instruction of the level above.
      return define(
        c,
        f32,
        `${f32} a, ${f32} b, ${f32} c`,
        [`return (${f32})${mm}_fmadd_ps(a, b, c);`],
        ["f32"],
        c.lanes === 16 ? "TW_AVX512" : "TW_AVX2",
      );
    case "sqrt":
      return define(c, f32, `${f32} a`, [`return (${f32})${mm}_sqrt_ps(a);`], ["f32"]);
    case "abs":
      return define(c, f32, `${f32} a`, [`return (${f32})((${i32})a & 0x7fffffff);`], ["f32", "i32"]);
    case "floor":
    case "ceil":
    case "trunc":
    case "round": {
      const mode = `_MM_FROUND_TO_${{ floor: "NEG_INF", ceil: "POS_INF", trunc: "ZERO", round: "NEAREST_INT" }[op]} | _MM_FROUND_NO_EXC`;
      if (c.lanes < 16) return define(c, f32, `${f32} a`, [`return (${f32})${mm}_round_ps(a, ${mode});`], ["f32"]);
      // Without optimisation this is a macro with a conversion that compilers warn of.
      const lines = ["push", 'ignored "-Wsign-conversion"'].map((p) => `#pragma GCC diagnostic ${p}`);
      const body = [...lines, `return (${f32})_mm512_roundscale_ps(a, ${mode});`, "#pragma GCC diagnostic pop"];
      return define(c, f32, `${f32} a`, body, ["f32"]);
    }
    default:
      return null;
  }
}

/** The processor's own type of integer vectors. */
const integer = (c: Context): string => ({ 4: "__m128i", 8: "__m256i", 16: "__m512i" })[c.lanes] as string;

/** As scalars: NaN if one is NaN. The instruction gives its second operand then, and so `a` has to be looked at. */
function extremum(c: Context, op: "min" | "max", t: string): Helper | null {
  const { f32, mm } = c;
  if (t === "known_f32") return define(c, f32, `${f32} a, ${f32} known`, [`return (${f32})${mm}_${op}_ps(known, a);`], ["f32"]);
  if (t === "f32") {
    const r = `(${f32})${mm}_${op}_ps(a, b)`;
    if (c.level.masks)
      return define(
        c,
        f32,
        `${f32} a, ${f32} b`,
        [`return (${f32})${mm}_mask_mov_ps(${r}, ${mm}_cmp_ps_mask(a, a, _CMP_UNORD_Q), a);`],
        ["f32"],
        "TW_AVX512",
      );
    return define(c, f32, `${f32} a, ${f32} b`, [`return (${f32})${mm}_blendv_ps(${r}, a, (${f32})(a != a));`], ["f32"]);
  }
  if (t !== "i32" && t !== "u32") return null;
  const v = typeOf(c, t);
  return define(c, v, `${v} a, ${v} b`, [`return (${v})${mm}_${op}_ep${t}((${integer(c)})a, (${integer(c)})b);`], [t]);
}

function select(c: Context, t: string): Helper {
  const v = typeOf(c, t);
  const params = `${c.mask} m, ${v} a, ${v} b`;
  if (t === "mask") return define(c, v, params, [`return (${v})((m & a) | (~m & b));`], ["mask"]);
  if (c.level.masks) {
    if (t === "f32") return define(c, v, params, [`return (${v})${c.mm}_mask_mov_ps(b, m, a);`], ["mask", t]);
    return define(c, v, params, [`return (${v})${c.mm}_mask_mov_epi32((${integer(c)})b, m, (${integer(c)})a);`], ["mask", t]);
  }
  return define(c, v, params, [`return (${v})${c.mm}_blendv_ps((${c.f32})b, (${c.f32})a, (${c.f32})m);`], ["mask", "f32", t]);
}

/** Comparisons into mask registers; elsewhere C's operators make lanes of ones and zeros. */
function compare(c: Context, op: "lt" | "le" | "gt" | "ge" | "eq" | "ne", t: string): Helper | null {
  if (!c.level.masks) return null;
  const v = typeOf(c, t);
  if (t === "f32") {
    const how = { lt: "LT_OQ", le: "LE_OQ", gt: "GT_OQ", ge: "GE_OQ", eq: "EQ_OQ", ne: "NEQ_UQ" }[op];
    return define(c, c.mask, `${v} a, ${v} b`, [`return (${c.mask})${c.mm}_cmp_ps_mask(a, b, _CMP_${how});`], ["mask", t]);
  }
  const how = { lt: "lt", le: "le", gt: "gt", ge: "ge", eq: "eq", ne: "neq" }[op];
  const [x, y] = [`(${integer(c)})a`, `(${integer(c)})b`];
  return define(c, c.mask, `${v} a, ${v} b`, [`return (${c.mask})${c.mm}_cmp${how}_ep${t}_mask(${x}, ${y});`], ["mask", t]);
}

function cast(c: Context, to: string, from: string): Helper | null {
  const { f32, i32, u32, mm } = c;
  if (from === "mask") return fromMask(c, to);
  if (to === "f32") return define(c, f32, `${typeOf(c, from)} a`, [`return __builtin_convertvector(a, ${f32});`], ["f32", from]);
  if (from !== "f32") return null;
  // Beyond the range the instruction gives the lowest number.
  if (to === "i32")
    return define(
      c,
      i32,
      `${f32} a`,
      [`const ${i32} r = (${i32})${mm}_cvttps_epi32(a);`, `return (r ^ (${i32})(a >= 2147483648.0f)) & (${i32})(a == a);`],
      ["f32", "i32"],
    );
  if (to === "u32")
    return define(
      c,
      u32,
      `${f32} a`,
      [
        `const ${f32} x = (${f32})${mm}_max_ps(a, (${f32})${repeated(c, "0.0f")});`,
        `const ${i32} low = (${i32})${mm}_cvttps_epi32(x);`,
        `const ${i32} high = (${i32})${mm}_cvttps_epi32(x - 2147483648.0f);`,
        `return (${u32})(low | (high & (low >> 31)) | (${i32})(x >= 4294967296.0f));`,
      ],
      ["f32", "i32", "u32"],
    );
  return null;
}

/** 1 where it holds, 0 elsewhere. */
function fromMask(c: Context, to: string): Helper {
  const v = typeOf(c, to);
  const one = to === "f32" ? "1.0f" : to === "u32" ? "1u" : "1";
  const ones = `(${v})${repeated(c, one)}`;
  if (c.level.masks) {
    const move = to === "f32" ? `${c.mm}_maskz_mov_ps(m, ${ones})` : `${c.mm}_maskz_mov_epi32(m, (${integer(c)})${ones})`;
    return define(c, v, `${c.mask} m`, [`return (${v})${move};`], ["mask", to]);
  }
  return define(c, v, `${c.mask} m`, [`return (${v})(m & (${c.i32})${ones});`], ["mask", "i32", to]);
}
