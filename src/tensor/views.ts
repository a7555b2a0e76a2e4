import type { Expr } from "../scalar/expr.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { type View, viewAxis } from "./ir.ts";

/** An index of a view as one of the tensor that holds it. */
export function indexBehind(sc: Scalars, view: View, index: readonly Expr[]): readonly Expr[] {
  const outer = view.offset.map((d) => sc.dim(d));
  for (const [d, e] of index.entries()) {
    const axis = viewAxis(view, d);
    if (axis >= 0) outer[axis] = sc.add(e, outer[axis] as Expr);
  }
  return outer;
}
