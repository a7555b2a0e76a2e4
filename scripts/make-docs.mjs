// Writes docs/*.md from the objects of the built compiler (`npm run build` first). With --check it writes nothing, and fails
// when a page is not what it would write.
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";

const root = new URL("../", import.meta.url);
const dist = (path) => import(new URL(`dist/${path}`, root));
if (!existsSync(new URL("dist/graph/registry.js", root))) {
  console.error("docs: dist/ is not built; run `npm run build`");
  process.exit(1);
}

const { graphOps } = await dist("graph/registry.js");
const { scalarOps, opNames } = await dist("scalar/ops/table.js");
const { graphPasses } = await dist("graph/passes/pipeline.js");
const { localRules } = await dist("graph/passes/simplify.js");
const { recognitionRules } = await dist("graph/passes/recognition.js");
const { tensorPasses } = await dist("tensor/passes/pipeline.js");
const { GraphBuilder } = await dist("graph/builder.js");
const { printGraph } = await dist("graph/print.js");
const { Reader } = await dist("base/text.js");
const { parseGraph } = await dist("graph/parse.js");
const { compileGraph } = await dist("compile.js");
const { kernelPasses } = await dist("loop/passes/pipeline.js");
const { simplifyRules } = await dist("scalar/rules/simplify.js");

const generated = "<!-- Made by `npm run docs` from the compiler's own objects; do not edit. -->";
const cell = (text) => text.replaceAll("|", "\\|").replaceAll("\n", " ");
const table = (head, rows) =>
  [`| ${head.join(" | ")} |`, `|${head.map(() => "---|").join("")}`, ...rows.map((r) => `| ${r.map(cell).join(" | ")} |`)].join("\n");
const code = (text) => `\`${text}\``;

function graphOpPage() {
  const elementwise = graphOps.filter((o) => opNames.includes(o.name));
  const composites = graphOps.filter((o) => o.decompose !== undefined);
  const core = graphOps.filter((o) => !elementwise.includes(o) && !composites.includes(o));
  return [
    generated,
    "# Ops of the graph IR",
    "A core op is lowered to tensor IR by itself; a composite stands for a composition of core ops, so that a pass can recognise it whole. An operand that ends in `...` takes any number of values. Constraints are numbered as error messages name them.",
    "## Core ops",
    ...core.map(opEntry),
    "## Composites",
    ...composites.map(opEntry),
    "## Elementwise ops",
    "Each applies the scalar op of its name to every element; operands have equal dims, and their dtypes fit the scalar op.",
    table(
      ["op", "operands", "meaning"],
      elementwise.map((o) => [code(o.name), o.operands.join(", "), o.doc]),
    ),
  ].join("\n\n");
}

function opEntry(o) {
  const attrs = Object.entries(o.attrs);
  const parts = [`### ${o.name}`, o.doc];
  const example = exampleOf(o);
  parts.push(
    example === null
      ? code(`${o.name}(${o.operands.map((x) => `%${x}`).join(", ")})`)
      : `\`\`\`
${example}
\`\`\``,
  );
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

/** The op's first example as a line of graph IR; null for one that has none, or regions. */
function exampleOf(o) {
  const [example] = o.examples;
  if (example === undefined) return null;
  const g = new GraphBuilder();
  const operands = example.operands.map((operand, i) => {
    const r = new Reader(operand.type);
    return g.param(nameOf(o, i), { dtype: r.dtype(), dims: r.list("[", "]", () => r.dim()) });
  });
  const lines = printGraph(g.finish("example", [], g.op(o.name, operands, example.attrs, { name: "y" }))).split("\n");
  return lines.find((l) => l.includes(`= ${o.name}(`))?.trim() ?? null;
}
function nameOf(o, i) {
  const last = o.operands[o.operands.length - 1];
  return last.endsWith("...") && i >= o.operands.length - 1 ? `${last.slice(0, -3)}${i - o.operands.length + 2}` : o.operands[i];
}

function scalarOpPage() {
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

function passPage() {
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
    list(tensorPasses),
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

/** What a small model looks like after each stage. */
function walkthroughPage() {
  const source = readFileSync(new URL("examples/linear.tw", root), "utf8");
  const texts = new Map();
  compileGraph(parseGraph(new Reader(source, "examples/linear.tw")), { listeners: [(e) => texts.set(e.step, e.text())] });
  const last = (passes) => passes[passes.length - 1].name;
  const block = (step, part = (t) => t) => {
    const text = texts.get(step);
    if (text === undefined) throw new Error(`the walkthrough shows step '${step}', which the pipeline does not have`);
    return `\`\`\`\n${part(text).trimEnd()}\n\`\`\``;
  };
  return [
    generated,
    "# One model on its way through the compiler",
    "`examples/linear.tw`, a linear layer with a bias and a rectifier, after each stage. `npx tilewright ir examples/linear.tw --stage graph|tensor|loop` prints the same; `--after PASS` shows any step in between.",
    "## Graph IR, as written",
    `\`\`\`\n${source.trimEnd()}\n\`\`\``,
    "## Tensor IR, lowered",
    "Every op has become a kernel of one stage: named axes, reads through index expressions, a value to write. The product is a reduction: `acc` names its accumulator, what each step adds to it (`lift`) and how (`combine`).",
    block("lower-graph"),
    "## Tensor IR, fused",
    "After the passes on tensor IR. The bias and the rectifier have become the end of the product; what is left are the stages that cost something.",
    block(last(tensorPasses)),
    "## Schedules",
    "One JSON object for each kernel: its loops, outermost first. `size` is the number of points that one iteration covers, so `i0` with size 2 and then size 1 runs tiles of two rows.",
    block("choose-schedules"),
    "## Loop IR, built by the schedules",
    "Extents and strides have become parameters (`s1`, `n8`), so that other nodes of the same structure can share the kernel. `main` launches kernels; `weights` and `at.x` are places in memory.",
    block("build-loops"),
    "## Loop IR, as the target gets it",
    "After the passes on loop IR and memory planning: vectors, registers, byte addresses in stepped pointers, fused multiply-adds.",
    block("plan-memory"),
  ].join("\n\n");
}

/** The ONNX ops that the frontend maps, by family. */
async function onnxPage() {
  const { oldestOpset, newestOpset } = await dist("frontends/onnx/ops/registry.js");
  const files = readdirSync(new URL("dist/frontends/onnx/ops/", root))
    .filter((f) => f.endsWith(".js") && f !== "registry.js")
    .sort();
  const families = [];
  for (const f of files) {
    for (const [name, mappings] of Object.entries(await dist(`frontends/onnx/ops/${f}`))) {
      if (name.endsWith("Ops")) families.push([name.slice(0, -3), Object.keys(mappings).sort()]);
    }
  }
  return [
    generated,
    "# ONNX ops that can be compiled",
    `${families.reduce((n, [, ops]) => n + ops.length, 0)} ops of the default domain, opsets ${oldestOpset} to ${newestOpset}, and the functions that a model file brings with it. An op may still be refused for how it is used (a dtype, a size that depends on data): \`npx tilewright inspect MODEL\` tells.`,
    table(
      ["family", "ops"],
      families.map(([name, ops]) => [name, ops.map(code).join(" ")]),
    ),
  ].join("\n\n");
}

const pages = {
  "docs/onnx.md": await onnxPage(),
  "docs/walkthrough.md": walkthroughPage(),
  "docs/ops.md": graphOpPage(),
  "docs/scalar-ops.md": scalarOpPage(),
  "docs/passes.md": passPage(),
};
const check = process.argv.includes("--check");
const stale = [];
for (const [path, text] of Object.entries(pages)) {
  const file = new URL(path, root);
  const content = `${text}\n`;
  if (existsSync(file) && readFileSync(file, "utf8") === content) continue;
  stale.push(path);
  if (check) continue;
  mkdirSync(new URL(".", file), { recursive: true });
  writeFileSync(file, content);
}
if (check && stale.length > 0) {
  console.error(`docs: ${stale.join(", ")} ${stale.length === 1 ? "is" : "are"} not current; run \`npm run docs\` and commit the result`);
  process.exit(1);
}
console.log(
  `docs: ${Object.keys(pages).length} pages of ${graphOps.length} graph ops, ${opNames.length} scalar ops and ${graphPasses.length + tensorPasses.length + kernelPasses.length} passes${check ? " are current" : ""}`,
);
