// `npm run coverage`: gathers what test/coverage-*.test.ts left in out/coverage into docs/coverage.json, and what test/domains.test.ts left
// in out/coverage-cases into docs/coverage-cases.json, and writes the page.
// With --check it writes nothing, and fails when the page is not what docs/coverage.json makes.
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";

const root = new URL("../", import.meta.url);
const at = (path) => new URL(path, root);
const readJson = (path) => JSON.parse(readFileSync(at(path), "utf8"));
const check = process.argv.includes("--check");
const { onnx, ops: schemas } = readJson("scripts/onnx-schemas.json");
const { onnxruntime, ops: domainSchemas } = readJson("scripts/domain-schemas.json");
const found = existsSync(at("docs/coverage.json")) ? readJson("docs/coverage.json") : {};
const counts = existsSync(at("out/coverage-cases/counts.json")) && !check ? "out/coverage-cases/counts.json" : "docs/coverage-cases.json";
const cases = existsSync(at(counts)) ? readJson(counts) : {};
if (!check) {
  const parts = existsSync(at("out/coverage")) ? readdirSync(at("out/coverage")) : [];
  for (const part of parts.filter((p) => p.endsWith(".json"))) Object.assign(found, readJson(`out/coverage/${part}`));
  const sorted = Object.keys(found).sort();
  const lines = sorted.map((op) => `"${op}": ${JSON.stringify(found[op])}`);
  writeFileSync(at("docs/coverage.json"), `{\n${lines.join(",\n")}\n}\n`);
  const numbers = Object.keys(cases).sort();
  writeFileSync(at("docs/coverage-cases.json"), `{\n${numbers.map((op) => `"${op}": ${JSON.stringify(cases[op])}`).join(",\n")}\n}\n`);
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
  const domains = domainTables(noteOf);
  const reasons = [...notes].map(([text, n]) => `${n}. ${text}`);
  return `<!-- Made by \`npm run coverage\` from what the tests ran; do not edit. -->

# Ops and dtypes of ONNX

Each op of ONNX ${onnx} with each dtype that its schema allows for its first operand (its result, if it has no operand): a conformance case of the op, in that dtype,
runs through the graph interpreter, as WebAssembly and as C, and gives the same; where ONNX has no case that fits, a small model of its own does. Of ${cells.length} pairs ${yes("interpreter")} run in the interpreter, ${yes("wasm")} as WebAssembly,
${yes("c")} as C. ONNX's own conformance cases run in their own dtypes besides. Ops that ONNX has deprecated are left out.

| op | changed in opset | on all targets | not, and why |
|---|---|---|---|
${rows.join("\n")}

${domains}

## Reasons

${reasons.join("\n")}`;
}

/** The ops around ONNX: those that there is a mapping for, with the numbers of other projects' cases that hold them, and the names of the rest. */
function domainTables(noteOf) {
  const of = (domain) => {
    const names = Object.keys(domainSchemas).filter((op) => op.startsWith(`${domain}.`));
    const short = (op) => op.slice(domain.length + 1);
    const count = (op, kind) => cases[op]?.[kind] || "";
    const rows = names
      .filter((op) => op in found)
      .map((op) => `| ${short(op)} | ${everywhere(op)} | ${holes(op, noteOf)} | ${count(op, "cases")} | ${count(op, "models")} |`);
    const missing = names.filter((op) => !(op in found)).map(short);
    return `### ${domain}

| op | on all targets | not, and why | cases | models |
|---|---|---|---|---|
${rows.join("\n")}

Not compiled: ${missing.join(", ")}.`;
  };
  const named = Object.keys(domainSchemas);
  const done = named.filter((op) => op in found);
  const sum = (kind) => Object.values(cases).reduce((n, c) => n + c[kind], 0);
  return `## The domains around ONNX

Of the ${named.length} ops that ONNX Runtime ${onnxruntime} has in the domains \`com.microsoft\` and \`ai.onnx.ml\`, ${done.length} are compiled. A small model of each, in each dtype that the schema allows for its first operand that has a choice, runs through the graph
interpreter, as WebAssembly and as C, and gives the same. Beside them stands how many op cases of ONNX Runtime for the web hold the op, and how many models of other projects with reference results; they agree on all three, too (${sum("cases")} and ${sum("models")} uses).

${of("com.microsoft")}

${of("ai.onnx.ml")}`;
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
