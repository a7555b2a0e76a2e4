// The kernels of one model, timed by a build whose `main` calls a clock after each launch.
import { loadTilewright, startTilewright } from "../engines/tilewright.mjs";
import { median } from "../statistics.mjs";
import { loadWorkload } from "../workloads.mjs";

const warmMs = 1500;

/** `{ dist, workload, relaxed, rounds }`: gives each launch's share, and what the clock costs. One thread. */
export async function kernels({ dist, workload, relaxed, rounds }, note) {
  note("compiling twice");
  const tw = await loadTilewright(dist);
  const model = loadWorkload(workload);
  const options = { threads: 1, relaxed };
  const plain = await startTilewright(tw, model, options);
  const plainMs = await medianRun(plain, rounds);
  await plain.dispose();
  const clock = new tw.LaunchClock();
  const engine = await startTilewright(tw, model, options, clock.tick);
  const ceiling = await tw.measurePeak(engine.info.relaxed_simd);
  note(`${rounds} runs of the profiling build`);
  await warm(engine);
  clock.reset();
  const begin = () => clock.begin();
  const times = await timeEach(engine, rounds, begin);
  const rows = tw.kernelTimes(engine.profiled.main, engine.profiled.graph, clock);
  await engine.dispose();
  return {
    median_ms: plainMs,
    profiled_ms: median(times),
    overhead: median(times) / plainMs - 1,
    ceiling_gflops: ceiling,
    relaxed_simd: engine.info.relaxed_simd,
    kernels: rows.map((k) => ({ ...k, share: k.gflops === null ? null : k.gflops / ceiling })),
  };
}

async function medianRun(engine, rounds) {
  await warm(engine);
  return median(await timeEach(engine, rounds, () => {}));
}

async function warm(engine) {
  const begun = performance.now();
  for (let i = 0; i < 3 || performance.now() - begun < warmMs; i++) {
    await engine.run();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function timeEach(engine, rounds, begin) {
  const times = [];
  for (let i = 0; i < rounds; i++) {
    begin();
    const start = performance.now();
    await engine.run();
    times.push(performance.now() - start);
  }
  return times;
}
