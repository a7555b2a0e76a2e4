// What is printed after each section of target `native`.
import { besideModels, familyOf, windowModels } from "../models.mjs";
import { geometricMean } from "../statistics.mjs";
import { difference, gflops, kilobytes, megabytes, ms, percent, range, table, times } from "../table.mjs";
import { absentLines, kernelRows, meansOf, remarks } from "./common.mjs";

/** By section. */
export const nativeReports = {
  models: (p) => [speedTable(p), ...modelMeans(p.rows), ...footnotes(p)].join("\n"),
  matmul: (p) => [speedTable(p), ...footnotes(p)].join("\n"),
  layers: (p) => [`  ${p.network}`, speedTable(p), ...footnotes(p)].join("\n"),
  kernels: (p) => p.rows.map(kernelTable).join("\n\n"),
  start: (p) => startTable(p.rows),
  compile: (p) => compileTable(p.rows),
};

/** Those that can be compared, with the ratio to the better one. */
const compared = (rows) => rows.filter((r) => r.against !== null && !r.wrong.includes("tilewright"));
const ratioOf = (r) => r.ratios[r.against].median;
const meanOf = (rows) => geometricMean(compared(rows).map(ratioOf));

/** What a part's numbers come to, for its JSON: geometric means of the ratios to the better one. */
export function nativeSummary({ section, rows }) {
  if (section === "start")
    return { init: geometricMean(rows.map((r) => r.ratios.init)), first_result: geometricMean(rows.map((r) => r.ratios.first_result)) };
  if (section === "models") {
    const counted = rows.filter((r) => !besideModels.includes(r.name));
    const family = (f) => meanOf(counted.filter((r) => familyOf(r.name) === f));
    return {
      geometric_mean: meanOf(counted),
      CNN: family("CNN"),
      transformer: family("transformer"),
      windows: meanOf(rows.filter((r) => windowModels.includes(r.name))),
    };
  }
  return rows[0]?.against === undefined ? {} : { geometric_mean: meanOf(rows) };
}

const short = { tilewright: "tilewright", "onnxruntime-node": "ORT", openvino: "OpenVINO" };

function speedTable({ rows, threads, workloads }) {
  const peers = Object.keys(short).filter((p) => p !== "tilewright" && rows.some((r) => r.times[p] !== undefined));
  const engines = ["tilewright", ...peers];
  const count = new Map(workloads.map((w) => [w.label, w.layer?.count]));
  const counts = workloads.some((w) => w.layer !== undefined);
  const head = [
    ...["", ...(counts ? ["times"] : []), ...engines.flatMap((e) => [`${short[e]} ms`, "min"])],
    ...["better", "ratio", "10–90 %", "GFLOP/s", "of peak", ...(threads > 1 ? engines.map((e) => `${short[e]}'s cores`) : []), "difference", ""],
  ];
  const cells = (r) => {
    const pair = (engine) => (r.times[engine] === undefined ? ["–", "–"] : [ms(r.times[engine].median_ms), ms(r.times[engine].min_ms)]);
    const ratio = r.against === null ? null : r.ratios[r.against];
    return [
      ...[r.name, ...(counts ? [`${count.get(r.name)}`] : []), ...engines.flatMap(pair)],
      ...(ratio === null ? ["–", "–", "–"] : [short[r.against], times(ratio.median), range(ratio)]),
      ...[gflops(r.gflops), percent(r.share), ...(threads > 1 ? engines.map((e) => r.cores[e]?.toFixed(2) ?? "–") : [])],
      ...[difference(Math.max(0, ...Object.values(r.difference))), [disturbance(r, threads), remarks(r, threads)].filter(Boolean).join(", ")],
    ];
  };
  return table(head, rows.map(cells));
}

/** Less than this of a core on one thread: the machine had other things to do. */
const wholeCore = 0.9;
const disturbance = (r, threads) => (threads === 1 && Object.values(r.cores).some((c) => c < wholeCore) ? "disturbed" : "");

/** Means over the models that count, over those rich in windows of 3×3, and to each of the others alone. */
function modelMeans(all) {
  const rows = compared(all);
  const counted = rows.filter((r) => !besideModels.includes(r.name));
  const out = [];
  if (counted.length > 0) out.push(meansOf(counted, ratioOf));
  const windows = rows.filter((r) => windowModels.includes(r.name));
  if (windows.length > 0)
    out.push(`  Rich in 3×3 convolutions (${windows.map((r) => r.name).join(", ")}): ${times(geometricMean(windows.map(ratioOf)))}.`);
  const peers = [...new Set(counted.flatMap((r) => Object.keys(r.ratios)))];
  if (peers.length > 1) {
    const alone = (p) => geometricMean(counted.flatMap((r) => r.ratios[p]?.median ?? []));
    out.push(`  A ratio is to the better one of each model; ${peers.map((p) => `to ${short[p]} alone ${times(alone(p))}`).join(", ")}.`);
  }
  const beside = rows.filter((r) => besideModels.includes(r.name) && counted.length > 0);
  if (beside.length > 0) out.push(`  Not in the first mean: ${beside.map((r) => r.name).join(", ")}.`);
  return out;
}

function footnotes({ rows, threads }) {
  const ceiling = Math.max(0, ...rows.map((r) => r.ceiling_gflops));
  const levels = [...new Set(rows.map((r) => r.level))].join(", ");
  const lines = [
    `  The peak of multiply-adds at level ${levels}: up to ${ceiling.toFixed(1)} GFLOP/s on a thread${threads > 1 ? "; shares are of that times the threads" : ""}.`,
  ];
  return [...lines, ...absentLines(rows)];
}

function kernelTable(p) {
  const columns = [(k) => gflops(k.gflops), (k) => percent(k.share), (k) => gflops(k.gbs), (k) => percent(k.bandwidth_share)];
  const head = ["kernel", "origin", "ms", "of time", "GFLOP/s", "of peak", "GB/s", "of bandwidth"];
  return [
    `  ${p.name}: ${ms(p.times.tilewright.median_ms)} ms, the profiling build ${ms(p.times.profiling.median_ms)} ms; level ${p.level}, threads: ${p.threads}; peak ${p.ceiling_gflops.toFixed(1)} GFLOP/s, memory ${p.bandwidth_gbs.toFixed(1)} GB/s`,
    table(head, kernelRows(p.kernels.map(marked), columns), (i) => i < 2),
  ].join("\n");
}

/** An algorithm that is not the usual one stands beside the kernel's name. */
const marked = (k) => (k.algorithm === "direct" ? k : { ...k, kernel: `${k.kernel}, ${k.algorithm}` });

function startTable(rows) {
  const head = [
    "ms",
    "weights MB",
    "init",
    "first result",
    "one run",
    "ORT: session",
    "first result",
    "one run",
    "init",
    "asked",
    "first result",
    "asked",
  ];
  const cells = ({ name, weight_bytes, tilewright: a, "onnxruntime-node": b, ratios }) => [
    ...[name, megabytes(weight_bytes), ms(a.ready_ms), ms(a.first_ms), ms(a.run_ms), ms(b.ready_ms), ms(b.first_ms), ms(b.run_ms)],
    ...[times(ratios.init), "10×", times(ratios.first_result), "2.5×"],
  ];
  return [
    table(head, rows.map(cells)),
    "",
    "  Each in fresh processes of Node, files in the system's cache; packages are loaded before. tilewright's shared library lies in the artifact, built:",
    "  init reads the manifest, loads the library, maps the weights. At the right: how many times as quick as the session,\n  and as the session and its first run.",
  ].join("\n");
}

/** What is asked for of squeezenet1_1. */
const asked = { cBytes: 500e3, ccMs: 20e3 };

function compileTable(rows) {
  const seconds = (n) => (n === null ? "–" : (n / 1e3).toFixed(1));
  const head = ["", "levels", "kernels", "C kB", "C compiler s", "its CPU s", "library kB", "tilewright CPU s"];
  const cells = (r) =>
    r.variants.map((v, i) => [
      ...[i === 0 ? r.name : "", v.levels.length > 1 ? `all ${v.levels.length}` : `${v.levels}`, `${v.kernels}`, kilobytes(v.c_bytes)],
      ...[seconds(v.cc_wall_ms), seconds(v.cc_cpu_ms), kilobytes(v.library_bytes), seconds(v.compile_cpu_ms)],
    ]);
  return [
    table(head, rows.flatMap(cells), (i) => i < 2),
    "",
    `  ${rows[0].compiler}, ${rows[0].flags.join(" ")}. Asked for of squeezenet1_1: less than ${kilobytes(asked.cBytes)} kB, ${seconds(asked.ccMs)} s.`,
  ].join("\n");
}
