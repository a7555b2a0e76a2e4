import type { GraphFunction } from "../ir.ts";
import type { GraphPass } from "./pass.ts";
import { applyGraphRules, ruleTable } from "./rules.ts";

const none = ruleTable([]);

/** Dead code elimination: the rewrite engine drops what nobody uses, with no rules at all. */
export const deadCode: GraphPass = {
  name: "dead-code",
  doc: "Ops whose results nobody uses go, in regions too.",
  run: (f: GraphFunction, rules) => applyGraphRules(f, none, rules),
};
