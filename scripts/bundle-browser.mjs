// Makes dist/browser/ from the compiled sources: the compiler, and what goes with it, as modules for pages that have no bundler,
// and the scripts of workers, which cannot see a page's import map. No file there imports anything from outside the folder.
// Run by itself, it takes the folder that was built: node scripts/bundle-browser.mjs dist
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, resolve, sep } from "node:path";
import { argv } from "node:process";
import { pathToFileURL } from "node:url";
import { buildSync } from "esbuild";

/** Each file of the folder, and the compiled module that it is made of. */
const entries = {
  tilewright: "index.js",
  worker: "worker/index.js",
  "compile-worker": "worker/thread/thread.js",
  explorer: "explorer/index.js",
  "explorer-worker": "explorer/thread.js",
  ort: "ort/index.js",
  threads: "runtime/threads.js",
};

/** How modules name the scripts of workers, and what those are called in the folder. */
const scripts = [
  ['"../browser/compile-worker.js"', '"./compile-worker.js"'],
  ['"../browser/explorer-worker.js"', '"./explorer-worker.js"'],
];

/** Bundles what lies in a built folder. Gives the folder's files with their bytes, and what each was made of. */
export function bundleBrowser(dist, out = join(dist, "browser")) {
  const { outputFiles, metafile } = buildSync({
    entryPoints: Object.fromEntries(Object.entries(entries).map(([name, file]) => [name, join(dist, file)])),
    outdir: out,
    bundle: true,
    splitting: true,
    write: false,
    metafile: true,
    minify: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
    chunkNames: "chunk-[hash]",
    logLevel: "silent",
  });
  const named = new Set();
  const files = new Map(outputFiles.map((f) => [basename(f.path), besides(f.text, named)]));
  for (const [from] of scripts) if (!named.has(from)) throw new Error(`no module names a worker's script as ${from}`);
  files.set("LICENSES.txt", licenses(dist, Object.keys(metafile.inputs)));
  replaceFiles(out, files);
  return metafile;
}

/** Makes a folder hold these files and no others. What is right already stays as it is: somebody may be reading it. */
function replaceFiles(folder, files) {
  mkdirSync(folder, { recursive: true });
  for (const old of readdirSync(folder)) if (!files.has(old)) rmSync(join(folder, old), { recursive: true });
  for (const [name, text] of files) {
    const path = join(folder, name);
    if (!existsSync(path) || readFileSync(path, "utf8") !== text) writeFileSync(path, text);
  }
}

/** Workers' scripts lie beside all other files. */
function besides(text, named) {
  return scripts.reduce((t, [from, to]) => {
    if (t.includes(from)) named.add(from);
    return t.replaceAll(from, to);
  }, text);
}

/** The licenses of the packages that files of ours hold. */
function licenses(dist, inputs) {
  const foreign = inputs.map((f) => resolve(f)).filter((f) => !f.startsWith(resolve(dist) + sep));
  const folders = new Set(foreign.flatMap((f) => /^.*\bnode_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+/.exec(f)?.[0] ?? []));
  const texts = [...folders].sort().map((folder) => {
    const { name, version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    return `The files in this folder hold code of ${name} ${version}:\n\n${readFileSync(join(folder, "LICENSE"), "utf8").trim()}\n`;
  });
  return texts.join("\n");
}

/** The bytes that a page loads for one of the entries: its file and all that it imports. */
export function filesOf(metafile, name) {
  const of = (path) => metafile.outputs[path];
  const [start] = Object.keys(metafile.outputs).filter((p) => p.split(sep).join("/").endsWith(`/${name}.js`) || p === `${name}.js`);
  const seen = new Set();
  const visit = (path) => {
    if (path === undefined || seen.has(path) || of(path) === undefined) return;
    seen.add(path);
    for (const i of of(path).imports) if (i.kind === "import-statement") visit(i.path);
  };
  visit(start);
  return [...seen];
}

if (pathToFileURL(argv[1] ?? "").href === import.meta.url) bundleBrowser(resolve(argv[2] ?? "dist"));
