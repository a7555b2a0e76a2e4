// `node bench/compare.mjs BEFORE.json AFTER.json`: what changed between two runs of the benchmark.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { compareResults, comparisonText } from "./comparison.mjs";
import { fileFormat } from "./run.mjs";

const help = `Usage: node bench/compare.mjs BEFORE.json AFTER.json

Compares two files that 'npm run bench -- --json FILE' wrote: for each model, matrix product and layer that is in both, how
many times as fast tilewright became, by the clock and by its ratio to onnxruntime-web (target native: to the better of the
others), in which the machine's moods cancel out. Numbers above 1 are faster.
`;

function fail(message) {
  console.error(message);
  process.exit(2);
}

function parse() {
  try {
    return parseArgs({ allowPositionals: true, options: { help: { type: "boolean", default: false } } });
  } catch (e) {
    return fail(`${e.message}\n\n${help}`);
  }
}

function read(file) {
  try {
    const results = JSON.parse(readFileSync(file, "utf8"));
    if (results.format === fileFormat && Array.isArray(results.parts)) return results;
  } catch (e) {
    return fail(`${file} cannot be read: ${e.message}`);
  }
  return fail(`${file} holds no results of this benchmark (format '${fileFormat}'); write one with 'npm run bench -- --json FILE'`);
}

const { values, positionals } = parse();
if (values.help) {
  console.log(help);
  process.exit(0);
}
if (positionals.length !== 2) fail(`two files are needed, got ${positionals.length}\n\n${help}`);
const parts = compareResults(...positionals.map(read));
if (parts.length === 0) fail("the two files have nothing in common: no section with the same threads and modules, or no row of the same name");
console.log(`\n${comparisonText(parts)}\n`);
