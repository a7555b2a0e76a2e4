// Writes the pages of docs/ that are made from the objects of the built compiler (`npm run build` first), and the site of all
// documentation to site/. With --check it writes nothing, and fails when a page is not what it would write. Broken links
// fail either way. --pages leaves the site out; --dist DIR takes another build, --out DIR writes the site elsewhere.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { cliPage } from "./docs/cli.mjs";
import { onnxPage } from "./docs/onnx.mjs";
import { graphOpPage, scalarOpPage } from "./docs/ops.mjs";
import { passPage } from "./docs/passes.mjs";
import { walkthroughPage } from "./docs/walkthrough.mjs";

const root = new URL("../", import.meta.url);
const { values: options } = parseArgs({
  options: { check: { type: "boolean" }, pages: { type: "boolean" }, dist: { type: "string" }, out: { type: "string" } },
});
const { check = false } = options;
const distUrl = options.dist === undefined ? new URL("dist/", root) : pathToFileURL(`${path.resolve(options.dist)}/`);
if (!existsSync(new URL("graph/registry.js", distUrl))) {
  console.error(`docs: ${fileURLToPath(distUrl)} holds no build; run \`npm run build\``);
  process.exit(1);
}
const dist = (file) => import(new URL(file, distUrl));

const pages = {
  "docs/onnx.md": await onnxPage(dist, distUrl),
  "docs/walkthrough.md": await walkthroughPage(dist, root),
  "docs/ops.md": await graphOpPage(dist),
  "docs/scalar-ops.md": await scalarOpPage(dist),
  "docs/passes.md": await passPage(dist),
  "docs/cli.md": await cliPage(dist),
};
const stale = [];
for (const [page, text] of Object.entries(pages)) {
  const file = new URL(page, root);
  const content = `${text}\n`;
  if (existsSync(file) && readFileSync(file, "utf8") === content) continue;
  stale.push(page);
  if (!check) writeFileSync(file, content);
}
const problems =
  check && stale.length > 0
    ? [`${stale.join(", ")} ${stale.length === 1 ? "is" : "are"} not current; run \`npm run docs\` and commit the result`]
    : [];
console.log(`docs: ${Object.keys(pages).length} pages from the compiler's objects${check ? " looked at" : `, ${stale.length} changed`}`);

if (!options.pages) {
  const { makeSite, writeSite } = await import("./docs/site.mjs");
  const site = await makeSite(root);
  problems.push(...site.problems);
  const bytes = [...site.files.values()].reduce((n, t) => n + t.length, 0);
  console.log(`docs: the site has ${site.pages.length} pages, ${(bytes / 1e6).toFixed(1)} MB`);
  if (!check) {
    const folder = options.out === undefined ? fileURLToPath(new URL("site", root)) : path.resolve(options.out);
    writeSite(site, root, folder);
    console.log(`docs: written to ${path.relative(process.cwd(), folder)}; open ${path.join(path.relative(process.cwd(), folder), "index.html")}`);
  }
}
for (const p of problems) console.error(`docs: ${p}`);
process.exit(problems.length === 0 ? 0 : 1);
