import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";

/** Where tests find a browser; without one they are skipped. */
export const browser = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find((p) => existsSync(p));
/** Why there are no tests in a browser here; null where there are. */
export const browserMissing: string | null = browser === undefined ? "no Chromium is installed (Debian: apt-get install chromium)" : null;

const types: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".wasm": "application/wasm",
  ".json": "application/json",
};
const flags =
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";

/** What makes a page cross-origin isolated, so that it has shared memory. */
export const isolation = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

/** Resident bytes of the processes of a browser's group that run pages; 0 where the system does not tell. */
function pageMemory(group: number): number {
  if (!existsSync("/proc/self/stat")) return 0;
  let bytes = 0;
  for (const pid of readdirSync("/proc").filter((n) => /^\d+$/.test(n))) {
    try {
      // pid (name) state parent group …
      const [, , processGroup] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").pop()?.split(" ") ?? [];
      if (Number(processGroup) !== group || !readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("--type=renderer")) continue;
      bytes += 1024 * Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
    } catch {
      // It ended meanwhile.
    }
  }
  return bytes;
}

/**
 * Serves folders under names, and a page with the script, all with the headers; gives the text that the script says, which
 * the page sends back. `more` are flags of the browser. At `/memory` the script learns how many bytes its process takes.
 */
export async function inBrowser(
  script: string,
  folders: Readonly<Record<string, string>>,
  headers: Readonly<Record<string, string>> = {},
  more: readonly string[] = [],
): Promise<string> {
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
    } else if (top === "memory") response.end(String(child.pid === undefined ? 0 : pageMemory(child.pid)));
    else if (top === "") response.writeHead(200, { "content-type": "text/html", ...headers }).end(page);
    else if (file === null || !existsSync(file)) response.writeHead(404).end();
    else response.writeHead(200, { "content-type": types[extname(file)] ?? "application/octet-stream", ...headers }).end(readFileSync(file));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const profile = mkdtempSync(join(tmpdir(), "tilewright-browser-"));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  // With a debugging port the browser stays until it is ended.
  const args = [...flags.split(" "), ...more, "--remote-debugging-port=0", `--user-data-dir=${profile}`, url];
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
