// The page of passes and rules.
import { code, generated, table } from "./text.mjs";

/** docs/passes.md */
export async function passPage(dist) {
  const { graphPasses } = await dist("graph/passes/pipeline.js");
  const { localRules } = await dist("graph/passes/simplify.js");
  const { recognitionRules } = await dist("graph/passes/recognition.js");
  const { placementPasses, tensorPasses } = await dist("tensor/passes/pipeline.js");
  const { kernelPasses } = await dist("loop/passes/pipeline.js");
  const { simplifyRules } = await dist("scalar/rules/simplify.js");
  const list = (passes) =>
    table(
      ["pass", "does"],
      passes.map((p) => [code(p.name), p.doc]),
    );
  return [
    generated,
    "# Passes",
    "In the order in which they run; `src/compile.ts` holds the whole pipeline.",
    "## On graph IR",
    list(graphPasses),
    "## On tensor IR",
    list([...tensorPasses, ...placementPasses]),
    "## On the kernels of loop IR",
    list(kernelPasses),
    "## Rules of `simplify` and `recognise-composites`",
    "Rewrites of the graph. *Exact*: the same bits; otherwise the result may differ by that many units in the last place of the largest result.",
    table(
      ["rule", "does", "result"],
      [...localRules, ...recognitionRules].map((r) => [
        code(r.name),
        r.doc.includes("=>") ? code(r.doc) : r.doc,
        r.exactness === "exact" ? "exact" : `${r.exactness.ulp} ulp`,
      ]),
    ),
    "## Rules of the scalar simplifier",
    "Applied whenever an expression is made. `c…` matches constants; `min(x)` and `max(x)` in a condition are bounds of `x`.",
    table(
      ["rule", "rewrites", "on"],
      simplifyRules.map((r) => [code(r.name), code(r.text), r.where ?? "all dtypes"]),
    ),
  ].join("\n\n");
}
