import path from "node:path";
import type { Command } from "commander";
import { flopsByOrigin } from "../graph/flops.ts";
import type { Stmt } from "../loop/ir.ts";
import { type InputFlags, gatherInputs } from "../node/inputs.ts";
import { measurePeak } from "../targets/wasm/peak.ts";
import { type ModelFlags, enableRelaxedSimd, parseCount, simdText, table } from "./common.ts";
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
  for (let i = 0; i < 3 || (i < 20 && performance.now() - begun < 1000); i++) once();
  const all = Array.from({ length: flags.runs }, once).sort((a, b) => a - b);
  return { min: all[0] as number, median: all[Math.floor(all.length / 2)] as number };
}

const round = (v: number, digits: number) => Number(v.toFixed(digits));

async function benchAction(file: string, flags: BenchFlags): Promise<void> {
  enableRelaxedSimd();
  const s = await openSession(file, flags);
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
    relaxed_simd: info.relaxed_simd,
  };
  const kernels = flags.perKernel ? await profile(file, flags, t) : null;
  if (flags.json) {
    process.stdout.write(
      `${JSON.stringify(kernels === null ? result : { ...result, peak_gflops: round(kernels.peak, 1), profiling_overhead: round(kernels.overhead, 4), kernels: kernels.rows })}\n`,
    );
    return;
  }
  const lines = [
    `${result.model}: median ${result.median_ms} ms, best ${result.min_ms} ms of ${flags.runs} runs${result.gflops === null ? "" : `, ${result.gflops} GFLOP/s`}`,
    `${result.target}, ${info.threads} thread, ${simdText(info.relaxed_simd)}`,
    `compile ${result.compile_ms} ms, load ${result.load_ms} ms, code ${result.code_bytes} B, weights ${result.weight_bytes} B, arena ${result.arena_bytes} B`,
  ];
  if (kernels !== null)
    lines.push(
      "",
      kernelTable(kernels),
      "",
      `The profiling build takes ${(kernels.overhead * 100).toFixed(1)}% longer than the normal one. The peak is ${kernels.peak.toFixed(1)} GFLOP/s, measured.`,
    );
  process.stdout.write(`${lines.join("\n")}\n`);
}

interface KernelRow {
  readonly kernel: string;
  readonly origins: readonly string[];
  readonly ms: number;
  readonly gflops: number | null;
}
interface Profile {
  readonly rows: readonly KernelRow[];
  readonly peak: number;
  readonly overhead: number;
}

/** Runs the profiling build: the time of each launch is the mean over all runs. */
async function profile(file: string, flags: BenchFlags, normal: Times): Promise<Profile> {
  const spent: number[] = [];
  let last = 0;
  const s = await openSession(file, flags, (launch) => {
    const now = performance.now();
    spent[launch] = (spent[launch] ?? 0) + now - last;
    last = now;
  });
  const inputs = gatherInputs(s.manifest, { random: 1, ...flags }, s.sizes);
  const t = time(s, flags);
  spent.length = 0;
  for (let i = 0; i < flags.runs; i++) {
    last = performance.now();
    s.model.runNow(inputs, { views: true });
  }
  const { built, loaded } = s;
  const launches = launchesOf(built?.compiled.program.main ?? []);
  const byOrigin = loaded?.source.kind === "graph" ? flopsByOrigin(loaded.source.graph) : new Map<string, number>();
  const times = launches.map((_, i) => (spent[i] ?? 0) / flags.runs);
  // Where one node became several launches, its arithmetic is that of the longest.
  const owner = new Map<string, number>();
  launches.forEach((l, i) => {
    for (const o of l.origin) {
      const old = owner.get(o);
      if (old === undefined || (times[i] as number) > (times[old] as number)) owner.set(o, i);
    }
  });
  const flops = launches.map((l, i) => l.origin.reduce((n, o) => n + (owner.get(o) === i ? (byOrigin.get(o) ?? 0) : 0), 0));
  const rows = launches.map(
    (l, i): KernelRow => ({
      kernel: l.kernel.name,
      origins: l.origin,
      ms: round(times[i] as number, 4),
      gflops: flops[i] ? round((flops[i] as number) / (times[i] as number) / 1e6, 2) : null,
    }),
  );
  return { rows, peak: await measurePeak(s.model.info().relaxed_simd), overhead: t.median / normal.median - 1 };
}

/** The launches of main in the order of their numbers in a profiling build. */
function launchesOf(main: readonly Stmt[]): Extract<Stmt, { kind: "launch" }>[] {
  return main.flatMap((s) => {
    switch (s.kind) {
      case "launch":
        return [s];
      case "for":
        return launchesOf(s.body);
      case "if":
        return [...launchesOf(s.then), ...launchesOf(s.otherwise)];
      case "store":
      case "storeat":
      case "let":
      case "assign":
      case "alloc":
        return [];
      default:
        throw s satisfies never;
    }
  });
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
