import { commonSubexpressions } from "./common-subexpressions.ts";
import { concatPrefixes } from "./concat-prefixes.ts";
import { deadCode } from "./dead-code.ts";
import { decomposeComposites } from "./decompose.ts";
import type { GraphPass } from "./pass.ts";
import { recognition } from "./recognition.ts";
import { simplify } from "./simplify.ts";

export type { GraphPass } from "./pass.ts";

const decomposition: GraphPass = {
  name: "decompose-composites",
  doc: "Composites become core ops.",
  run: decomposeComposites,
  removes: (op) => (op.def.decompose === undefined ? null : "composites are decomposed by now"),
};

/** The passes on graph IR, in order. */
export const graphPasses: readonly GraphPass[] = [
  // Exporters leave much that no output needs (shape computations above all): nothing else should see it.
  deadCode,
  // One value for equal subgraphs: rules that ask whether a value has one user, or whether two operands are the same, then answer right.
  commonSubexpressions,
  // Constants known, shapes merged, batch norms folded: the form in which written-out composites are looked for.
  simplify,
  // Before decomposition, so that what is recognised and what the model had whole take the same road.
  recognition,
  // The decompositions are written plainly; the round of rules that follows cleans them up.
  decomposition,
  simplify,
  // Rewrites and decompositions of neighbours often make the same value twice.
  commonSubexpressions,
  // After the rules, which flatten concatenations with one user: here the ones that have more become nested, and stay so.
  concatPrefixes,
  // A prefix that took over a concatenation may leave its parts unused.
  deadCode,
];
