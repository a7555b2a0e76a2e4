// Chromium: pages with and without isolation and policies, workers, service workers, extensions.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeExtension, writePages } from "./pages.mjs";
import { startServer } from "./server.mjs";

const program = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find((p) => existsSync(p));
export const chromiumMissing = program === undefined ? "no Chromium is installed (Debian: apt-get install chromium)" : null;

/** A browser with the extensions loaded, its console, and a way to open pages. */
export async function openChromium(extensions = []) {
  const { chromium } = await import("playwright-core");
  const profile = mkdtempSync(join(tmpdir(), "tilewright-chromium-"));
  const loaded = extensions.length === 0 ? [] : [`--disable-extensions-except=${extensions}`, `--load-extension=${extensions}`];
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: program,
    args: ["--no-sandbox", "--disable-quic", "--enable-unsafe-extension-debugging", ...loaded],
    ignoreDefaultArgs: ["--disable-extensions"],
  });
  const log = [];
  context.on("console", (message) => log.push(message.text()));
  context.on("weberror", (e) => log.push(String(e.error())));
  return {
    log,
    version: context.browser()?.version() ?? "",
    async open(url) {
      const page = await context.newPage();
      page.on("pageerror", (e) => log.push(String(e)));
      await page.goto(url);
      return page;
    },
    async close() {
      await context.close();
      rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    },
  };
}

/** What a page reports within a minute, with the browser's console where it does not. */
export async function reported(server, name, log) {
  let late;
  const silence = new Promise((_, reject) => {
    late = setTimeout(() => reject(new Error(`nothing was reported in 60 seconds; the console: ${log.join("\n") || "empty"}`)), 60_000);
  });
  try {
    return JSON.parse(await Promise.race([server.heard(name), silence]));
  } finally {
    clearTimeout(late);
  }
}

const isolated = { count: 3 };
const headersMissing = { reason: /serve it with the headers 'Cross-Origin-Opener-Policy: same-origin'/ };
const noWorkers = { reason: /no workers can be started here/ };
const extensionIsolation = { reason: /the page is not cross-origin isolated/ };
const wasmAllowed = "script-src 'self' 'wasm-unsafe-eval'";

/** A page's row, its address below the server's origin, and what it is expected to say of threads. */
const pages = [
  ["page", "plain/page", headersMissing],
  ["isolated page", "isolated/page", isolated],
  ["worker", "isolated/worker", isolated],
  ["service worker", "isolated/service", noWorkers],
  [`page, ${wasmAllowed}`, "strict/page", isolated],
  ["page, --inline", "isolated/inline", isolated],
];
const extensions = [
  ["extension page, wasm-unsafe-eval, isolated", "allowed-page", isolated],
  ["extension service worker, wasm-unsafe-eval", "allowed-service", noWorkers],
  ["extension, default policy, sandboxed page", "default-sandbox", extensionIsolation],
];
/** Where WebAssembly is forbidden: loading has to end with an error that says so. */
const forbidden = [
  ["page, script-src 'self'", "nowasm/forbidden"],
  ["extension page, default policy", "default-page"],
  ["extension service worker, default policy", "default-service"],
];

/** All that is done in Chromium, in one browser that the first of them opens. `close` ends it. */
export function chromiumHosts() {
  let opened = null;
  function open(folder) {
    opened ??= start(folder);
    return opened;
  }
  async function start(folder) {
    writePages(folder);
    const server = await startServer(folder);
    const policies = { allowed: wasmAllowed, default: null };
    const folders = Object.entries(policies).map(([name, policy]) => writeExtension(folder, name, server.origin, policy));
    return { server, browser: await openChromium(folders) };
  }
  async function visit(folder, address) {
    const { server, browser } = await open(folder);
    if (!address.includes("/")) return reported(server, address, browser.log);
    const page = await browser.open(`${server.origin}/${address}.html#${address}`);
    try {
      return await reported(server, address, browser.log);
    } finally {
      await page.close();
    }
  }
  const host = ([name, address, threads]) => ({
    name: `Chromium ${name}`,
    missing: chromiumMissing,
    threads,
    run: (folder) => visit(folder, address),
  });
  return {
    hosts: [...pages, ...extensions].map(host),
    refusals: forbidden.map(([name, address]) => ({
      name: `Chromium ${name}`,
      missing: chromiumMissing,
      code: "engine",
      words: /add 'wasm-unsafe-eval' to script-src/,
      run: (folder) => visit(folder, address),
    })),
    async close() {
      if (opened === null) return;
      const { server, browser } = await opened;
      await browser.close();
      server.close();
    },
  };
}
