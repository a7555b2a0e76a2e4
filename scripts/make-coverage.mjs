// `npm run coverage`: gathers what test/coverage-*.test.ts left in out/coverage into docs/coverage.json, and writes the page.
// With --check it writes nothing, and fails when the page is not what docs/coverage.json makes.
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";

const root = new URL("../", import.meta.url);
const at = (path) => new URL(path, root);
const readJson = (path) => JSON.parse(readFileSync(at(path), "utf8"));
const check = process.argv.includes("--check");
const { onnx, ops: schemas } = readJson("scripts/onnx-schemas.json");
const found = existsSync(at("docs/coverage.json")) ? readJson("docs/coverage.json") : {};
if (!check) {
  const parts = existsSync(at("out/coverage")) ? readdirSync(at("out/coverage")) : [];
  for (const part of parts.filter((p) => p.endsWith(".json"))) Object.assign(found, readJson(`out/coverage/${part}`));
  const sorted = Object.keys(found).sort();
  const lines = sorted.map((op) => `"${op}": ${JSON.stringify(found[op])}`);
  writeFileSync(at("docs/coverage.json"), `{\n${lines.join(",\n")}\n}\n`);
}

const page = `${coveragePage()}\n`;
if (check) {
  if (!existsSync(at("docs/coverage.md")) || readFileSync(at("docs/coverage.md"), "utf8") !== page) {
    console.error("docs/coverage.md is not what docs/coverage.json makes; run `npm run coverage`");
    process.exit(1);
  }
} else writeFileSync(at("docs/coverage.md"), page);

function coveragePage() {
  const notes = new Map();
  const noteOf = (text) => {
    if (!notes.has(text)) notes.set(text, notes.size + 1);
    return `[${notes.get(text)}](#reasons)`;
  };
  const names = Object.keys(schemas).filter((op) => !schemas[op].deprecated);
  const rows = names.map((op) => `| ${op} | ${schemas[op].since.join(", ")} | ${everywhere(op)} | ${holes(op, noteOf)} |`);
  const cells = names.flatMap((op) => Object.values(found[op] ?? {}));
  const yes = (target) => cells.filter((c) => c[target] === "yes").length;
  const reasons = [...notes].map(([text, n]) => `${n}. ${text}`);
  return `<!-- Made by \`npm run coverage\` from what the tests ran; do not edit. -->

# Ops and dtypes of ONNX

Each op of ONNX ${onnx} with each dtype that its schema allows for its first operand (its result, if it has no operand): a conformance case of the op, in that dtype,
runs through the graph interpreter, as WebAssembly and as C, and gives the same; where ONNX has no case that fits, a small model of its own does. Of ${cells.length} pairs ${yes("interpreter")} run in the interpreter, ${yes("wasm")} as WebAssembly,
${yes("c")} as C. ONNX's own conformance cases run in their own dtypes besides. Ops that ONNX has deprecated are left out.

| op | changed in opset | on all targets | not, and why |
|---|---|---|---|
${rows.join("\n")}

## Reasons

${reasons.join("\n")}`;
}

function everywhere(op) {
  return Object.entries(found[op] ?? {})
    .filter(([, c]) => Object.values(c).every((t) => t === "yes"))
    .map(([d]) => d)
    .join(" ");
}

/** Dtypes with holes; those with the same reasons together. */
function holes(op, noteOf) {
  if (found[op] === undefined) return noteOf("not run yet: run the tests, then `npm run coverage`");
  const groups = new Map();
  for (const [d, c] of Object.entries(found[op])) {
    const missing = Object.entries(c).filter(([, t]) => t !== "yes");
    if (missing.length === 0) continue;
    const all = missing.length === Object.keys(c).length && new Set(missing.map(([, t]) => t)).size === 1;
    const text = all ? noteOf(reason(missing[0][1])) : missing.map(([target, t]) => `${target} ${noteOf(reason(t))}`).join(", ");
    groups.set(text, [...(groups.get(text) ?? []), d]);
  }
  return [...groups].map(([text, list]) => `${list.join(" ")} ${text}`).join("; ");
}

function reason(text) {
  return text.replaceAll("|", "\\|").replaceAll("<", "&lt;").slice(0, 200);
}
