// Checks that no graph op is named where kernels are generated (schedules, loop IR, targets): that is how code written by
// hand for one op would sneak in. Names come from the op objects of the built compiler; comments do not count.
import { readFileSync, readdirSync } from "node:fs";
import ts from "typescript";

const rooms = ["src/schedule", "src/loop", "src/targets"];
const root = new URL("../", import.meta.url);

/**
 * Words that are the name of a graph op and of something else too. `as: "member"` allows them only after a dot (methods of
 * arrays), `as: "any"` wherever they stand, in the file or folder `only` if one is given.
 */
const homonyms = {
  slice: { as: "member", reason: "Array.slice" },
  concat: { as: "member", reason: "Array.concat" },
  reduce: { as: "member", reason: "Array.reduce" },
  reverse: { as: "member", reason: "Array.reverse" },
  constant: { as: "any", reason: "a scalar expression's constant value" },
  broadcast: { as: "any", reason: "a scalar in all lanes of a vector" },
  pad: { as: "any", reason: "the zeros around a tensor in its layout" },
  convert: { as: "any", reason: "a change of layout" },
  dot: { as: "any", only: "src/targets/wasm/opcodes.ts", reason: "an instruction of WebAssembly" },
  pool: { as: "any", only: "src/targets/c/", reason: "threads that wait for work" },
  gather: { as: "any", reason: "lanes read one by one from places that do not lie next to each other" },
  scan: { as: "any", reason: "a kind of axis, whose steps run in order" },
  if: { as: "any", reason: "a statement, and a step of the host program" },
  loop: { as: "any", reason: "what schedules and loop IR are about" },
  require_equal: { as: "any", reason: "a step of the host program" },
};

/** What the same operations are called elsewhere; these names may not occur either. */
const aliases = ["conv", "conv2d", "convolve", "matmul", "gemm", "pool", "pooling", "attention", "resize", "lstm", "gru", "einsum", "relu"];

const { graphOps } = await import(new URL("dist/graph/registry.js", root));
const { opaqueOps } = await import(new URL("dist/graph/opaque.js", root));
const { opNames } = await import(new URL("dist/scalar/ops/table.js", root));
const scalar = new Set(opNames);
const forbidden = [...new Set([...graphOps.map((o) => o.name).filter((n) => !scalar.has(n)), ...aliases])];
if (graphOps.length < 20 || forbidden.length < 20) fail(`only ${graphOps.length} graph ops found in dist/; is it built?`);

/** `packedTileSize` and `reduce_window` as words: each name is looked for as a run of whole words. */
function wordsOf(text) {
  return text
    .replace(/([a-z0-9])([A-Z])/g, "$1 $2")
    .split(/[^A-Za-z0-9]+/)
    .map((w) => w.toLowerCase())
    .filter((w) => w !== "");
}
const patterns = forbidden.map((name) => ({ name, words: wordsOf(name) }));

function namesIn(text) {
  const words = wordsOf(text);
  return patterns.filter((p) => words.some((_, i) => p.words.every((w, k) => words[i + k] === w))).map((p) => p.name);
}

const used = new Set();
const findings = [];
let looked = 0;

function inspect(file) {
  const source = ts.createSourceFile(file, readFileSync(new URL(file, root), "utf8"), ts.ScriptTarget.Latest, true);
  const note = (text, node, member) => {
    looked++;
    for (const name of namesIn(text)) {
      const homonym = homonyms[name];
      if (homonym !== undefined && file.startsWith(homonym.only ?? "") && (homonym.as === "any" || (member && text === name))) used.add(name);
      else
        findings.push(
          `${file}:${source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1}: '${text.slice(0, 80)}' names the graph op '${name}'`,
        );
    }
  };
  const visit = (node) => {
    if (ts.isIdentifier(node) || ts.isPrivateIdentifier(node))
      note(node.text, node, ts.isPropertyAccessExpression(node.parent) && node.parent.name === node);
    else if (ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddleOrTemplateTail(node)) note(node.text, node, false);
    else if (ts.isRegularExpressionLiteral(node)) note(node.text, node, false);
    ts.forEachChild(node, visit);
  };
  for (const name of namesIn(file.replace(/\.ts$/, "")))
    if (homonyms[name]?.as !== "any" || !file.startsWith(homonyms[name].only ?? ""))
      findings.push(`${file}: the file is named after the graph op '${name}'`);
  visit(source);
}

const files = rooms.flatMap((room) =>
  readdirSync(new URL(room, root), { recursive: true })
    .map((f) => `${room}/${f}`.replaceAll("\\", "/"))
    .filter((f) => f.endsWith(".ts") && !f.endsWith(".test.ts")),
);
files.forEach(inspect);

for (const f of findings) console.error(f);
for (const name of Object.keys(homonyms)) {
  if (!forbidden.includes(name)) findings.push(console.error(`homonym '${name}' is no graph op any more: remove it from scripts/check-op-names.mjs`));
  else if (!used.has(name) && homonyms[name].as === "any")
    findings.push(console.error(`homonym '${name}' is not needed any more: remove it from scripts/check-op-names.mjs`));
}
if (looked === 0) fail("nothing was inspected");
console.log(`op names: ${files.length} files and ${looked} names inspected for ${forbidden.length} op names, ${findings.length} findings`);
// Passes cannot look into what these do: the list is to stay short (a test holds the ops to it).
console.log(`ops that lower to opaque steps: ${Object.keys(opaqueOps).join(", ")}`);
process.exit(findings.length === 0 ? 0 : 1);

function fail(message) {
  console.error(`op names: ${message}`);
  process.exit(1);
}
