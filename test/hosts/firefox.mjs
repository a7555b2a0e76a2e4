// Firefox, driven over WebDriver BiDi: JSON messages over a web socket.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { reported } from "./chromium.mjs";
import { writePages } from "./pages.mjs";
import { startServer } from "./server.mjs";

const program = ["/usr/bin/firefox-esr", "/usr/bin/firefox"].find((p) => existsSync(p));
const firefoxMissing = program === undefined ? "no Firefox is installed (Debian: apt-get install firefox-esr)" : null;

/** A session of BiDi: `send` resolves with the result of a command; `log` collects what pages write and throw. */
async function connect(url) {
  const { WebSocket } = await import("ws");
  const socket = new WebSocket(`${url}/session`);
  await new Promise((done, fail) => socket.on("open", done).on("error", fail));
  const [waiting, log] = [new Map(), []];
  socket.on("message", (data) => {
    const message = JSON.parse(String(data));
    if (message.type === "event") return log.push(message.params.text ?? message.method);
    const { done, fail } = waiting.get(message.id);
    if (message.type === "success") done(message.result);
    else fail(new Error(`${message.error}: ${message.message}`));
  });
  let last = 0;
  const send = (method, params) =>
    new Promise((done, fail) => {
      waiting.set(++last, { done, fail });
      socket.send(JSON.stringify({ id: last, method, params }));
    });
  await send("session.new", { capabilities: {} });
  await send("session.subscribe", { events: ["log.entryAdded"] });
  return { send, log, close: () => socket.close() };
}

/** A new Firefox; `end` ends it with all its processes, which are one group. */
function launch(args) {
  const profile = mkdtempSync(join(tmpdir(), "tilewright-firefox-"));
  const settings = { "app.update.enabled": false, "browser.shell.checkDefaultBrowser": false, "datareporting.policy.dataSubmissionEnabled": false };
  const lines = Object.entries(settings).map(([name, value]) => `user_pref("${name}", ${value});\n`);
  writeFileSync(join(profile, "user.js"), lines.join(""));
  const child = spawn(program, ["--headless", "--no-remote", "--profile", profile, ...args], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, HOME: profile },
    detached: true,
  });
  const ended = new Promise((done) => child.on("exit", done));
  const end = async () => {
    if (child.exitCode === null) process.kill(-child.pid, "SIGKILL");
    await ended;
    rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  };
  return { child, end };
}

async function openFirefox() {
  const { child, end } = launch(["--remote-debugging-port=0"]);
  try {
    const url = await new Promise((done, fail) => {
      let said = "";
      child.stderr.on("data", (text) => {
        said += text;
        const found = /WebDriver BiDi listening on (ws:\/\/\S+)/.exec(said);
        if (found !== null) done(found[1]);
      });
      child.on("exit", (status) => fail(new Error(`Firefox ended with status ${status}: ${said}`)));
      setTimeout(() => fail(new Error(`Firefox did not start within a minute: ${said}`)), 60_000).unref();
    });
    const session = await connect(url);
    const close = () => {
      session.close();
      return end();
    };
    return { ...session, close };
  } catch (e) {
    await end();
    throw e;
  }
}

const isolated = { count: 3 };
const pagesOf = (visitAlone) => [
  ["page", "plain/page", { reason: /serve it with the headers/ }],
  ["isolated page", "isolated/page", isolated],
  ["worker", "isolated/worker", isolated, visitAlone],
  ["service worker", "isolated/service", { reason: /no workers can be started here/ }],
  ["page, script-src 'self' 'wasm-unsafe-eval'", "strict/page", isolated],
];

/** As `chromiumHosts`. */
export function firefoxHosts() {
  let opened = null;
  function open(folder) {
    opened ??= start(folder);
    return opened;
  }
  async function start(folder) {
    writePages(folder);
    return { server: await startServer(folder), browser: await openFirefox() };
  }
  /** While Firefox is driven, workers that start workers stop for ever, whatever they run; so that page is opened by the command line. */
  async function visitAlone(folder, address) {
    const { server } = await open(folder);
    const { end } = launch([`${server.origin}/${address}.html#${address}`]);
    try {
      return await reported(server, address, []);
    } finally {
      await end();
    }
  }
  async function visit(folder, address) {
    const { server, browser } = await open(folder);
    const { context } = await browser.send("browsingContext.create", { type: "tab" });
    await browser.send("browsingContext.navigate", { context, url: `${server.origin}/${address}.html#${address}`, wait: "none" });
    try {
      return await reported(server, address, browser.log);
    } finally {
      await browser.send("browsingContext.close", { context });
    }
  }
  const version = firefoxMissing === null ? spawnSync(program, ["--version"], { encoding: "utf8" }).stdout.replace("Mozilla ", "").trim() : "Firefox";
  const host = ([name, address, threads, go = visit]) => ({
    name: `${version} ${name}`,
    missing: firefoxMissing,
    threads,
    run: (folder) => go(folder, address),
  });
  return {
    hosts: pagesOf(visitAlone).map(host),
    refusals: [
      {
        name: `${version} page, script-src 'self'`,
        missing: firefoxMissing,
        code: "engine",
        words: /add 'wasm-unsafe-eval' to script-src/,
        run: (folder) => visit(folder, "nowasm/forbidden"),
      },
    ],
    async close() {
      if (opened === null) return;
      const { server, browser } = await opened;
      await browser.close();
      server.close();
    },
  };
}
