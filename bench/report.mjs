// What is printed after each section: a table, and what follows from it.
import { familyOf } from "./models.mjs";
import { absentLines, kernelRows, meansOf, remarks } from "./reports/common.mjs";
import { nativeReports, nativeSummary } from "./reports/native.mjs";
import { geometricMean } from "./statistics.mjs";
import { difference, gflops, kilobytes, megabytes, ms, percent, range, table, times } from "./table.mjs";

const ort = "onnxruntime-web";

/** The text of a part, from what it measured. */
export function reportOf(part) {
  return part.rows.length === 0 ? "  nothing was measured" : reports[part.target][part.section](part);
}
const wasmReports = {
  models: (p) => [speedTable(p), means(p.rows), ...footnotes(p)].join("\n"),
  matmul: (p) => [speedTable(p), ...footnotes(p)].join("\n"),
  layers: (p) => [`  ${p.network}`, speedTable(p), networkSum(p), ...footnotes(p)].join("\n"),
  kernels: (p) => p.rows.map(kernelTable).join("\n\n"),
  memory: (p) => memoryTable(p.rows),
  start: (p) => startTable(p.rows),
  compile: (p) => compileTable(p.rows),
  symbols: (p) => symbolsTable(p.rows),
};

const reports = { wasm: wasmReports, native: nativeReports };

/** What a part's numbers come to, for its JSON: geometric means of the ratios to onnxruntime-web, or to the better of two. */
export function summaryOf(part) {
  if (part.target === "native") return nativeSummary(part);
  const ratios = (rows) => rows.map((r) => r.ratios?.[ort]?.median).filter((r) => r !== undefined);
  if (part.section === "models") {
    const family = (f) => geometricMean(ratios(part.rows.filter((r) => familyOf(r.name) === f)));
    return { geometric_mean: geometricMean(ratios(part.rows)), CNN: family("CNN"), transformer: family("transformer") };
  }
  if (part.section === "start") return { geometric_mean: geometricMean(part.rows.map((r) => r.ratios.session)) };
  return part.workloads === undefined ? {} : { geometric_mean: geometricMean(ratios(part.rows)) };
}

function speedTable({ rows, threads, peers = [], workloads }) {
  const counts = workloads.some((w) => w.layer !== undefined);
  const layer = new Map(workloads.map((w) => [w.label, w.layer]));
  const head = [
    ...["", ...(counts ? ["times"] : []), "tilewright ms", "min", "ort-web ms", "min", "ratio", "10–90 %"],
    ...peers.flatMap((p) => [`${p} ms`, "ratio"]),
    ...["GFLOP/s", "of ceiling", ...(threads > 1 ? ["cores", "ort-web's"] : []), "difference", ""],
  ];
  const cells = (r) => {
    const pair = (engine) => [ms(r.times[engine].median_ms), ms(r.times[engine].min_ms)];
    const ratio = r.ratios[ort];
    return [
      ...[r.name, ...(counts ? [`${layer.get(r.name).count}`] : []), ...pair("tilewright"), ...pair(ort), times(ratio.median), range(ratio)],
      ...peers.flatMap((p) => (r.times[p] === undefined ? ["–", "–"] : [ms(r.times[p].median_ms), times(r.ratios[p].median)])),
      ...[gflops(r.gflops), percent(r.share), ...(threads > 1 ? [r.cores.tilewright.toFixed(2), r.cores[ort].toFixed(2)] : [])],
      ...[difference(r.difference[ort]), remarks(r, threads)],
    ];
  };
  return table(head, rows.map(cells));
}

const means = (rows) => meansOf(rows, (r) => r.ratios[ort].median);

/** All convolutions of the network, each as often as it occurs. */
function networkSum({ rows, workloads, network }) {
  const count = new Map(workloads.map((w) => [w.label, w.layer.count]));
  const sum = (engine) => rows.reduce((n, r) => n + r.times[engine].median_ms * count.get(r.name), 0);
  return `\n  The convolutions of ${network}, each as often as it occurs: ${ms(sum("tilewright"))} ms, onnxruntime-web's ${ms(sum(ort))} ms (${times(sum(ort) / sum("tilewright"))}).`;
}

function footnotes({ rows, threads, relaxed_simd }) {
  const out = [];
  const ceiling = Math.max(0, ...rows.map((r) => r.ceiling_gflops));
  const kind = relaxed_simd ? "relaxed multiply-add" : "multiply-then-add";
  if (ceiling > 0)
    out.push(
      `  The ${kind} ceiling here: up to ${ceiling.toFixed(1)} GFLOP/s on a thread${threads > 1 ? "; shares are of that times the threads" : ""}.`,
    );
  out.push(...absentLines(rows));
  return out;
}

function kernelTable(p) {
  const columns = [(k) => gflops(k.gflops), (k) => percent(k.share)];
  return [
    `  ${p.name}: ${ms(p.times.tilewright.median_ms)} ms, the profiling build ${ms(p.times.profiling.median_ms)} ms; ceiling ${p.ceiling_gflops.toFixed(1)} GFLOP/s`,
    table(["kernel", "origin", "ms", "of time", "GFLOP/s", "of ceiling"], kernelRows(p.kernels, columns), (i) => i < 2),
  ].join("\n");
}

function memoryTable(rows) {
  const head = ["MB", "weights", "arena", "wasm memory", "peak", "ort-web: wasm memory", "peak", "ratio"];
  const cells = ({ name, tilewright: a, [ort]: b }) => [
    ...[name, megabytes(a.weight_bytes), megabytes(a.arena_bytes), megabytes(a.wasm_bytes), megabytes(a.above_empty_bytes)],
    ...[megabytes(b.wasm_bytes), megabytes(b.above_empty_bytes), times(b.above_empty_bytes / a.above_empty_bytes)],
  ];
  const empty = megabytes(rows[0].empty_bytes);
  return `${table(head, rows.map(cells))}\n\n  Peaks are of resident memory, loading and three runs, less that of an empty process (${empty} MB).`;
}

/** What is asked for: so many times as quick as creating a session, by the weights' size. */
const asked = (weightBytes) => (weightBytes < 20e6 ? 8 : 2);

function startTable(rows) {
  const head = [
    "ms",
    "weights MB",
    "start",
    "first result",
    "one run",
    "ort-web: session",
    "first result",
    "one run",
    "ratio",
    "asked",
    "to first result",
  ];
  const cells = ({ name, weight_bytes, tilewright: a, [ort]: b, ratios }) => [
    ...[name, megabytes(weight_bytes), ms(a.start_ms), ms(a.first_ms), ms(a.run_ms), ms(b.ready_ms), ms(b.first_ms), ms(b.run_ms)],
    ...[times(ratios.session), `${asked(weight_bytes)}×`, times(ratios.first_result)],
  ];
  return [
    table(head, rows.map(cells)),
    "",
    "  start: from the artifact's files to the first result, less one run. ratio: creating a session by that.",
    "  to first result: the session, the first run, less one run, by that.",
  ].join("\n");
}

/** Seconds of CPU and bytes of a module that are asked for. */
const cpuLimits = { resnet50: 2.5, densenet121: 4 };
const codeLimits = { CNN: 200e3, transformer: 80e3 };

function symbolsTable(rows) {
  const ms = (n) => n.toFixed(2);
  const parts = rows.map((r) => {
    if (r.kind === "symbolic")
      return table(
        ["minilm_dyn, tokens", "sizes late ms", "sizes known ms", "ratio of medians", "of the least", "asked"],
        r.rows.map((x) => [String(x.tokens), ms(x.dynamic_ms), ms(x.fixed_ms), ms(x.dynamic_ms / x.fixed_ms), ms(x.least_ratio), "1.10"]),
      );
    const [first] = r.steps;
    const steps = table(
      ["gpt_kv, tokens before", "ms", "more than the first"],
      r.steps.map((s) => [String(s.past), ms(s.ms), ms(s.ms - first.ms)]),
    );
    return `${steps}\n\n  Least times. Reading the last past of ${(r.past_bytes / 1e6).toFixed(1)} MB once took ${ms(r.read_ms)} ms. It stays inside.`;
  });
  return parts.join("\n\n");
}

function compileTable(rows) {
  const seconds = (n) => (n / 1e3).toFixed(2);
  const head = ["", "CPU s", "asked", "compiling", "weights", "largest module kB", "asked"];
  const cells = (r) => {
    const limit = codeLimits[familyOf(r.name)];
    const code = Math.max(...r.modules.map((m) => m.code_bytes));
    return [
      ...[r.name, seconds(r.cpu_ms), cpuLimits[r.name]?.toFixed(1) ?? "–", seconds(r.compile_cpu_ms), seconds(r.weights_cpu_ms)],
      ...[kilobytes(code), limit === undefined ? "–" : kilobytes(limit)],
    ];
  };
  const text = table(head, rows.map(cells));
  return `${text}\n\n  CPU time of a fresh process, its own start included, all its threads; reading the model's files is left out, and nothing is written.`;
}
