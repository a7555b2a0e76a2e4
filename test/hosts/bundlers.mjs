// Apps bundled with no configuration: by Vite and webpack, which find an artifact's files, and by esbuild and rollup, which
// leave files alone: there the files are copied, or the artifact has everything in its script.
import { cpSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromiumMissing, openChromium, reported } from "./chromium.mjs";
import { packageFolder, root, runToEnd } from "./prepare.mjs";
import { page, probing, reporting } from "./pages.mjs";
import { processScript } from "./processes.mjs";
import { startServer } from "./server.mjs";

const isolated = { count: 3 };
/** A script in which everything is has no file beside it that could be its threads' script. */
const noScript = { reason: /workers did not start/ };
const nodeModules = join(root, "node_modules");

/** The sources of an app: a folder with the artifacts, the probe, and an entry that imports them. */
function sources(folder, name, suffix, entry) {
  const out = join(folder, name);
  mkdirSync(join(out, "src"), { recursive: true });
  writeFileSync(join(out, "package.json"), '{ "type": "module" }\n');
  cpSync(join(folder, "probe.js"), join(out, "src/probe.js"));
  for (const model of ["digits", "rows"]) cpSync(join(folder, `${model}${suffix}`), join(out, "src", model), { recursive: true });
  writeFileSync(join(out, "src/index.js"), entry);
  return out;
}

const app = probing(reporting);
const inNode = (file, cwd) => JSON.parse(runToEnd(process.execPath, [file], { cwd, timeout: 60_000 }).trim().split("\n").at(-1));

/** Each of these builds an app and gives the folder to serve. */
function vite(folder) {
  const out = sources(folder, "vite", "", app);
  writeFileSync(join(out, "index.html"), page("/src/index.js"));
  runToEnd(process.execPath, [join(nodeModules, "vite/bin/vite.js"), "build", "--logLevel=warn"], { cwd: out });
  return join(out, "dist");
}

/** In a process of its own, as its command line does: the folder that it starts in counts. */
function webpack(folder) {
  const out = sources(folder, "webpack", "", app);
  const script = `import webpack from ${JSON.stringify(pathToFileURL(join(packageFolder("webpack"), "lib/index.js")))};
webpack({ mode: "production" }, (error, stats) => {
  console.log(String(error ?? stats));
  process.exitCode = error !== null || stats.hasErrors() || stats.hasWarnings() ? 1 : 0;
});`;
  runToEnd(process.execPath, ["--input-type=module", "-e", script], { cwd: out });
  writeFileSync(join(out, "dist/index.html"), page("./main.js", "text/javascript"));
  return join(out, "dist");
}

const esbuild = (args, cwd) => runToEnd(join(nodeModules, "esbuild/bin/esbuild"), ["--bundle", "--log-level=warning", ...args], { cwd });
const rollup = (args, cwd) => runToEnd(process.execPath, [join(packageFolder("rollup"), "dist/bin/rollup"), ...args, "--silent"], { cwd });

/** Bundles of the artifacts' loaders, with their files copied beside them, and an app that imports those. */
function copied(folder, name, bundle) {
  const out = sources(folder, name, "", app);
  const dist = join(out, "dist");
  for (const model of ["digits", "rows"]) {
    writeFileSync(join(out, "src", model, "entry.js"), 'export { load } from "./model.js";\n');
    bundle(join("src", model, "entry.js"), join("dist", model, "loader.js"), out);
    for (const file of ["model.js", "model.wasm", "model.mt.wasm", "model.weights.bin"]) {
      const from = join(out, "src", model, file);
      if (existsSync(from)) cpSync(from, join(dist, model, file));
    }
  }
  cpSync(join(out, "src/probe.js"), join(dist, "probe.js"));
  for (const [file, script] of Object.entries({ "index.js": app, "process.js": processScript }))
    writeFileSync(join(dist, file), script.replaceAll("/model.js", "/loader.js"));
  writeFileSync(join(dist, "index.html"), page("./index.js"));
  return dist;
}

/** One script for everything, for pages, and one for Node. */
function inlined(folder, name, bundle, bundleForNode) {
  const out = sources(folder, name, "-inline", app);
  writeFileSync(join(out, "src/process.js"), processScript);
  bundle("src/index.js", "dist/index.js", out);
  bundleForNode("src/process.js", "dist/process.js", out);
  writeFileSync(join(out, "dist/index.html"), page("./index.js", "text/javascript"));
  return join(out, "dist");
}

const apps = [
  { name: "Vite", build: vite, threads: isolated },
  { name: "webpack", build: webpack, threads: isolated },
  {
    name: "esbuild, files copied",
    build: (f) => copied(f, "esbuild-copied", (from, to, cwd) => esbuild([from, "--format=esm", `--outfile=${to}`], cwd)),
    threads: isolated,
    node: true,
  },
  {
    name: "esbuild, --inline",
    build: (f) =>
      inlined(
        f,
        "esbuild-inline",
        (from, to, cwd) => esbuild([from, `--outfile=${to}`], cwd),
        (from, to, cwd) => esbuild([from, "--format=esm", `--outfile=${to}`], cwd),
      ),
    threads: noScript,
    node: true,
  },
  {
    name: "rollup, files copied",
    build: (f) => copied(f, "rollup-copied", (from, to, cwd) => rollup([from, "-o", to], cwd)),
    threads: isolated,
    node: true,
  },
  {
    name: "rollup, --inline",
    build: (f) =>
      inlined(
        f,
        "rollup-inline",
        (from, to, cwd) => rollup([from, "-f", "iife", "-o", to], cwd),
        (from, to, cwd) => rollup([from, "-o", to], cwd),
      ),
    threads: noScript,
    node: true,
  },
];

/** As `chromiumHosts`; the apps of esbuild and rollup are also run in Node. */
export function bundlerHosts() {
  const built = new Map();
  const build = (entry, folder) => {
    if (!built.has(entry))
      built.set(
        entry,
        Promise.resolve().then(() => entry.build(folder)),
      );
    return built.get(entry);
  };
  let browser = null;
  async function inChromium(entry, folder) {
    const dist = await build(entry, folder);
    const server = await startServer(dist, "isolated");
    browser ??= openChromium();
    const { open, log } = await browser;
    const opened = await open(`${server.origin}/index.html#row`);
    try {
      return await reported(server, "row", log);
    } finally {
      await opened.close();
      server.close();
    }
  }
  const hosts = apps.flatMap((entry) => [
    { name: `${entry.name}, in Chromium`, missing: chromiumMissing, threads: entry.threads, run: (folder) => inChromium(entry, folder) },
    ...(entry.node
      ? [
          {
            name: `${entry.name}, in Node`,
            missing: null,
            threads: entry.threads,
            run: async (folder) => inNode("process.js", await build(entry, folder)),
          },
        ]
      : []),
  ]);
  return { hosts, refusals: [], close: async () => (await browser)?.close() };
}
