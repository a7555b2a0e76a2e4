// Engines timed in turns, so that whatever else the machine does hits all alike. An engine here is what has a `name` and
// `stretch(n)`: runs n times, and gives the mean milliseconds of one run. It may be in this process or in another one.
import { ratioOf, timesOf } from "./statistics.mjs";

const now = () => performance.now();

/** Milliseconds of one run, as the mean of `repeats`, of an engine in this process. */
export async function timeRuns(engine, repeats) {
  const start = now();
  for (let i = 0; i < repeats; i++) await engine.run();
  return (now() - start) / repeats;
}

/** Timed stretches of the warm-up, and the rounds' runs, last at least this long: clocks are coarse, and ticks short. */
const stretchMs = 20;
const repeatsFor = (ms) => Math.max(1, Math.ceil(stretchMs / ms));
/** Warm-up: engines compile functions anew in the background once they have run often. It is over when times fall no more. */
const settling = { leastMs: 1500, better: 0.98, stretches: 10 };

/**
 * Runs all in turns until none has become faster (by 2 %) for a while: ten timed stretches and a second and a half at
 * least. Gives, for each, how many runs a timed stretch takes, and whether that came to pass within `mostMs`.
 */
export async function warmUp(engines, mostMs) {
  const best = engines.map(() => Number.POSITIVE_INFINITY);
  const repeats = [];
  for (const e of engines) repeats.push(repeatsFor(await e.stretch(1)));
  const begun = now();
  let [calm, calmSince] = [0, begun];
  for (;;) {
    calm++;
    for (const [i, e] of engines.entries()) {
      const ms = await e.stretch(repeats[i]);
      if (ms < best[i] * settling.better) [calm, calmSince] = [0, now()];
      best[i] = Math.min(best[i], ms);
      repeats[i] = repeatsFor(best[i]);
    }
    // Compiled code is put in place between turns of the event loop.
    await new Promise((resolve) => setTimeout(resolve, 1));
    if (calm >= settling.stretches && now() - calmSince >= settling.leastMs) return { repeats, settled: true };
    if (now() - begun >= mostMs) return { repeats, settled: false };
  }
}

/** Times all in each round, the order changing from round to round. Gives each engine's times, by round. */
export async function timeRounds(engines, repeats, rounds) {
  const times = engines.map(() => []);
  const order = engines.map((_, i) => i);
  for (let r = 0; r < rounds; r++) {
    for (const i of r % 2 === 0 ? order : [...order].reverse()) times[i].push(await engines[i].stretch(repeats[i]));
  }
  return times;
}

/**
 * Warms up and times. Gives `settled`, each engine's times by its name, and how many times as fast the first is as each of
 * the others.
 */
export async function measure(engines, { rounds, settleMs }, note) {
  const { repeats, settled } = await warmUp(engines, settleMs);
  note(`${rounds} rounds of ${repeats.join(", ")} runs${settled ? "" : " (times did not settle)"}`);
  const times = await timeRounds(engines, repeats, rounds);
  return {
    settled,
    times: Object.fromEntries(engines.map((e, i) => [e.name, timesOf(times[i])])),
    ratios: Object.fromEntries(engines.slice(1).map((e, i) => [e.name, ratioOf(times[0], times[i + 1])])),
  };
}
