/** Floats may differ by the order in which sums are taken: by that of a number of 1, relative above it. */
const tolerance = 1e-5;

/** Where two values differ; null where they do not. */
export function difference(a, b, at = "") {
  if (typeof a === "number" && typeof b === "number")
    return a === b || Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b)) ? null : `${at}: ${a}, expected ${b}`;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null)
    return a === b ? null : `${at}: ${JSON.stringify(a)}, expected ${JSON.stringify(b)}`;
  for (const k of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const d = k in a && k in b ? difference(a[k], b[k], `${at}.${k}`) : `${at}.${k}: ${k in b ? "is missing" : "was not expected"}`;
    if (d !== null) return d;
  }
  return null;
}
