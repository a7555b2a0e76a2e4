// Two files of results side by side: before and after a commit, or two engines.
import { geometricMean } from "./statistics.mjs";
import { ms, table, times } from "./table.mjs";

/** The engine that a row's ratio is to: of target `native` the better one. */
const peerOf = (row) => row.against ?? "onnxruntime-web";

/** What must be the same for two parts to be about the same: not the engine, which may be what is compared. */
const keyOf = (p) => [p.target ?? "wasm", p.section, p.network ?? "", p.threads, p.relaxed].join(" ");
const nameOf = (p) =>
  `${p.target === "native" ? "native " : ""}${p.section}${p.network === undefined ? "" : ` of ${p.network}`}, ${p.threads} thread${p.threads === 1 ? "" : "s"}${p.relaxed ? "" : ", without relaxed SIMD"}`;

/**
 * Pairs the timed rows of two results: a list of `{ title, rows: [{ name, before, after, faster, ratios }], … }`, times in
 * milliseconds. `faster` says how many times as fast the second is by the clock, `relative` the same by the ratios to
 * the other engine, in which the machine's moods cancel out; null where a side has none.
 */
export function compareResults(a, b) {
  const out = [];
  for (const [second, first] of matchParts(a.parts, b.parts)) {
    const before = new Map(first.rows.map((r) => [r.name, r]));
    const rows = second.rows.filter((r) => r.times !== undefined && before.has(r.name)).map((r) => compareRows(before.get(r.name), r));
    if (rows.length === 0) continue;
    const relative = rows.map((r) => r.relative).filter((r) => r !== null);
    const engines = first.node === second.node ? `Node ${first.node}` : `Node ${first.node} and ${second.node}`;
    const means = { faster: geometricMean(rows.map((r) => r.faster)), relative: geometricMean(relative) };
    out.push({ title: `${nameOf(second)}, ${engines}`, rows, ...means });
  }
  return out;
}

/** Parts of the second with those of the first they belong to: of the same Node if there is one, else of the only one. */
function matchParts(first, second) {
  const pairs = second.map((p) => {
    const same = first.filter((q) => keyOf(q) === keyOf(p));
    return [p, same.find((q) => q.node === p.node) ?? (same.length === 1 ? same[0] : undefined)];
  });
  return pairs.filter(([, q]) => q !== undefined);
}

function compareRows(a, b) {
  const [before, after] = [a.times.tilewright.median_ms, b.times.tilewright.median_ms];
  const [was, is] = [a, b].map((r) => r.ratios?.[peerOf(r)]?.median ?? null);
  return { name: b.name, before, after, faster: before / after, was, is, relative: was === null || is === null ? null : is / was };
}

/** The text of what `compareResults` gives. */
export function comparisonText(parts) {
  const cell = (ratio) => (ratio === null ? "–" : times(ratio));
  const head = ["", "before ms", "after ms", "faster", "ratio before", "after", "change"];
  const line = (r) => [r.name, ms(r.before), ms(r.after), cell(r.faster), cell(r.was), cell(r.is), cell(r.relative)];
  const one = ({ title, rows, faster, relative }) =>
    `  ${title}\n${table(head, rows.map(line))}\n\n  Geometric means: ${times(faster)} by the clock${relative === null ? "" : `, ${times(relative)} by the ratios to ${title.startsWith("native") ? "the better of the others" : "onnxruntime-web"}`}.`;
  return parts.map(one).join("\n\n");
}
