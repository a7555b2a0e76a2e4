// The bandwidth of this machine's memory, measured by C that is built as models are.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const source = new URL("bandwidth.c", import.meta.url);
/** More than caches hold. */
const bytes = 512 * 2 ** 20;
const rounds = 5;

/** GB/s with which so many threads together read what lies in no cache. `tw`: what `loadNative` gave. */
export async function measureBandwidth(tw, tools, threads) {
  const text = readFileSync(source, "utf8");
  const key = tw.keyOf([text, ...tw.libraryFlags, tools.compiler.version, tools.compiler.machine, process.platform, process.arch]);
  const { library } = await tw.cachedLibrary(tw.cacheFolder(), key, async (folder) => {
    writeFileSync(join(folder, "bandwidth.c"), text);
    await tw.compileLibrary(tools.compiler, join(folder, "bandwidth.c"), join(folder, tw.libraryName), tw.libraryFlags);
  });
  const read = tools.ffi.load(library).func("float tw_read(void *p, int64_t n)");
  const each = Math.floor(bytes / 4 / threads / 64) * 64;
  // Pages that nobody has written all are the same one.
  const parts = Array.from({ length: threads }, () => new Float32Array(each).fill(1));
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < rounds; i++) {
    const begun = performance.now();
    await Promise.all(parts.map((p) => new Promise((resolve, reject) => read.async(p, each, (e, sum) => (e === null ? resolve(sum) : reject(e))))));
    best = Math.min(best, performance.now() - begun);
  }
  return (each * 4 * threads) / best / 1e6;
}
