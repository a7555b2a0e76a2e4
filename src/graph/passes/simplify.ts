import { algebraRules } from "./algebra.ts";
import { emptyRules } from "./empties.ts";
import { foldingRules } from "./folding.ts";
import { nopRules } from "./nops.ts";
import type { GraphPass } from "./pass.ts";
import { type GraphRule, applyGraphRules, ruleTable } from "./rules.ts";
import { scalingRules } from "./scaling.ts";
import { shapeRules } from "./shapes.ts";
import { sinkingRules } from "./sinking.ts";
import { strengthRules } from "./strength.ts";

/** The local rewrites, in the order in which they are tried on an op: what makes it go, then what makes it cheaper, then what moves it. */
export const localRules: readonly GraphRule[] = [
  ...emptyRules,
  ...nopRules,
  ...foldingRules,
  ...algebraRules,
  ...shapeRules,
  ...strengthRules,
  ...scalingRules,
  ...sinkingRules,
];

const table = ruleTable(localRules);

export const simplify: GraphPass = {
  name: "simplify",
  doc: "Local rewrites until none fits: nop and zero-size-tensor elimination, constant folding, algebraic simplification, strength reduction, batch-norm folding, operator sinking.",
  run: (f, rules) => applyGraphRules(f, table, rules),
};
