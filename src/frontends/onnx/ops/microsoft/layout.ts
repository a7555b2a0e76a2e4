import type { Value } from "../../../../graph/ir.ts";
import type { NodeContext } from "../../context.ts";

/** [batch, …, channels] as [batch, channels, …]. */
function channelsFirst(c: NodeContext, x: Value): Value {
  const spatial = x.dims.map((_, i) => i).slice(1, -1);
  return c.g.transpose(x, [0, x.dims.length - 1, ...spatial]);
}

/** [batch, channels, …] as [batch, …, channels]. */
function channelsLast(c: NodeContext, x: Value): Value {
  const spatial = x.dims.map((_, i) => i).slice(2);
  return c.g.transpose(x, [0, ...spatial, 1]);
}

/** What `f` makes of x with its channels first; they are last in x and in the result where the node says so. */
export function inLayout(c: NodeContext, last: boolean, x: Value, f: (x: Value) => Value): Value {
  if (x.dims.length < 3) return c.fail(`rank ${x.dims.length}, expected batch, channels and spatial dimensions`);
  return last ? channelsLast(c, f(channelsFirst(c, x))) : f(x);
}
