// Opens page.mjs in Chromium, once for each package.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const program = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find((p) => existsSync(p));
/** Why there are no pages here; null where there are. */
export const browserMissing = program === undefined ? "no Chromium is installed (Debian: apt-get install chromium)" : null;

const flags =
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";
const types = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };
/** What the programs import, as a page has it: files are fetched before they begin. */
const shims = (files) => ({
  "fs.js": `const files = new Map(await Promise.all(${JSON.stringify(files)}.map(async (f) => [location.origin + "/models/" + f, new Uint8Array(await (await fetch("/models/" + f)).arrayBuffer())])));
export const readFileSync = (url) => files.get(url).slice();`,
  "path.js": 'export const join = (...parts) => parts.join("/");',
});
const page = `<!doctype html><script type="importmap">{"imports": {"pbf": "/pbf/index.js", "node:fs": "/shims/fs.js", "node:path": "/shims/path.js"}}</script>
<script type="module" src="/programs/page.mjs"></script>`;

/**
 * What the programs saw on a page, by package.
 * @param dist tilewright's built folder; `models` the folder of models
 */
export async function seenOnPages(dist, models) {
  const folders = {
    programs: here,
    models,
    dist,
    pbf: join(here, "node_modules/pbf"),
    "onnxruntime-web": join(here, "node_modules/onnxruntime-web/dist"),
  };
  const made = shims(readdirSync(models).filter((f) => statSync(join(models, f)).isFile()));
  return served(folders, { "": page, ...made }, async (visit) => ({
    mine: await visit(`#${encodeURIComponent("/dist/ort/index.js")}`),
    theirs: await visit(`#${encodeURIComponent("/onnxruntime-web/ort.wasm.min.mjs")}`),
  }));
}

/** What @huggingface/transformers saw on a page, bundled with tilewright/ort in place of the packages that it imports. */
export async function seenByTransformers(dist, models) {
  const ours = join(dist, "ort/index.js");
  const { outputFiles } = await build({
    entryPoints: [join(here, "transformers-page.mjs")],
    alias: { "onnxruntime-web/webgpu": ours, "onnxruntime-common": ours },
    bundle: true,
    write: false,
    format: "esm",
    platform: "browser",
    logLevel: "silent",
  });
  const script = '<!doctype html><script type="module" src="/shims/bundle.js"></script>';
  return served({ models }, { "": script, "bundle.js": outputFiles[0].text }, (visit) => visit(""));
}

/** Serves folders and texts while `use` visits pages; a visit gives what the page says. */
async function served(folders, texts, use) {
  let hear;
  const server = createServer((request, response) => {
    const [, top, ...rest] = normalize(new URL(request.url, "http://here").pathname).split("/");
    if (top === "seen") {
      const pieces = [];
      request.on("data", (p) => pieces.push(p));
      request.on("end", () => hear(Buffer.concat(pieces).toString()));
      return response.end();
    }
    const text = top === "" ? texts[""] : top === "shims" ? texts[rest[0]] : undefined;
    const file = folders[top] === undefined ? null : join(folders[top], ...rest);
    if (text === undefined && (file === null || !existsSync(file))) return response.writeHead(404).end();
    const type = types[top === "" ? ".html" : extname(rest.at(-1))] ?? "application/octet-stream";
    return response.writeHead(200, { "content-type": type }).end(text ?? readFileSync(file));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const origin = `http://127.0.0.1:${server.address().port}`;
  const visit = async (hash) => {
    const said = new Promise((done) => (hear = done));
    return JSON.parse(await opened(`${origin}/${hash}`, said));
  };
  try {
    return await use(visit);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

/** Waits for what a page says, at most two minutes. */
async function opened(url, said) {
  const profile = mkdtempSync(join(tmpdir(), "tilewright-ort-page-"));
  const child = spawn(program, [...flags.split(" "), "--remote-debugging-port=0", `--user-data-dir=${profile}`, url], {
    stdio: "ignore",
    detached: true,
  });
  const ended = new Promise((done) => child.on("exit", done));
  let late;
  try {
    return await Promise.race([
      said,
      new Promise((_, fail) => {
        late = setTimeout(() => fail(new Error(`the page said nothing for 120 seconds: ${url}`)), 120_000);
      }),
    ]);
  } finally {
    clearTimeout(late);
    process.kill(-child.pid, "SIGKILL");
    await ended;
    rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}
