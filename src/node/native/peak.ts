import fs from "node:fs";
import path from "node:path";
import { InternalError } from "../../base/errors.ts";
import { cacheFolder, cachedLibrary, keyOf, libraryName } from "./cache.ts";
import { compileLibrary, libraryFlags } from "./compiler.ts";
import type { Toolchain } from "./toolchain.ts";

/** Vectors of each level of code: their bytes, the instructions (null: what every machine has), and chains that hide latency. */
const flavours: Readonly<Record<string, { readonly bytes: number; readonly target: string | null; readonly chains: number }>> = {
  portable: { bytes: 16, target: null, chains: 12 },
  sse42: { bytes: 16, target: "sse4.2", chains: 12 },
  avx2: { bytes: 32, target: "avx2,fma", chains: 12 },
  avx512: { bytes: 64, target: "avx512f", chains: 16 },
};

/** Rounds of multiply-adds that stay in registers; the compiler may fuse them. */
function peakText(level: string): string {
  const f = flavours[level];
  if (f === undefined) throw new InternalError("native", `no level of native code is called '${level}'`);
  const all = Array.from({ length: f.chains }, (_, i) => i);
  return `#include <stdint.h>
typedef float vector __attribute__((vector_size(${f.bytes})));
float tw_peak(int64_t rounds, float a, float b);
${f.target === null ? "" : `__attribute__((target("${f.target}"))) `}float tw_peak(int64_t rounds, float a, float b) {
  const vector zero = {0};
  const vector x = zero + a, y = zero + b;
${all.map((i) => `  vector s${i} = zero + ${i}.0f;`).join("\n")}
  for (int64_t i = 0; i < rounds; i++) {
${all.map((i) => `    s${i} = s${i} * x + y;`).join("\n")}
  }
  const vector s = ${all.map((i) => `s${i}`).join(" + ")};
  return s[0];
}
`;
}

/** Milliseconds that one measurement takes, about. */
const measuredMs = 15;
const measurements = 10;

/** The multiply-add ceiling of one core for code of that level, in GFLOP/s (a multiply-add counts two): measured, about a fifth of a second. */
export async function measureNativePeak(tools: Toolchain, level: string): Promise<number> {
  const text = peakText(level);
  const flags = libraryFlags.map((f) => (f === "-ffp-contract=off" ? "-ffp-contract=fast" : f));
  const key = keyOf([text, ...flags, tools.compiler.version, tools.compiler.machine, process.platform, process.arch]);
  const { library } = await cachedLibrary(cacheFolder(), key, async (folder) => {
    fs.writeFileSync(path.join(folder, "peak.c"), text);
    await compileLibrary(tools.compiler, path.join(folder, "peak.c"), path.join(folder, libraryName), flags);
  });
  const call = tools.ffi.load(library).func("float tw_peak(int64_t rounds, float a, float b)");
  const once = (n: number): number => {
    const start = performance.now();
    call(n, 0.999, 0.001);
    return performance.now() - start;
  };
  // Long enough to be measured, and for the processor to reach its speed.
  let rounds = 1000;
  while (once(rounds) < measuredMs) rounds *= 2;
  const best = Math.min(...Array.from({ length: measurements }, () => once(rounds)));
  const { bytes = 0, chains = 0 } = flavours[level] ?? {};
  return (rounds * chains * (bytes / 4) * 2) / best / 1e6;
}
