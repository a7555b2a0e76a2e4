import fs from "node:fs";
import type { LevelName } from "../../targets/c/levels.ts";

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

/** The widest level of code that runs here; null where it is not known before the code itself looks. */
export function nativeLevel(features: ReadonlySet<string> | null = processorFeatures(), arch: string = process.arch): LevelName | null {
  if (arch !== "x64") return "portable";
  if (features === null) return null;
  return needed.find(([, list]) => list.every((f) => features.has(f)))?.[0] ?? "portable";
}
