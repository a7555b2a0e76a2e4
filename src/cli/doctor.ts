import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import type { Command } from "commander";
import { hasRelaxedSimd } from "../runtime/model.ts";
import { mostThreads, sharedMemoryMissing } from "../runtime/threads.ts";
import { version } from "../version.ts";
import { enableRelaxedSimd } from "./common.ts";
import { command } from "./options.ts";

export function doctorCommand(): Command {
  return command("doctor", "", "Tell what this machine can do, and how to get what is missing.", ["doctor"]).action(doctorAction);
}

/** A module with one function, `(func (result v128) (i32x4.splat (i32.const 0)))`: takes SIMD to validate. */
const simdProbe = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 17, 11];

function doctorAction(): void {
  const byDefault = hasRelaxedSimd();
  enableRelaxedSimd();
  const simd = WebAssembly.validate(new Uint8Array(simdProbe));
  const relaxed = byDefault
    ? "yes"
    : hasRelaxedSimd()
      ? "behind a flag: start with node --experimental-wasm-relaxed-simd, or use Node 22 or newer (these commands switch it on themselves)"
      : "no: use Node 22 or newer";
  const lines: [string, string][] = [
    ["tilewright", version],
    ["engine", `Node ${process.versions.node}, V8 ${process.versions.v8}, ${process.platform} ${process.arch}`],
    ["processor", `${os.cpus()[0]?.model.trim() ?? "unknown"}, ${os.availableParallelism()} hardware threads available`],
    ["memory", `${(os.totalmem() / 2 ** 30).toFixed(1)} GiB`],
    ["SIMD", simd ? "yes" : "no: models need it; use a newer engine"],
    ["relaxed SIMD", relaxed],
    ["shared memory", threads()],
    ["processor features", processorFeatures()],
    ...compilers(),
  ];
  const width = Math.max(...lines.map(([k]) => k.length));
  process.stdout.write(`${lines.map(([k, v]) => `${k.padEnd(width)}  ${v}`).join("\n")}\n`);
}

function threads(): string {
  const missing = sharedMemoryMissing();
  const most = Math.min(mostThreads, os.availableParallelism());
  if (missing !== null) return `no: ${missing}; models run on one thread`;
  return `yes: models can run on threads, here on up to ${most} at a time (in browsers, where the page is cross-origin isolated)`;
}

/** Vector extensions, where the system tells. */
function processorFeatures(): string {
  const wanted = [
    "sse4_1",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512vl",
    "avx512_vnni",
    "avx_vnni",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
    "sve2",
  ];
  try {
    const info = fs.readFileSync("/proc/cpuinfo", "utf8");
    const flags = new Set((/^(?:flags|Features)\s*:\s*(.*)$/m.exec(info)?.[1] ?? "").split(" "));
    return wanted.filter((f) => flags.has(f)).join(" ") || "none of those looked for";
  } catch {
    return `not told by ${process.platform}`;
  }
}

/** C compilers on the path; they are for the C target of a later version. */
function compilers(): [string, string][] {
  const found = ["cc", "gcc", "clang"].flatMap((name): [string, string][] => {
    const r = spawnSync(name, ["--version"], { encoding: "utf8", timeout: 5000 });
    return r.status === 0 ? [[`C compiler ${name}`, r.stdout.split("\n")[0] ?? ""]] : [];
  });
  if (found.length > 0) return found;
  return [
    [
      "C compiler",
      "none: install gcc or clang (Debian: apt install gcc; macOS: xcode-select --install); only the C target, which is to come, needs one",
    ],
  ];
}
