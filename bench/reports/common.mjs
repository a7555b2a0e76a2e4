// What the tables of all targets share.
import { familyOf } from "../models.mjs";
import { geometricMean } from "../statistics.mjs";
import { ms, percent, times } from "../table.mjs";

/** What is to be said of a row beside its numbers. */
export function remarks(r, threads) {
  const awake = (r.awake ?? []).map((e) => `${e} did not sleep`);
  const fewer = r.threads === threads ? [] : [`tilewright: ${r.threads} thread${r.threads === 1 ? "" : "s"}`];
  return [...r.wrong.map((e) => `WRONG: ${e}`), ...(r.settled ? [] : ["not settled"]), ...awake, ...fewer].join(", ");
}

/** Geometric means of the rows' ratios: over all, and over each family. */
export function meansOf(rows, ratioOf) {
  const lines = [["all", rows], ...["CNN", "transformer"].map((f) => [`${f}s`, rows.filter((r) => familyOf(r.name) === f)])];
  const text = lines
    .filter(([, list], i) => list.length > 0 && (i === 0 || list.length < rows.length))
    .map(([name, list]) => `${times(geometricMean(list.map(ratioOf)))} over ${name === "all" ? `all ${list.length}` : `${list.length} ${name}`}`);
  const slowest = rows.reduce((a, b) => (ratioOf(a) <= ratioOf(b) ? a : b));
  return `\n  Geometric mean of the ratios: ${text.join(", ")}; lowest: ${slowest.name}, ${times(ratioOf(slowest))}.`;
}

/** Why some did not run, once for each reason. */
export function absentLines(rows) {
  const reasons = new Map(rows.flatMap((r) => Object.entries(r.absent)));
  return [...reasons].map(([peer, reason]) => `  ${peer} did not run: ${reason}`);
}

/** Kernels with less than this share of the time are summed up in one line. */
const smallShare = 0.01;

/** Rows of a table of kernels: name, origin, time, share of it, and what `columns` say of each. */
export function kernelRows(kernels, columns) {
  const total = kernels.reduce((n, k) => n + k.ms, 0);
  const shown = kernels.filter((k) => k.ms >= total * smallShare);
  const rest = kernels.filter((k) => !shown.includes(k));
  const cells = (k) => [k.kernel, origins(k.origins), ms(k.ms), percent(k.ms / total), ...columns.map((c) => c(k))];
  const restMs = rest.reduce((n, k) => n + k.ms, 0);
  const others = [`${rest.length} others`, "", ms(restMs), percent(restMs / total), ...columns.map(() => "–")];
  return [...shown.map(cells), ...(rest.length === 0 ? [] : [others])];
}

function origins(names) {
  const text = names.length > 2 ? `${names.slice(0, 2).join(" + ")} + ${names.length - 2} more` : names.join(" + ");
  return text === "" ? "–" : text.length > 60 ? `${text.slice(0, 59)}…` : text;
}
