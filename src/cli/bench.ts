import path from "node:path";
import type { Command } from "commander";
import type { Stmt } from "../loop/ir.ts";
import { type InputFlags, gatherInputs } from "../node/inputs.ts";
import { NativeModel } from "../node/native/model.ts";
import { measureNativePeak } from "../node/native/peak.ts";
import { measurePeak } from "../targets/wasm/peak.ts";
import { type Loaded, type ModelFlags, enableRelaxedSimd, parseCount, simdText, table } from "./common.ts";
import { type KernelTime, LaunchClock, kernelTimes, launchesOf } from "./kernel-times.ts";
import { openNativeSession } from "./native.ts";
import { addCompileOptions, addInputOptions, command } from "./options.ts";
import { type Session, openSession } from "./session.ts";

interface BenchFlags extends ModelFlags, InputFlags {
  readonly runs: number;
  readonly json?: boolean;
  readonly perKernel?: boolean;
}

export function benchCommand(): Command {
  const c = command("bench", "<model>", "Time a model file or an artifact. Inputs without a file are random.", [
    "bench model.onnx --runs 50",
    "bench model.onnx --per-kernel",
    "bench model.onnx --target native --threads 2",
    "bench out --shape batch=4 --json",
  ]);
  return addInputOptions(addCompileOptions(c))
    .option("--runs <n>", "timed runs", parseCount(1), 20)
    .option("--json", "print one JSON object")
    .option("--per-kernel", "a table of launches, from a profiling build that reads a clock between them")
    .action(benchAction);
}

interface Times {
  readonly min: number;
  readonly median: number;
}

/** Times a session: first long enough for the engine to optimise, then `runs` times. */
function time(s: Session, flags: BenchFlags): Times {
  const inputs = gatherInputs(s.manifest, { random: 1, ...flags }, s.sizes);
  const once = () => {
    const start = performance.now();
    s.model.runNow(inputs, { views: true });
    return performance.now() - start;
  };
  const begun = performance.now();
  for (let i = 0; i < 3 || performance.now() - begun < 500; i++) once();
  const all = Array.from({ length: flags.runs }, once).sort((a, b) => a - b);
  return { min: all[0] as number, median: all[Math.floor(all.length / 2)] as number };
}

const round = (v: number, digits: number) => Number(v.toFixed(digits));

async function benchAction(file: string, flags: BenchFlags): Promise<void> {
  enableRelaxedSimd();
  const native = flags.target === "native" ? await openNativeSession(file, flags) : null;
  const s = native ?? (await openSession(file, flags));
  const t = time(s, flags);
  const info = s.model.info();
  const { flops } = s.manifest;
  const result = {
    model: path.basename(file),
    target: info.target,
    threads: info.threads,
    runs: flags.runs,
    min_ms: round(t.min, 4),
    median_ms: round(t.median, 4),
    gflops: flops === null ? null : round(flops / t.median / 1e6, 2),
    compile_ms: round(s.compileMs, 1),
    load_ms: round(s.loadMs, 1),
    arena_bytes: info.arena_bytes,
    code_bytes: s.codeBytes,
    weight_bytes: info.weight_bytes,
    ...codeInfo(s.model),
  };
  const kernels = flags.perKernel ? await (native === null ? profile(file, flags, t) : profileNative(file, flags, t)) : null;
  if (flags.json) {
    process.stdout.write(
      `${JSON.stringify(kernels === null ? result : { ...result, peak_gflops: round(kernels.peak, 1), profiling_overhead: round(kernels.overhead, 4), kernels: kernels.rows })}\n`,
    );
    return;
  }
  const lines = [
    `${result.model}: median ${result.median_ms} ms, best ${result.min_ms} ms of ${flags.runs} runs${result.gflops === null ? "" : `, ${result.gflops} GFLOP/s`}`,
    `${result.target}, ${info.threads} thread${info.threads === 1 ? "" : "s"}, ${codeText(s.model)}`,
    `compile ${result.compile_ms} ms, load ${result.load_ms} ms, code ${result.code_bytes} B, weights ${result.weight_bytes} B, arena ${result.arena_bytes} B`,
  ];
  if (kernels !== null)
    lines.push(
      "",
      kernelTable(kernels),
      "",
      `The profiling build takes ${(kernels.overhead * 100).toFixed(1)}% longer than the normal one. The peak is ${kernels.peak.toFixed(1)} GFLOP/s, measured${info.threads === 1 ? "" : ` on one thread, times ${info.threads}`}.`,
    );
  process.stdout.write(`${lines.join("\n")}\n`);
}

/** What is to be known of the code beside its size: of native code its level and compiler. */
function codeInfo(m: Session["model"]): { readonly relaxed_simd: boolean } | { readonly level: string; readonly compiler: string } {
  if (!(m instanceof NativeModel)) return { relaxed_simd: m.info().relaxed_simd };
  const { level, compiler } = m.info();
  return { level, compiler };
}
function codeText(m: Session["model"]): string {
  const info = codeInfo(m);
  return "level" in info ? `level ${info.level}, ${info.compiler}` : simdText(info.relaxed_simd);
}

interface Profile {
  readonly rows: readonly KernelTime[];
  readonly peak: number;
  readonly overhead: number;
}

/** Runs the profiling build: the time of each launch is the mean over all runs. */
async function profile(file: string, flags: BenchFlags, normal: Times): Promise<Profile> {
  const clock = new LaunchClock();
  const s = await openSession(file, flags, clock.tick);
  const inputs = gatherInputs(s.manifest, { random: 1, ...flags }, s.sizes);
  const t = time(s, flags);
  clock.reset();
  for (let i = 0; i < flags.runs; i++) {
    clock.begin();
    s.model.runNow(inputs, { views: true });
  }
  const { built, loaded } = s;
  const { relaxed_simd, threads } = s.model.info();
  const rows = kernelRows(built?.compiled.program.main ?? [], loaded, clock);
  return { rows, peak: threads * (await measurePeak(relaxed_simd)), overhead: t.median / normal.median - 1 };
}

/** The same for native code, which takes the times itself. */
async function profileNative(file: string, flags: BenchFlags, normal: Times): Promise<Profile> {
  const clock = new LaunchClock();
  const { model, main, loaded, tools, ...s } = await openNativeSession(file, flags, true);
  const inputs = gatherInputs(s.manifest, { random: 1, ...flags }, s.sizes);
  const t = time({ ...s, model }, flags);
  const launches = launchesOf(main ?? []).length;
  for (let i = 0; i < flags.runs; i++) {
    model.runNow(inputs, { views: true });
    clock.add(model.launchTimes(launches));
  }
  const { level, threads } = model.info();
  const rows = kernelRows(main ?? [], loaded, clock);
  return { rows, peak: threads * (await measureNativePeak(tools, level)), overhead: t.median / normal.median - 1 };
}

function kernelRows(main: readonly Stmt[], loaded: Loaded | null, clock: LaunchClock): KernelTime[] {
  const times = kernelTimes(main, loaded?.source.kind === "graph" ? loaded.source.graph : null, clock);
  return times.map((k) => ({ ...k, ms: round(k.ms, 4), gflops: k.gflops === null ? null : round(k.gflops, 2) }));
}

function kernelTable(p: Profile): string {
  const total = p.rows.reduce((n, r) => n + r.ms, 0);
  const cells = p.rows.map((r) => {
    const origins = r.origins.length > 2 ? `${r.origins.slice(0, 2).join(" + ")} + ${r.origins.length - 2} more` : r.origins.join(" + ");
    return [
      r.kernel,
      origins === "" ? "–" : origins,
      r.ms.toFixed(4),
      ((r.ms / total) * 100).toFixed(1),
      r.gflops === null ? "–" : r.gflops.toFixed(1),
      r.gflops === null ? "–" : `${((r.gflops / p.peak) * 100).toFixed(0)}%`,
    ];
  });
  return table(["kernel", "origin", "ms", "% of time", "GFLOP/s", "of peak"], cells);
}
