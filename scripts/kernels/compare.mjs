// Which generated kernels differ between two snapshots of a model (see snapshot.mjs), and a report of it.

/**
 * Pairs the kernels of two snapshots and tells what became of each: `{ same, renamed, changed, appeared, vanished }`, lists
 * of `{ before, after }` (null where there is none). Equal code is paired first, whatever its name; of the rest, kernels of
 * one name; then kernels that serve the same nodes of the model.
 */
export function compareSnapshots(before, after) {
  const left = new Set(before.kernels);
  const right = new Set(after.kernels);
  const pairs = { same: [], renamed: [], changed: [], appeared: [], vanished: [] };
  const pairBy = (key, into) => {
    const waiting = new Map();
    for (const k of left) {
      const list = waiting.get(key(k));
      if (list === undefined) waiting.set(key(k), [k]);
      else list.push(k);
    }
    for (const k of right) {
      const found = waiting.get(key(k))?.shift();
      if (found === undefined) continue;
      left.delete(found);
      right.delete(k);
      pairs[into].push({ before: found, after: k });
    }
  };
  pairBy((k) => `${k.role} ${k.name} ${k.hash}`, "same");
  pairBy((k) => `${k.role} ${k.hash}`, "renamed");
  pairBy((k) => `${k.role} ${k.name}`, "changed");
  // Without origins there is nothing to tell kernels of different names by.
  pairBy((k) => (k.origins.length === 0 ? k : `${k.role} ${[...k.origins].sort().join("\n")}`), "changed");
  for (const k of left) pairs.vanished.push({ before: k, after: null });
  for (const k of right) pairs.appeared.push({ before: null, after: k });
  return pairs;
}

/** Is there anything that a user of the artifact would get differently? */
export function differs(pairs) {
  return pairs.changed.length + pairs.appeared.length + pairs.vanished.length > 0;
}

const sizeText = (b) => (b === null || b === undefined ? "–" : String(b));
function change(before, after) {
  if (typeof before !== "number" || typeof after !== "number" || before === after) return "";
  const percent = before === 0 ? "" : ` (${after > before ? "+" : ""}${(((after - before) / before) * 100).toFixed(1)} %)`;
  return `${after > before ? "+" : ""}${after - before}${percent}`;
}

/** The report of one model as lines of text; of a model without differences one line. */
export function reportOf(name, before, after, pairs) {
  const modules = [...new Set([...Object.keys(before.modules), ...Object.keys(after.modules)])].map((file) => {
    const [b, a] = [before.modules[file], after.modules[file]];
    return b === a ? `${file} ${sizeText(b)}` : `${file} ${sizeText(b)} → ${sizeText(a)} ${change(b, a)}`.trimEnd();
  });
  const counts = ["changed", "appeared", "vanished"].flatMap((what) => (pairs[what].length === 0 ? [] : [`${pairs[what].length} ${what}`]));
  const equal = pairs.same.length + pairs.renamed.length;
  const lines = [
    `${name}: ${counts.length === 0 ? `all ${equal} kernels the same` : `${counts.join(", ")}, ${equal} the same`}; bytes: ${modules.join(", ")}`,
  ];
  const line = (mark, { before: b, after: a }) => {
    const names = b !== null && a !== null && b.name !== a.name ? `${b.name} → ${a.name}` : (a ?? b).name;
    const bytes =
      b === null
        ? sizeText(a.bytes)
        : a === null
          ? sizeText(b.bytes)
          : b.bytes === a.bytes
            ? sizeText(a.bytes)
            : `${sizeText(b.bytes)} → ${sizeText(a.bytes)}`;
    const delta = b !== null && a !== null ? change(b.bytes, a.bytes) : "";
    const role = (a ?? b).role === "prepare" ? "  makes weights" : "";
    lines.push(`  ${mark} ${names}  ${bytes}${delta === "" ? "" : `  ${delta}`}${role}${originText(a ?? b)}`);
  };
  for (const p of pairs.changed) line("~", p);
  for (const p of pairs.appeared) line("+", p);
  for (const p of pairs.vanished) line("-", p);
  return lines;
}

/** The nodes a kernel serves; many are abridged. */
function originText({ origins }) {
  if (origins.length === 0) return "";
  const shown = origins.slice(0, 3).join(", ");
  return `  [${shown}${origins.length > 3 ? `, … ${origins.length - 3} more` : ""}]`;
}

/** A snapshot without the kernels' texts: enough to compare with, small enough to keep. */
export function withoutTexts(snapshot) {
  return { modules: snapshot.modules, kernels: snapshot.kernels.map(({ text: _, ...k }) => k) };
}
