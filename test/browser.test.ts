import { execFile, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { buildForTests } from "./support/cli.ts";

// The artifact, and the compiler itself, in a browser.

const root = fileURLToPath(new URL("../", import.meta.url));
const browser = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find((p) => existsSync(p));
const reason = browser === undefined ? "no Chromium is installed (Debian: apt-get install chromium)" : null;
if (reason !== null) console.log(`browser tests are skipped: ${reason}`);

const types: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".wasm": "application/wasm",
  ".json": "application/json",
};
const flags =
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";

/** Serves folders under names, and a page with the script; gives the text that the script says, which the page sends back. */
async function inBrowser(script: string, folders: Readonly<Record<string, string>>): Promise<string> {
  const page = `<!doctype html><script type="importmap">{"imports": {"pbf": "/pbf/index.js"}}</script>
    <script type="module">const say = (body) => fetch("/said", { method: "POST", body });
    try { ${script} } catch (e) { say("failed: " + e.stack); }</script>`;
  let hear: (text: string) => void = () => {};
  const said = new Promise<string>((done) => {
    hear = done;
  });
  const server = createServer((request, response) => {
    const [, top = "", ...rest] = (request.url ?? "/").split("?")[0]?.split("/") ?? [];
    const folder = folders[top];
    const file = folder === undefined ? null : join(folder, ...rest);
    if (top === "said") {
      const pieces: Buffer[] = [];
      request.on("data", (piece: Buffer) => pieces.push(piece));
      request.on("end", () => hear(Buffer.concat(pieces).toString()));
      response.end();
    } else if (top === "") response.writeHead(200, { "content-type": "text/html" }).end(page);
    else if (file === null || !existsSync(file)) response.writeHead(404).end();
    else response.writeHead(200, { "content-type": types[extname(file)] ?? "application/octet-stream" }).end(readFileSync(file));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const profile = mkdtempSync(join(tmpdir(), "tilewright-browser-"));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  // With a debugging port the browser stays until it is ended.
  const args = [...flags.split(" "), "--remote-debugging-port=0", `--user-data-dir=${profile}`, url];
  const child = spawn(browser as string, args, { stdio: "ignore", detached: true });
  const ended = new Promise<void>((done) => child.on("exit", () => done()));
  const late = setTimeout(() => hear("the page said nothing for 100 seconds"), 100_000);
  try {
    return await said;
  } finally {
    clearTimeout(late);
    // Its helpers too: they are one group.
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    await ended;
    server.closeAllConnections();
    server.close();
    try {
      rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    } catch {
      // A helper of the browser may still be writing: the system's temporary folder may keep it.
    }
  }
}

const digits = join(root, "examples/digits");
const run = 'const r = await model.run({ image: new Float32Array(64).fill(0.5) }); say(Array.from(r.logits.data, (x) => x.toFixed(3)).join(" "));';

test.skipIf(reason !== null)(
  "the library compiles in a browser as it does here, and the artifact runs there",
  async () => {
    const dist = buildForTests();
    const { compile } = (await import(join(dist, "index.js"))) as typeof import("../src/index.ts");
    const here = await compile(new Uint8Array(readFileSync(join(digits, "digits.onnx"))));
    const { logits } = await here.run({ image: new Float32Array(64).fill(0.5) });
    const expected = Array.from(logits?.data as Float32Array, (x) => x.toFixed(3)).join(" ");

    const out = mkdtempSync(join(tmpdir(), "tilewright-artifact-"));
    await promisify(execFile)(process.execPath, [join(dist, "cli.js"), "compile", join(digits, "digits.onnx"), "-o", join(out, "digits")]);
    const folders = { dist, digits, artifact: join(out, "digits"), pbf: join(root, "node_modules/pbf") };
    const compiled = await inBrowser(
      `const { compile } = await import("/dist/index.js"); const bytes = await (await fetch("/digits/digits.onnx")).arrayBuffer(); const model = await compile(new Uint8Array(bytes)); ${run}`,
      folders,
    );
    const loaded = await inBrowser(`const { load } = await import("/artifact/model.js"); const model = await load(); ${run}`, folders);
    rmSync(out, { recursive: true, force: true });
    expect(compiled).toBe(expected);
    expect(loaded).toBe(expected);
  },
  240_000,
);
