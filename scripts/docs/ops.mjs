// The pages of graph ops and scalar ops.
import { block, code, generated, table } from "./text.mjs";

/** docs/ops.md */
export async function graphOpPage(dist) {
  const { graphOps } = await dist("graph/registry.js");
  const { opNames } = await dist("scalar/ops/table.js");
  const example = await exampleMaker(dist);
  const entry = (o) => opEntry(o, example(o));
  const elementwise = graphOps.filter((o) => opNames.includes(o.name));
  const composites = graphOps.filter((o) => o.decompose !== undefined);
  const core = graphOps.filter((o) => !elementwise.includes(o) && !composites.includes(o));
  return [
    generated,
    "# Ops of the graph IR",
    "A core op is lowered to tensor IR by itself; a composite stands for a composition of core ops, so that a pass can recognise it whole. An operand that ends in `...` takes any number of values. Constraints are numbered as error messages name them. Each example is a whole graph: saved as a `.tw` file it can be compiled and run.",
    "## Core ops",
    ...core.map(entry),
    "## Composites",
    ...composites.map(entry),
    "## Elementwise ops",
    "Each applies the scalar op of its name to every element; operands have equal dims, and their dtypes fit the scalar op.",
    table(
      ["op", "operands", "meaning"],
      elementwise.map((o) => [code(o.name), o.operands.join(", "), o.doc]),
    ),
  ].join("\n\n");
}

function opEntry(o, example) {
  const attrs = Object.entries(o.attrs);
  const parts = [`### ${o.name}`, o.doc];
  parts.push(example === null ? code(`${o.name}(${o.operands.map((x) => `%${x}`).join(", ")})`) : block("tw", example));
  if (attrs.length > 0)
    parts.push(
      table(
        ["attribute", "holds"],
        attrs.map(([k, v]) => [code(k), v]),
      ),
    );
  if (o.constraints.length > 0) parts.push(o.constraints.map((c) => `- ${c}`).join("\n"));
  return parts.join("\n\n");
}

/** Makes an op's first example a graph; null for an op that has none. */
async function exampleMaker(dist) {
  const { GraphBuilder } = await dist("graph/builder.js");
  const { printGraph } = await dist("graph/print.js");
  const { Reader } = await dist("base/text.js");
  return (o) => {
    const [example] = o.examples;
    if (example === undefined) return null;
    const g = new GraphBuilder();
    const operands = example.operands.map((operand, i) => {
      const r = new Reader(operand.type);
      return g.param(nameOf(o, i), { dtype: r.dtype(), dims: r.list("[", "]", () => r.dim()) });
    });
    return printGraph(g.finish("example", [], g.op(o.name, operands, example.attrs, { name: "y" })));
  };
}

function nameOf(o, i) {
  const last = o.operands[o.operands.length - 1];
  return last.endsWith("...") && i >= o.operands.length - 1 ? `${last.slice(0, -3)}${i - o.operands.length + 2}` : o.operands[i];
}

/** docs/scalar-ops.md */
export async function scalarOpPage(dist) {
  const { scalarOps, opNames } = await dist("scalar/ops/table.js");
  const kind = (o) => (o.decompose === undefined ? "core" : o.ulp === undefined ? "derived" : `derived, error at most ${o.ulp} ulp`);
  return [
    generated,
    "# Scalar ops",
    "Tensor IR and loop IR share them. A core op is rendered by every target; a derived one is written in terms of others before a target sees it. Errors are against the exact value on normal f32 numbers.",
    table(
      ["op", "written", "kind", "meaning"],
      opNames.map((n) => [code(n), code(written(scalarOps[n])), kind(scalarOps[n]), scalarOps[n].doc]),
    ),
  ].join("\n\n");
}

function written(o) {
  const names = ["a", "b", "c"].slice(0, o.arity);
  return o.infix === undefined ? `${o.name}(${names.join(", ")})` : names.join(` ${o.infix.symbol} `);
}
