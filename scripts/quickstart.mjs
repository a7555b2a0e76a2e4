// `npm run quickstart`: from a fresh clone to classified pictures. Installs, builds, compiles the example model with the
// command line, loads the artifact that this wrote, and runs it on 20 pictures it was not trained on.
import { readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { build, install, requireNode, root, runOrExit } from "./setup.mjs";

const timedRuns = 200;

// For the test of this script, which finds everything built and must not touch it.
const { values: options } = parseArgs({ options: { built: { type: "boolean", default: false }, out: { type: "string" } } });

requireNode();
if (!options.built) {
  step("Installing packages");
  install();
  step("Building the compiler");
  build();
}

const example = join(root, "examples/digits");
const out = resolve(options.out ?? join(root, "out/digits"));
rmSync(out, { recursive: true, force: true });
step(`Compiling ${show(join(example, "digits.onnx"))}`);
console.log(`$ npx tilewright compile ${show(join(example, "digits.onnx"))} -o ${show(out)}`);
runOrExit(
  process.execPath,
  [join(root, "dist/cli.js"), "compile", join(example, "digits.onnx"), "-o", relative(root, out)],
  "The example did not compile; please report this.",
);

step(`Classifying ${show(join(example, "pictures"))} with ${show(join(out, "model.js"))}`);
const { load } = await import(pathToFileURL(join(out, "model.js")).href);
const model = await load();
const [input] = model.inputs;
const [output] = model.outputs;
const labels = readFileSync(join(example, "labels.txt"), "utf8").trim().split("\n");
const { PNG } = (await import("pngjs")).default;

const rows = [];
let right = 0;
const pictures = readdirSync(join(example, "pictures"))
  .filter((f) => f.endsWith(".png"))
  .sort();
for (const file of pictures) {
  const image = greyOf(readFileSync(join(example, "pictures", file)));
  const results = await model.run({ [input.name]: image });
  const probabilities = softmax(results[output.name].data);
  const best = probabilities.indexOf(Math.max(...probabilities));
  const expected = file.split("-")[0];
  if (labels[best] === expected) right++;
  rows.push([file, labels[best], `${(probabilities[best] * 100).toFixed(1)} %`, labels[best] === expected ? "" : `wrong: it is a ${expected}`]);
}
printTable(["picture", "digit", "probability", ""], rows);
console.log(`\n${right} of ${pictures.length} right.`);

const image = greyOf(readFileSync(join(example, "pictures", pictures[0])));
const times = [];
for (let i = 0; i < timedRuns; i++) {
  const start = performance.now();
  await model.run({ [input.name]: image });
  times.push(performance.now() - start);
}
times.sort((a, b) => a - b);
console.log(`One picture takes ${(times[timedRuns >> 1] * 1000).toFixed(0)} microseconds (median of ${timedRuns} runs, one thread).`);
model.dispose();

step(`The artifact in ${show(out)}`);
const files = readdirSync(out).sort();
const total = files.reduce((n, f) => n + statSync(join(out, f)).size, 0);
printTable(["file", "bytes"], [...files.map((f) => [f, statSync(join(out, f)).size.toLocaleString("en")]), ["all", total.toLocaleString("en")]], [1]);
console.log(`\nIt needs nothing else: copy the folder into a web page or a Node program and import model.js.`);
console.log(`Next: npx tilewright inspect ${show(join(example, "digits.onnx"))}, and README.md.`);
// A wrong picture or two is the model's business (it is right on 98 of 100); more is ours.
if (right < pictures.length - 2) {
  console.error(
    `\nOnly ${right} of ${pictures.length} pictures were recognised: the compiled model does not compute what it should. Please report this.`,
  );
  process.exit(1);
}

/** Grey values of a picture, 0…1, row by row. The example's pictures have the model's size already. */
function greyOf(bytes) {
  const picture = PNG.sync.read(bytes);
  const [, , height, width] = input.dims;
  if (picture.width !== width || picture.height !== height)
    throw new Error(`expected a picture of ${width}x${height}, got ${picture.width}x${picture.height}`);
  // Decoded as RGBA; of a grey picture red, green and blue are equal.
  return Float32Array.from({ length: width * height }, (_, i) => picture.data[4 * i] / 255);
}

function softmax(logits) {
  const max = Math.max(...logits);
  const powers = Array.from(logits, (v) => Math.exp(v - max));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => p / sum);
}

function printTable(head, rows, right = [1, 2]) {
  const widths = head.map((h, i) => Math.max(h.length, ...rows.map((r) => r[i].length)));
  const line = (cells) =>
    console.log(`  ${cells.map((c, i) => (right.includes(i) ? c.padStart(widths[i]) : c.padEnd(widths[i]))).join("  ")}`.trimEnd());
  line(head);
  line(widths.map((w) => "-".repeat(w)));
  for (const r of rows) line(r);
}

function step(text) {
  console.log(`\n== ${text}`);
}
function show(path) {
  return relative(process.cwd(), path) || ".";
}
