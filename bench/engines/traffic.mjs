// Bytes that the launches of a program have to move at least.

/**
 * For each launch the bytes of what its nodes read and write, every tensor once; null where symbols decide. What stays between
 * nodes of one launch does not count. Where one node became several launches, the longest (by `times`) has its bytes.
 */
export function launchBytes(launches, times, graph) {
  const owner = ownersOf(launches, times);
  const producer = new Map();
  const readers = new Map();
  for (const op of graph.ops) {
    const at = owner.get(op.results[0]?.origin[0]) ?? null;
    for (const v of op.results) producer.set(v, at);
    for (const v of op.operands) readers.set(v, (readers.get(v) ?? new Set()).add(at));
  }
  const bytes = launches.map(() => 0);
  for (const [v, launch] of producer) {
    const others = [...(readers.get(v) ?? [])].filter((r) => r !== launch);
    if (launch !== null && (others.length > 0 || graph.results.includes(v))) bytes[launch] += sizeOf(v);
  }
  for (const [v, launchesThatRead] of readers)
    for (const launch of launchesThatRead) if (launch !== null && producer.get(v) !== launch) bytes[launch] += sizeOf(v);
  return bytes.map((n) => (Number.isFinite(n) && n > 0 ? n : null));
}

/** The launch that each node of the model counts for. */
function ownersOf(launches, times) {
  const owner = new Map();
  launches.forEach((l, i) => {
    for (const o of l.origin) if (!owner.has(o) || times[i] > times[owner.get(o)]) owner.set(o, i);
  });
  return owner;
}

/** NaN where symbols decide. */
const sizeOf = (v) => v.dims.reduce((n, d) => n * (typeof d === "number" ? d : Number.NaN), v.dtype.bits / 8);
