// Are the results right, and how far are they apart?
import { allowedShare, compareSampled } from "./suite.mjs";

/** Do the outputs (by name, each `{ dims, data }`) agree with all expected values, within that share of their deviation? A wrong shape is wrong. */
export function isRight(model, outputs, share = allowedShare.usual) {
  return model.outputs.every((o) => {
    try {
      return compareSampled(o, outputs[o.name], share).ratio <= 1;
    } catch {
      return false;
    }
  });
}

/** The largest difference over all elements of all outputs, relative to each output's deviation; infinite where lengths or numbers are wrong. */
export function largestDifference(model, a, b) {
  return Math.max(...model.outputs.map((o) => difference(a[o.name].data, b[o.name].data) / (o.deviation || 1)));
}

function difference(a, b) {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(Number(a[i]) - Number(b[i]));
    if (!(d <= largest)) largest = Number.isNaN(d) ? Number.POSITIVE_INFINITY : d;
  }
  return largest;
}
