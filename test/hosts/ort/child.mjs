// Runs all programs with one package; gives what they saw as one line of JSON. Arguments: the package, a name or a URL, and the folder of models.
import { programs } from "./programs.mjs";

const [, , name, folder] = process.argv;
const module = await import(name);
// CommonJS gives its names as those of the default export.
const ort = module.InferenceSession === undefined ? module.default : module;
const plain = (_, v) => (typeof v === "bigint" ? `${v}n` : Number.isNaN(v) ? "NaN" : v === Infinity ? "Infinity" : v === -Infinity ? "-Infinity" : v);
const seen = {};
for (const [title, program] of Object.entries(programs)) {
  try {
    seen[title] = { value: await program(ort, folder) };
  } catch (e) {
    seen[title] = { error: e?.stack ?? String(e) };
  }
}
process.stdout.write(`\n${JSON.stringify(seen, plain)}\n`, () => process.exit(0));
