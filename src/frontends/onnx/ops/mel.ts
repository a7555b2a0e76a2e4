import { type Dim, addDim, floorDivDim, subDim } from "../../../base/dim.ts";
import { type DType, f32, f64, i32 } from "../../../base/dtype.ts";
import { hostFrom } from "../../../graph/host.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext } from "../context.ts";
import type { Operand } from "../operand.ts";

/** The mel scale: 2595 · log10(1 + hertz / 700) */
const melOf = (hertz: number): number => 2595 * Math.log10(1 + hertz / 700);
const hertzOf = (mel: number): number => 700 * (10 ** (mel / 2595) - 1);

/** Triangles over the bins of a spectrum, one for each band, whose corners lie at equal distances on the mel scale. */
export function melWeightMatrix(c: NodeContext): Operand {
  const dtype = c.dtype("output_datatype", f32);
  const known = [0, 1, 2, 3, 4].map((i) => c.input(i).numbers?.[0]);
  return c.of(known.every((v) => v !== undefined) ? constantMatrix(c, dtype, known as number[]) : matrixAtRun(c, dtype));
}

function constantMatrix(c: NodeContext, dtype: DType, given: readonly number[]): Value {
  const [bands, length, rate, low, high] = given as [number, number, number, number, number];
  if (bands < 0 || length < 0 || rate <= 0) return c.fail(`${bands} bands, DFT length ${length}, sample rate ${rate}`);
  const [from, to] = [melOf(low), melOf(high)];
  const corners = Array.from({ length: bands + 2 }, (_, i) => Math.floor(((length + 1) * hertzOf(from + (i * (to - from)) / (bands + 2))) / rate));
  const weight = (bin: number, band: number): number => {
    const [left, centre, right] = corners.slice(band, band + 3) as [number, number, number];
    if (bin >= centre && bin < right) return (right - bin) / (right - centre);
    if (bin < left || bin > centre) return 0;
    return centre === left ? 1 : (bin - left) / (centre - left);
  };
  return c.g.host(
    hostFrom(dtype, [Math.floor(length / 2) + 1, bands], (i) => weight(Math.floor(i / bands), i % bands)),
    "mel",
  );
}

/** The same of numbers that the model computes. */
function matrixAtRun(c: NodeContext, dtype: DType): Value {
  const { g } = c;
  const scalar = (i: number, to: DType): Value => g.convert(g.reshape(c.value(i), []), to);
  const size = (i: number, name: string): Dim => c.input(i).known?.[0] ?? g.bindSize(scalar(i, i32), name, 0, null);
  const [bands, length] = [size(0, "bands"), size(1, "dft_length")];
  const points: readonly Dim[] = [addDim(bands, 2)];
  const over = (v: Value) => g.broadcast(v, points, []);
  const wide = f64;
  const mel = (i: number): Value => {
    const sum = c.withScalar("add", c.withScalar("div", scalar(i, wide), 700), 1);
    return c.withScalar("mul", g.one("log", [sum]), 2595 / Math.LN10);
  };
  const [from, to] = [mel(3), mel(4)];
  const step = g.one("div", [over(g.one("sub", [to, from])), g.convert(over(g.one("iota_size", [], { dims: points })), wide)]);
  const at = g.one("add", [g.one("mul", [g.one("iota", [], { dtype: wide, dims: points, axis: 0 }), step]), over(from)]);
  const hertz = c.withScalar("mul", c.withScalar("sub", g.one("exp", [c.withScalar("mul", at, Math.LN10 / 2595)]), 1), 700);
  const samples = over(g.convert(g.one("iota_size", [], { dims: [addDim(length, 1)] }), wide));
  const corners = g.convert(g.one("floor", [g.one("div", [g.one("mul", [samples, hertz]), over(scalar(2, wide))])]), i32);
  return triangles(c, dtype, corners, [addDim(floorDivDim(length, 2), 1), bands]);
}

function triangles(c: NodeContext, dtype: DType, corners: Value, dims: readonly [Dim, Dim]): Value {
  const { g } = c;
  const [left, centre, right] = [0, 1, 2].map((i) =>
    g.broadcast(g.one("slice", [corners], { start: [i], stride: [1], dims: [subDim(corners.dims[0] as Dim, 2)] }), dims, [1]),
  ) as [Value, Value, Value];
  const bin = g.one("iota", [], { dtype: i32, dims, axis: 0 });
  const ratio = (a: Value, b: Value, c0: Value) => g.one("div", [g.convert(g.one("sub", [a, b]), f32), g.convert(g.one("sub", [c0, b]), f32)]);
  const all = (a: Value, b: Value) => g.one("and", [a, b]);
  const rises = all(g.one("ge", [bin, left]), g.one("le", [bin, centre]));
  const falls = all(g.one("ge", [bin, centre]), g.one("lt", [bin, right]));
  const one = g.splat(f32, dims, 1);
  const rising = g.one("select", [g.one("eq", [left, centre]), one, ratio(bin, left, centre)]);
  const up = g.one("select", [rises, rising, g.splat(f32, dims, 0)]);
  return g.convert(g.one("select", [falls, ratio(bin, right, centre), up]), dtype);
}
