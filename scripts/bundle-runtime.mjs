// Makes the part of model.js that all artifacts share: dist/runtime/model.bundle.js, from the compiled files of src/runtime/.
// It is a module that exports `load` and lacks two constants, `manifest` and `find`; src/node/artifact.ts writes them before it.
// Run by itself, it takes the folder that was built: node scripts/bundle-runtime.mjs dist
import { renameSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { argv, pid } from "node:process";
import { pathToFileURL } from "node:url";
import { buildSync, transformSync } from "esbuild";

const load = `import { loadArtifact } from "./artifact.js";
export function load(options = {}) {
  return loadArtifact(manifest, find, options);
}`;

/** Bundles the runtime that lies in a built folder, there. Names stay, comments go: it is to be read, and to be small. */
export function bundleRuntime(dist) {
  const folder = join(dist, "runtime");
  const { outputFiles } = buildSync({
    stdin: { contents: load, resolveDir: folder, sourcefile: "load.js" },
    absWorkingDir: folder,
    bundle: true,
    write: false,
    format: "esm",
    platform: "neutral",
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
    minifySyntax: true,
    logLevel: "silent",
  });
  // Tests that run at the same time may be reading the old one.
  const fresh = join(folder, `model.bundle.js.${pid}`);
  writeFileSync(fresh, ownThreads(compact(outputFiles[0].text)));
  renameSync(fresh, join(folder, "model.bundle.js"));
}

/**
 * The same code in fewer bytes, which can still be read: without the comments that are left, a tab for each level of
 * indentation, and no spaces around most punctuation (but in lines that may hold a text).
 */
function compact(text) {
  const short = text
    .replace(/^ *\/\*\*.*?\*\/\n/gms, "")
    .replace(/^(?: {2})+/gm, (spaces) => "\t".repeat(spaces.length / 2))
    .replace(/^[^"'`/\n]+$/gm, (line) =>
      line
        .replace(/ ?(=>|[=!]==?|[<>+-]=|=|\|\||&&|\?\?|[?:,;]) ?/g, "$1")
        .replace(/ ?\{ ?| \}/g, (brace) => brace.trim())
        .replace(/\b(if|for|while|switch|catch) \(/g, "$1("),
    );
  const sense = (code) => transformSync(code, { minify: true, format: "esm" }).code;
  if (sense(short) !== sense(text)) throw new Error("a shorter text of the runtime is not the same code");
  return short;
}

/** The script of a model's threads is model.js itself: bundlers find it by the very expression that starts a worker. */
function ownThreads(text) {
  const [worker, file] = ['new Worker(new URL("./threads.js", import.meta.url)', '"./threads.js"'];
  if (!text.includes(worker) || text.split(file).length !== 3)
    throw new Error(`the runtime does not name its threads' script twice, once as ${worker}`);
  return text.replaceAll(file, '"./model.js"');
}

if (pathToFileURL(argv[1] ?? "").href === import.meta.url) bundleRuntime(resolve(argv[2] ?? "dist"));
