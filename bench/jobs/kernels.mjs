// The kernels of one model, timed by a build whose `main` calls a clock after each launch.
import { loadTilewright, startTilewright } from "../engines/tilewright.mjs";
import { timesOf } from "../statistics.mjs";
import { timeRounds, timeRuns, warmUp } from "../timing.mjs";
import { loadWorkload } from "../workloads.mjs";

/**
 * `{ dist, workload, relaxed, rounds, settleMs }`: gives the mean time of each launch, and what the clock costs: the usual build is
 * timed in turns with the other. One thread.
 */
export async function kernels({ dist, workload, relaxed, rounds, settleMs }, note) {
  note("compiling twice");
  const tw = await loadTilewright(dist);
  const model = loadWorkload(workload);
  const options = { threads: 1, relaxed };
  const clock = new tw.LaunchClock();
  const plain = await startTilewright(tw, model, options);
  const profiling = withClock(await startTilewright(tw, model, options, clock.tick), clock);
  const ceiling = await tw.measurePeak(plain.info.relaxed_simd);
  const engines = [plain, profiling];
  const { repeats, settled } = await warmUp(engines, settleMs);
  clock.reset();
  note(`${rounds} rounds of ${repeats.join(", ")} runs`);
  const [usual, profiled] = (await timeRounds(engines, repeats, rounds)).map(timesOf);
  const launches = tw.kernelTimes(profiling.profiled.main, profiling.profiled.graph, clock);
  for (const e of engines) await e.dispose();
  return {
    settled,
    times: { tilewright: usual, profiling: profiled },
    overhead: profiled.median_ms / usual.median_ms - 1,
    ceiling_gflops: ceiling,
    relaxed_simd: plain.info.relaxed_simd,
    kernels: launches.map((k) => ({ ...k, share: k.gflops === null ? null : k.gflops / ceiling })),
  };
}

/** The engine, its clock started before each run. */
function withClock(engine, clock) {
  const out = {
    ...engine,
    run() {
      clock.begin();
      return engine.run();
    },
    stretch: (repeats) => timeRuns(out, repeats),
  };
  return out;
}
