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

async function openFirefox() {
  const profile = mkdtempSync(join(tmpdir(), "tilewright-firefox-"));
  // Pages that are not in front get few turns otherwise, and it looks for updates.
  const settings = { "app.update.enabled": false, "browser.shell.checkDefaultBrowser": false, "datareporting.policy.dataSubmissionEnabled": false };
  writeFileSync(
    join(profile, "user.js"),
    Object.entries(settings)
      .map(([name, value]) => `user_pref("${name}", ${value});\n`)
      .join(""),
  );
  const args = ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port=0"];
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, HOME: profile }, detached: true });
  const ended = new Promise((done) => child.on("exit", done));
  const end = async () => {
    // Its processes are one group.
    if (child.exitCode === null) process.kill(-child.pid, "SIGKILL");
    await ended;
    rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  };
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
    return { ...session, close: () => (session.close(), end()) };
  } catch (e) {
    await end();
    throw e;
  }
}

const isolated = { count: 3 };
const pages = [
  ["page", "plain/page", { reason: /serve it with the headers/ }],
  ["isolated page", "isolated/page", isolated],
  ["worker", "isolated/worker", isolated],
  ["service worker", "isolated/service", { reason: /no workers can be started here/ }],
  ["page, script-src 'self' 'wasm-unsafe-eval'", "strict/page", isolated],
];

/** As `chromiumHosts`. */
export function firefoxHosts() {
  let opened = null;
  async function start(folder) {
    writePages(folder);
    return { server: await startServer(folder), browser: await openFirefox() };
  }
  async function visit(folder, address) {
    opened ??= start(folder);
    const { server, browser } = await opened;
    const { context } = await browser.send("browsingContext.create", { type: "tab" });
    await browser.send("browsingContext.navigate", { context, url: `${server.origin}/${address}.html#${address}`, wait: "none" });
    try {
      return await reported(server, address, browser.log);
    } finally {
      await browser.send("browsingContext.close", { context });
    }
  }
  const version = firefoxMissing === null ? spawnSync(program, ["--version"], { encoding: "utf8" }).stdout.replace("Mozilla ", "").trim() : "Firefox";
  const host = ([name, address, threads]) => ({ name: `${version} ${name}`, missing: firefoxMissing, threads, run: (folder) => visit(folder, address) });
  return {
    hosts: pages.map(host),
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
