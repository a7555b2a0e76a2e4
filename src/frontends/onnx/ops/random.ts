import type { Dim } from "../../../base/dim.ts";
import { type DType, bool, f32, f64, i32, i64 } from "../../../base/dtype.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext, OpMapping, OpTable } from "../context.ts";
import type { Operand } from "../operand.ts";
import { positions, wideFloat } from "./elementwise.ts";
import { reduced, spread } from "./reduction.ts";

/**
 * Random numbers are those of the graph op `random_bits`, a counter-based generator, so that a model gives the same on every
 * run, machine and target. A node's key is its seed, the bits of the f32 (or the 64-bit integer that Dropout has); where
 * it has none, a hash of the name of its output. Nodes of one seed draw the same numbers, and a node in a loop does so in
 * every turn.
 */
function keyOf(c: NodeContext): readonly [number, number] {
  const seed = c.attribute("seed");
  if (seed === null) return [hash(c.node.outputs[0] ?? ""), 1];
  if (c.node.opType === "Dropout") return [Number(BigInt.asUintN(32, seed.i)), Number(BigInt.asUintN(32, seed.i >> 32n))];
  return [new Uint32Array(Float32Array.of(seed.f).buffer)[0] ?? 0, 0];
}
/** FNV-1a over the text's UTF-8 bytes. */
function hash(text: string): number {
  return new TextEncoder().encode(text).reduce((h, byte) => Math.imul(h ^ byte, 0x01000193) >>> 0, 0x811c9dc5);
}

/** The upper bits of random words, as whole numbers of a dtype that holds them exactly. */
function upperBits(c: NodeContext, dtype: DType, dims: readonly Dim[], word: 0 | 1, count: number): Value {
  const bits = c.g.one("random_bits", [], { dims, key: keyOf(c), word });
  return c.g.convert(c.g.convert(c.withScalar("shr", bits, 32 - count), i32), dtype);
}

/** Uniform in [0, 1), in steps of the dtype's precision (f16 and bf16 by way of f32, in their steps). */
function unit(c: NodeContext, dtype: DType, dims: readonly Dim[], word: 0 | 1 = 0): Value {
  const digits = dtype.bits >= 32 ? 24 : dtype.name === "f16" ? 11 : 8;
  if (dtype !== f64 || word === 1) return c.withScalar("mul", upperBits(c, dtype.bits < 32 ? f32 : dtype, dims, word, digits), 2 ** -digits);
  const [high, low] = [upperBits(c, f64, dims, 0, 27), upperBits(c, f64, dims, 1, 26)];
  return c.withScalar("mul", c.g.one("add", [c.withScalar("mul", high, 2 ** 26), low]), 2 ** -53);
}

/** low + (high - low) · u */
function uniform(c: NodeContext, dtype: DType, dims: readonly Dim[]): Value {
  const [low, high] = [c.float("low", 0), c.float("high", 1)];
  const u = unit(c, dtype, dims);
  return c.g.convert(c.withScalar("add", c.withScalar("mul", u, high - low), low), dtype);
}

/** mean + scale · sqrt(-2 log(1 - u)) · cos(2π v) (Box & Muller, A Note on the Generation of Random Normal Deviates, 1958) */
function normal(c: NodeContext, dtype: DType, dims: readonly Dim[]): Value {
  const wide = dtype === f64 ? f64 : f32;
  const { g } = c;
  const [u, v] = [0, 1].map((word) => c.withScalar("mul", upperBits(c, wide, dims, word as 0 | 1, 24), 2 ** -24)) as [Value, Value];
  const radius = g.one("sqrt", [c.withScalar("mul", g.one("log", [g.one("sub", [g.splat(wide, dims, 1), u])]), -2)]);
  const deviate = g.one("mul", [radius, g.one("cos", [c.withScalar("mul", v, 2 * Math.PI)])]);
  return g.convert(c.withScalar("add", c.withScalar("mul", deviate, c.float("scale", 1)), c.float("mean", 0)), dtype);
}

type Draw = (c: NodeContext, dtype: DType, dims: readonly Dim[]) => Value;

function floatDType(c: NodeContext, otherwise: DType): DType {
  const d = c.dtype("dtype", otherwise);
  return d.isFloat ? d : c.fail(`dtype ${d}, expected a float dtype`);
}
const ofShape = (draw: Draw): OpMapping => ({
  since: 7,
  map: (c) => c.of(draw(c, floatDType(c, f32), c.ints("shape") ?? c.fail("'shape' is missing"))),
});
const like = (draw: Draw): OpMapping => ({ since: 7, map: (c) => c.of(draw(c, floatDType(c, c.input(0).dtype), c.input(0).dims)) });

/** 1 with the probability that the input gives, else 0. */
function bernoulli(c: NodeContext): Operand {
  const p = c.g.convert(c.value(0), wideFloat(c.input(0).dtype));
  return c.of(c.g.convert(c.g.one("lt", [unit(c, p.dtype, p.dims), p]), c.dtype("dtype", c.input(0).dtype)));
}

/**
 * Classes drawn by their unnormalised log-probabilities: the class whose log-probability plus -log(-log u) is largest
 * (Gumbel, Statistical Theory of Extreme Values, 1954).
 */
function multinomial(c: NodeContext): Operand {
  const x = c.value(0);
  if (x.dims.length !== 2) return c.fail(`rank ${x.dims.length}, expected [batch, classes]`);
  const { g } = c;
  const [batch, classes] = x.dims as [Dim, Dim];
  const dims: readonly Dim[] = [batch, c.int("sample_size", 1), classes];
  const logits = g.broadcast(g.convert(x, wideFloat(x.dtype)), dims, [0, 2]);
  // Half a step above 0, where the logarithm would be infinite.
  const u = c.withScalar("add", unit(c, f32, dims), 2 ** -25);
  const noise = g.one("neg", [g.one("log", [g.one("neg", [g.one("log", [u])])])]);
  const score = g.one("add", [logits, g.convert(noise, logits.dtype)]);
  const best = g.one("eq", [score, spread(c, reduced(c, score, "max", [2]), dims, [2])]);
  const none = g.splat(i32, dims, 2 ** 31 - 1);
  const first = reduced(c, g.one("select", [best, positions(c, dims, 2), none]), "min", [2]);
  const dtype = c.dtype("dtype", i32);
  return dtype === i32 || dtype === i64 ? c.of(g.convert(first, dtype)) : c.fail(`dtype ${dtype}, expected int32 or int64`);
}

/** x and a mask of true. */
function passedOn(c: NodeContext): readonly (Operand | null)[] {
  const x = c.input(0);
  return [x, c.wants(1) ? c.of(c.g.splat(c.version < 10 ? x.dtype : bool, x.dims, 1)) : null];
}

/** A number that the node may give as data, as a scalar; `otherwise` where it is left out. */
function scalar(c: NodeContext, i: number, dtype: DType, otherwise: number): Value {
  const given = c.optional(i);
  return given === null ? c.g.scalar(dtype, otherwise) : c.g.reshape(c.g.convert(given.value, dtype), []);
}

/** In training, each element is dropped with the probability `ratio`, and the others grow by 1 / (1 - ratio). Otherwise all stay. */
function dropout(c: NodeContext): readonly (Operand | null)[] {
  const training = c.version >= 12 ? c.optional(2) : null;
  const ratio = c.optional(1);
  if (training === null || training.numbers?.[0] === 0 || (c.version >= 12 && ratio?.numbers?.[0] === 0)) return passedOn(c);
  const { g } = c;
  const x = c.value(0);
  const wide = wideFloat(x.dtype);
  // Outside of training nothing is dropped.
  const asked = scalar(c, 1, wide, 0.5);
  const mode = scalar(c, 2, bool, 1);
  const p = g.one("select", [mode, asked, g.scalar(wide, 0)]);
  const over = (v: Value) => g.broadcast(v, x.dims, []);
  const mask = g.one("ge", [unit(c, wide, x.dims), over(p)]);
  const grown = g.one("div", [g.convert(x, wide), over(g.one("sub", [g.scalar(wide, 1), p]))]);
  const y = g.one("select", [mask, grown, g.splat(wide, x.dims, 0)]);
  return [c.of(g.convert(y, x.dtype)), c.wants(1) ? c.of(mask) : null];
}

export const randomOps: OpTable = {
  RandomUniform: ofShape(uniform),
  RandomUniformLike: like(uniform),
  RandomNormal: ofShape(normal),
  RandomNormalLike: like(normal),
  Bernoulli: { since: 15, map: bernoulli },
  Multinomial: { since: 7, map: multinomial },
  Dropout: { since: 7, map: dropout },
};
