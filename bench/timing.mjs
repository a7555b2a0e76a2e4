// Two engines timed in turns, so that whatever else the machine does hits both alike.

const now = () => performance.now();

export function quantile(sorted, q) {
  const at = (sorted.length - 1) * q;
  const low = Math.floor(at);
  return sorted[low] + (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]) * (at - low);
}
export const ascending = (values) => [...values].sort((a, b) => a - b);
export const median = (values) => quantile(ascending(values), 0.5);
export const geometricMean = (values) => Math.exp(values.reduce((s, v) => s + Math.log(v), 0) / values.length);

/** Milliseconds of one run, as the mean of `repeats`. */
async function timeOnce(engine, repeats) {
  const start = now();
  for (let i = 0; i < repeats; i++) await engine.run();
  return (now() - start) / repeats;
}

/** Timed stretches of the warm-up, and the rounds' runs, last at least this long: clocks are coarse, and ticks short. */
const stretchMs = 20;
/** Warm-up: engines compile functions anew in the background once they have run often. It is over when times fall no more. */
const settling = { leastMs: 1500, mostMs: 20_000, better: 0.98, stretches: 10 };

/**
 * Runs both in turns until neither has become faster (by 2 %) for a while: ten timed stretches and a second and a half at
 * least. Gives, for each, how many runs a timed stretch takes, and whether that came to pass within 20 s.
 */
export async function warmUp(engines) {
  const best = engines.map(() => Number.POSITIVE_INFINITY);
  const repeats = [];
  for (const e of engines) repeats.push(Math.max(1, Math.ceil(stretchMs / (await timeOnce(e, 1)))));
  const begun = now();
  let [calm, calmSince] = [0, begun];
  for (;;) {
    calm++;
    for (const [i, e] of engines.entries()) {
      const ms = await timeOnce(e, repeats[i]);
      if (ms < best[i] * settling.better) [calm, calmSince] = [0, now()];
      best[i] = Math.min(best[i], ms);
      repeats[i] = Math.max(1, Math.ceil(stretchMs / best[i]));
    }
    // Compiled code is put in place between turns of the event loop.
    await new Promise((resolve) => setTimeout(resolve, 1));
    if (calm >= settling.stretches && now() - calmSince >= settling.leastMs) return { repeats, settled: true };
    if (now() - begun >= settling.mostMs) return { repeats, settled: false };
  }
}

/** Times both in each round, the order changing from round to round. Gives each engine's times, by round. */
export async function timeRounds(engines, repeats, rounds) {
  const times = engines.map(() => []);
  const order = engines.map((_, i) => i);
  for (let r = 0; r < rounds; r++) {
    for (const i of r % 2 === 0 ? order : [...order].reverse()) times[i].push(await timeOnce(engines[i], repeats[i]));
  }
  return times;
}

/** What the times say: each engine's median and minimum, and how many times as fast the first is, round by round. */
export function summarise([first, second]) {
  const ratios = ascending(first.map((t, r) => second[r] / t));
  const times = (t) => ({ median_ms: median(t), min_ms: Math.min(...t) });
  return {
    first: times(first),
    second: times(second),
    ratio: { median: quantile(ratios, 0.5), p10: quantile(ratios, 0.1), p90: quantile(ratios, 0.9) },
  };
}
