import { type LayoutResult, orderText } from "./layouts.ts";
import type { TaskResult, TuneResult } from "./tune.ts";
import { nameOf } from "./tune.ts";

/** Rows of the closing table, the most expensive kernel first. */
export const reportHead = ["kernel", "launches", "default ms", "tuned ms", "gain", "trials", "kept"] as const;

export function reportRows(r: TuneResult): string[][] {
  const weight = (t: TaskResult) => (Number.isNaN(t.defaultMs) ? 0 : t.defaultMs * t.task.launches);
  return [...r.tasks].sort((a, b) => weight(b) - weight(a)).map(rowOf);
}

function rowOf(t: TaskResult): string[] {
  const measured = !Number.isNaN(t.defaultMs);
  const ratio = t.verdict?.ratio ?? (t.kept ? t.ratio : 1);
  return [
    nameOf(t.task),
    String(t.task.launches),
    measured ? milliseconds(t.defaultMs) : "–",
    measured && ratio !== 1 ? milliseconds(t.defaultMs * ratio) : "–",
    ratio === 1 ? "–" : `${((1 / ratio - 1) * 100).toFixed(1)}%`,
    String(t.trials),
    keptText(t),
  ];
}

function keptText(t: TaskResult): string {
  if (t.kept) return "yes";
  if (t.verdict !== null) return `no: within the spread of ${(t.verdict.spread * 100).toFixed(1)}%`;
  if (t.over?.startsWith("no schedule is left") === true) return "no: the default is best of all";
  if (t.over !== null) return `no: ${t.over}`;
  return Number.isNaN(t.defaultMs) ? "not reached" : t.trials === 0 ? "not tried" : "no: nothing better found";
}

/** Rows of the table of orders of dims, the costliest groups first. */
export const layoutHead = ["tensors", "dims", "groups", "order", "ms before", "ms", "gain", "trials", "kept"] as const;

/** One row for each group that an order was measured for or is in the database for. */
export function layoutRows(r: TuneResult): string[][] {
  return r.layouts.filter((l) => l.trials > 0 || l.kept || l.over !== null).map(layoutRow);
}

function layoutRow(l: LayoutResult): string[] {
  const { verdict: v } = l;
  const times =
    v === null ? ["–", "–", "–"] : [milliseconds(v.defaultMs), milliseconds(v.defaultMs * v.ratio), `${((1 / v.ratio - 1) * 100).toFixed(1)}%`];
  return [l.name, l.dims, String(l.groups), orderText(l.order), ...times, String(l.trials), layoutText(l)];
}

function layoutText({ verdict: v, kept, over }: LayoutResult): string {
  const within = v === null || v.kept || v.ratio >= 1 ? null : `within the spread of ${(v.spread * 100).toFixed(1)}%`;
  if (kept) return within === null ? "yes" : `what was found before: this is ${within}`;
  return `no: ${over ?? within ?? "nothing better found"}`;
}

const milliseconds = (ms: number) => (ms < 0.1 ? ms.toPrecision(3) : ms.toFixed(3));

/** Milliseconds of all kernels in one run of the model, under the default layouts and schedules and with the database's. */
export function modelledTimes(r: TuneResult): { readonly defaultMs: number; readonly tunedMs: number } {
  // Tasks are the kernels under the database's layouts.
  let [defaultMs, tunedMs] = [r.savedMs, 0];
  for (const t of r.tasks) {
    if (Number.isNaN(t.defaultMs)) continue;
    const w = t.defaultMs * t.task.launches;
    // A part's time is in the time of the kernel that it belongs to.
    if (!t.task.isPart) defaultMs += w;
    tunedMs += t.task.isPart ? -w * (1 - t.ratio) : w * t.ratio;
  }
  return { defaultMs, tunedMs: Math.max(0, tunedMs) };
}

/** Best time against trials, as a picture of characters. */
export function curveText(curve: TuneResult["curve"], width = 64, height = 10): string {
  const last = curve.at(-1);
  if (last === undefined || last.trials === 0) return "";
  const low = Math.min(...curve.map((p) => p.time));
  const span = Math.max(1 - low, 0.01);
  const rows = Array.from({ length: height }, () => new Array<string>(width).fill(" "));
  for (let x = 0; x < width; x++) {
    const at = timeAt(curve, (x / (width - 1)) * last.trials);
    const y = Math.min(height - 1, Math.max(0, Math.round(((1 - at) / span) * (height - 1))));
    (rows[y] as string[])[x] = "•";
  }
  const label = (y: number) => `${((1 - (y / (height - 1)) * span) * 100).toFixed(1)}%`.padStart(7);
  const body = rows.map((r, y) => `${y === 0 || y === height - 1 ? label(y) : " ".repeat(7)} │${r.join("").trimEnd()}`);
  const end = `${last.trials} trials`;
  return [...body, `${" ".repeat(8)}└${"─".repeat(width)}`, `${" ".repeat(9)}0${end.padStart(width - 1)}`].join("\n");
}

/** The best time after that many trials. */
function timeAt(curve: TuneResult["curve"], trials: number): number {
  return curve.findLast((p) => p.trials <= trials)?.time ?? 1;
}

/** The same as an SVG picture. */
export function curveSvg(curve: TuneResult["curve"], title: string): string {
  const [w, h, left, bottom, top] = [640, 360, 64, 48, 40] as const;
  const most = Math.max(1, curve.at(-1)?.trials ?? 1);
  const low = Math.min(0.99, ...curve.map((p) => p.time));
  const x = (t: number) => (left + ((w - left - 24) * t) / most).toFixed(1);
  const y = (v: number) => (top + ((h - top - bottom) * (1 - v)) / (1 - low)).toFixed(1);
  const points = curve.flatMap((p, i) => [...(i === 0 ? [] : [`${x(p.trials)},${y(curve[i - 1]?.time ?? 1)}`]), `${x(p.trials)},${y(p.time)}`]);
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  const marks = ticks.map((t) => {
    const v = 1 - t * (1 - low);
    return `<line x1="${left}" x2="${w - 24}" y1="${y(v)}" y2="${y(v)}" stroke="#ddd"/><text x="${left - 8}" y="${y(v)}" text-anchor="end" dominant-baseline="middle">${(v * 100).toFixed(1)}%</text>`;
  });
  const counts = ticks.map((t) => `<text x="${x(t * most)}" y="${h - bottom + 20}" text-anchor="middle">${Math.round(t * most)}</text>`);
  const escaped = title.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${w} ${h}" font-family="sans-serif" font-size="12">`,
    `<rect width="${w}" height="${h}" fill="white"/>`,
    `<text x="${left}" y="24" font-size="14">${escaped}</text>`,
    ...marks,
    ...counts,
    `<text x="${(w + left) / 2}" y="${h - 8}" text-anchor="middle">trials</text>`,
    `<polyline fill="none" stroke="#06c" stroke-width="2" points="${points.join(" ")}"/>`,
    "</svg>\n",
  ].join("\n");
}
