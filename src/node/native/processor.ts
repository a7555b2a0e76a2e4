import fs from "node:fs";
import type { LevelName } from "../../targets/c/levels.ts";
import { type Caches, usualCaches } from "../../targets/c/machine.ts";

/** Instruction sets of each level of code by Linux's names; those that `tw_cpu_level` of the emitted code looks for. */
const needed: readonly (readonly [LevelName, readonly string[]])[] = [
  ["avx512", ["avx512f", "avx512dq", "avx512bw", "avx512vl", "avx2", "fma", "f16c", "bmi1", "bmi2"]],
  ["avx2", ["avx2", "fma", "f16c", "bmi1", "bmi2"]],
  ["sse42", ["ssse3", "sse4_1", "sse4_2", "popcnt"]],
];

/** The processor's features as Linux tells them (those whose registers it saves); null where nothing is told. */
export function processorFeatures(): ReadonlySet<string> | null {
  try {
    const info = fs.readFileSync("/proc/cpuinfo", "utf8");
    const line = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(info)?.[1];
    return line === undefined ? null : new Set(line.trim().split(/\s+/));
  } catch {
    return null;
  }
}

const cacheFolder = "/sys/devices/system/cpu/cpu0/cache";

/** Caches of a core as Linux tells them; what it does not tell is as usual. */
export function processorCaches(folder: string = cacheFolder): Caches {
  const found = { ...usualCaches };
  try {
    for (const entry of fs.readdirSync(folder).filter((e) => e.startsWith("index"))) {
      const read = (name: string): string => fs.readFileSync(`${folder}/${entry}/${name}`, "utf8").trim();
      const size = /^(\d+)([KM]?)$/.exec(read("size"));
      const bytes = Number(size?.[1]) * ({ K: 2 ** 10, M: 2 ** 20 }[size?.[2] ?? ""] ?? 1);
      if (!(bytes > 0) || read("type") === "Instruction") continue;
      if (read("level") === "1") Object.assign(found, { l1Bytes: bytes, lineBytes: Number(read("coherency_line_size")) || found.lineBytes });
      if (read("level") === "2") found.l2Bytes = bytes;
    }
  } catch {
    // Not told, or not in this form.
  }
  return found;
}

/** The widest level of code that runs here; null where it is not known before the code itself looks. */
export function nativeLevel(features: ReadonlySet<string> | null = processorFeatures(), arch: string = process.arch): LevelName | null {
  if (arch !== "x64") return "portable";
  if (features === null) return null;
  return needed.find(([, list]) => list.every((f) => features.has(f)))?.[0] ?? "portable";
}
