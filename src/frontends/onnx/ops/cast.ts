import { type DType, f32 } from "../../../base/dtype.ts";
import { largestFinite } from "../../../base/numeric.ts";
import type { Value } from "../../../graph/ir.ts";
import type { NodeContext } from "../context.ts";

/** What a conversion to a float of 8 bits does beyond its range, and how a scale is rounded. */
export interface CastRules {
  readonly saturate: boolean;
  readonly round: "up" | "down" | "nearest";
}

/** The rules that attributes of Cast and CastLike give. */
export function castRules(c: NodeContext): CastRules {
  const round = c.text("round_mode", "up");
  if (round !== "up" && round !== "down" && round !== "nearest") return c.fail(`round_mode '${round}', expected up, down or nearest`);
  return { saturate: c.int("saturate", 1) !== 0, round };
}

/** ONNX's Cast: `convert`, but for floats of 8 bits, which saturate unless told otherwise. */
export function castValue(c: NodeContext, x: Value, to: DType, rules: CastRules): Value {
  if (x.dtype === to || to.format === null || to.bits > 8) return c.g.convert(x, to);
  const wide = c.g.convert(x, f32);
  if (to.format.special === "scale") return castToScale(c, wide, to, rules);
  const largest = largestFinite(to.format);
  const bounded = rules.saturate && to.bits === 8 ? clamp(c, wide, -largest, largest) : wide;
  return c.g.convert(bounded, to);
}

/** Between two numbers; NaN stays. */
export function clamp(c: NodeContext, x: Value, low: number, high: number): Value {
  return c.withScalar("min", c.withScalar("max", x, low), high);
}

/** The nearest power of two, corrected where it lies on the other side. Without saturation what is outside of the range is NaN. */
function castToScale(c: NodeContext, x: Value, to: DType, { saturate, round }: CastRules): Value {
  const [least, largest] = [2 ** -127, 2 ** 127];
  const inside = clamp(c, x, least, largest);
  const nearest = c.g.convert(inside, to);
  let rounded = nearest;
  if (round !== "nearest") {
    const power = c.g.convert(nearest, f32);
    const [wrong, factor] = round === "up" ? (["lt", 2] as const) : (["gt", 0.5] as const);
    const moved = c.withScalar("mul", power, factor);
    rounded = c.g.convert(c.g.one("select", [c.g.one(wrong, [power, inside]), moved, power]), to);
  }
  if (saturate) return rounded;
  return c.g.one("select", [c.g.one("eq", [x, inside]), rounded, c.g.splat(to, x.dims, Number.NaN)]);
}
