// What a fresh process needs to compile a model to C, and the C compiler to compile that.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadNative, withSource } from "../../engines/native.mjs";
import { loadWorkload, suiteWorkload } from "../../workloads.mjs";

/** `{ dist, name }`: a model of the suite. Gives one entry for this machine's level of code alone and one for all levels. */
export async function nativeCompile({ dist, name }, note) {
  const tw = await loadNative(dist);
  const model = loadWorkload(suiteWorkload(name));
  const compiler = tw.findCompiler();
  const one = await compileOnce(tw, model, compiler, (source) => tw.nativeSource(source, { name }));
  note(`${one.levels.join(", ")}: ${one.cc_wall_ms.toFixed(0)} ms of ${compiler.command}`);
  const names = tw.levels.map((l) => l.name);
  const all = await compileOnce(tw, model, compiler, (source) => tw.buildC(source, { name }, names).artifact);
  return { compiler: compiler.version, flags: tw.libraryFlags, variants: [one, all] };
}

async function compileOnce(tw, model, compiler, emit) {
  const cpu = process.cpuUsage();
  const { files, manifest } = await withSource(tw, model, emit);
  const { user, system } = process.cpuUsage(cpu);
  const folder = mkdtempSync(join(tmpdir(), "tilewright-bench-"));
  try {
    for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text);
    const [begun, children] = [performance.now(), childrenCpuMs()];
    await tw.compileLibrary(compiler, join(folder, "model.c"), join(folder, tw.libraryName), tw.libraryFlags);
    const [wall, spent] = [performance.now() - begun, childrenCpuMs()];
    return {
      levels: manifest.levels,
      kernels: manifest.kernels.length,
      c_bytes: statSync(join(folder, "model.c")).size,
      library_bytes: statSync(join(folder, tw.libraryName)).size,
      compile_cpu_ms: (user + system) / 1e3,
      cc_wall_ms: wall,
      cc_cpu_ms: children === null || spent === null ? null : spent - children,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** CPU time of processes that this one started and that have ended, where the system tells: in hundredths of a second. */
function childrenCpuMs() {
  try {
    const fields = readFileSync("/proc/self/stat", "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return (Number(fields[13]) + Number(fields[14])) * 10;
  } catch {
    return null;
  }
}
