import os from "node:os";
import type { Command } from "commander";
import { bytesText } from "../base/text.ts";
import { cacheFolder, cacheSize } from "../node/native/cache.ts";
import { compilerAdvice, findCompiler, listCompilers } from "../node/native/compiler.ts";
import { loadFfi } from "../node/native/ffi.ts";
import { nativeLevel, processorFeatures } from "../node/native/processor.ts";
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

async function doctorAction(): Promise<void> {
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
    ["processor features", vectorFeatures()],
    ...(await native()),
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
function vectorFeatures(): string {
  const wanted = [
    "sse4_1",
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512dq",
    "avx512bw",
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
  const features = processorFeatures();
  return features === null ? `not told by ${process.platform}` : wanted.filter((f) => features.has(f)).join(" ") || "none of those looked for";
}

/** What target 'native' needs: a C compiler and the FFI package; and where it builds. */
async function native(): Promise<[string, string][]> {
  const compilers = listCompilers();
  const ffi = await loadFfi().catch((e: Error) => e);
  const cache = cacheFolder();
  const { files, bytes } = cacheSize(cache);
  const level = nativeLevel();
  const chosen = (): string => {
    try {
      const c = findCompiler();
      return `yes, compiled by ${[c.command, ...c.args].join(" ")} ${level === null ? "for all levels" : `at level ${level}`}: run and bench with --target native`;
    } catch (e) {
      return `no: ${(e as Error).message}`;
    }
  };
  return [
    ...compilers.map((c): [string, string] => [`C compiler ${[c.command, ...c.args].join(" ")}`, c.version]),
    ...(compilers.length > 0 ? [] : ([["C compiler", `none, target native needs one: ${compilerAdvice()}`]] as [string, string][])),
    ["FFI", ffi instanceof Error ? `no: ${ffi.message}` : `koffi ${ffi.version}`],
    [
      "native code",
      ffi instanceof Error || compilers.length === 0
        ? `no: ${ffi instanceof Error ? "the FFI package" : "a C compiler"} is missing, see above`
        : chosen(),
    ],
    ["native cache", `${cache}, ${files} files, ${bytesText(bytes)}: may be deleted at any time; XDG_CACHE_HOME moves it`],
  ];
}
