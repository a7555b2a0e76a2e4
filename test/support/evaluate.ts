import { type Num, roundTo } from "../../src/base/numeric.ts";
import { type Expr, type Variable, postorder } from "../../src/scalar/expr.ts";
import { type OpName, scalarOps } from "../../src/scalar/ops/table.ts";

/** Compiles a scalar expression without loads to a function of its variables' values; every op is rounded to its dtype. */
export function evaluator(root: Expr, variables: readonly Variable[]): (values: readonly Num[]) => Num {
  const order = postorder([root]);
  const place = new Map(order.map((e, i) => [e, i]));
  const slots: Num[] = new Array<Num>(order.length).fill(0);
  const steps: (() => void)[] = [];
  const inputs: { slot: number; input: number }[] = [];
  order.forEach((e, slot) => {
    if (e.op === "const") slots[slot] = e.attr as Num;
    else if (e.op === "var") inputs.push({ slot, input: variables.indexOf(e.attr as Variable) });
    else {
      const entry = scalarOps[e.op as OpName];
      const from = e.args.map((a) => place.get(a) as number);
      const types = e.args.map((a) => a.dtype);
      const args: Num[] = from.map(() => 0);
      steps.push(() => {
        for (let i = 0; i < from.length; i++) args[i] = slots[from[i] as number] as Num;
        slots[slot] = roundTo(e.dtype, entry.evaluate(args, e.dtype, types));
      });
    }
  });
  return (values) => {
    for (const { slot, input } of inputs) slots[slot] = values[input] as Num;
    for (const s of steps) s();
    return slots[order.length - 1] as Num;
  };
}
