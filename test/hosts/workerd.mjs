// An edge worker: workerd takes no code but what its configuration names, so modules are imported, and weights given as bytes.
import { spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageFolder, versionOf } from "./prepare.mjs";

const script = `import { probe } from "./probe.js";
import { load as digits } from "./digits/model.js";
import { load as rows } from "./rows/model.js";
import digitsWasm from "./digits/model.wasm";
import digitsWeights from "./digits/model.weights.bin";
import rowsWasm from "./rows/model.wasm";
const given = { digits: { wasm: digitsWasm, weights: digitsWeights }, rows: { wasm: rowsWasm } };
export default {
  // With no module given there is none to be found.
  fetch: async () => Response.json(await probe({ digits, rows, given, missing: () => digits() })),
};
`;

/** `dated` says how workerd behaves: as on a day, with its imitation of Node or without. */
const config = (dated) => `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "main", worker = .worker) ],
  sockets = [ (name = "http", address = "127.0.0.1:0", http = (), service = "main") ]
);
const worker :Workerd.Worker = (
  modules = [
    (name = "worker.js", esModule = embed "worker.js"),
    (name = "probe.js", esModule = embed "probe.js"),
    (name = "digits/model.js", esModule = embed "digits/model.js"),
    (name = "digits/model.wasm", wasm = embed "digits/model.wasm"),
    (name = "digits/model.weights.bin", data = embed "digits/model.weights.bin"),
    (name = "rows/model.js", esModule = embed "rows/model.js"),
    (name = "rows/model.wasm", wasm = embed "rows/model.wasm")
  ],
  ${dated}
);
`;

export function workerdHosts() {
  const name = "@cloudflare/workerd-linux-64";
  const program = join(packageFolder(name), "bin/workerd");
  const missing = existsSync(program) ? null : `the package ${name} is not installed`;
  const named = missing === null ? `workerd ${versionOf(name)}` : "workerd";
  const threads = { reason: /no workers can be started here/ };
  const host = (name, dated) => ({ name, missing, threads, run: (folder) => run(folder, dated) });
  const hosts = [
    host(named, 'compatibilityDate = "2024-01-01"'),
    host(`${named}, nodejs_compat`, 'compatibilityDate = "2026-06-01", compatibilityFlags = ["nodejs_compat"]'),
  ];
  return { hosts, refusals: [], close: async () => {} };

  async function run(folder, dated) {
    writeFileSync(join(folder, "worker.js"), script);
    writeFileSync(join(folder, "workerd.capnp"), config(dated));
    // The port is told on the fourth channel.
    const child = spawn(program, ["serve", "workerd.capnp", "--control-fd=3"], { cwd: folder, stdio: ["ignore", "pipe", "pipe", "pipe"] });
    let said = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (said += text));
    try {
      const port = await new Promise((resolve, reject) => {
        child.stdio[3].on("data", (text) => {
          const news = String(text)
            .split("\n")
            .filter(Boolean)
            .map((line) => JSON.parse(line));
          const listening = news.find((n) => n.event === "listen");
          if (listening !== undefined) resolve(listening.port);
        });
        child.on("exit", (status) => reject(new Error(`workerd ended with status ${status}:\n${said}`)));
        child.on("error", reject);
      });
      const response = await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(60_000) });
      const text = await response.text();
      if (!response.ok) throw new Error(`workerd answered ${response.status}: ${text}\n${said}`);
      return JSON.parse(text);
    } finally {
      child.kill("SIGKILL");
    }
  }
}
