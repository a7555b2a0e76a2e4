// The kernels of one model, timed by a build that notes the time after each launch.
import { measureBandwidth } from "../../engines/bandwidth.mjs";
import { loadNative, startNativeEngine } from "../../engines/native.mjs";
import { launchBytes } from "../../engines/traffic.mjs";
import { median, timesOf } from "../../statistics.mjs";
import { timeRounds, timeRuns, warmUp } from "../../timing.mjs";
import { loadWorkload } from "../../workloads.mjs";

/**
 * `{ dist, workload, threads, rounds, settleMs }`: gives the median time of each launch, and what the clock costs: the usual
 * build is timed in turns with the other. Ceilings are those of one thread, times the threads; the bandwidth is that of all together.
 */
export async function nativeKernels({ dist, workload, threads, rounds, settleMs }, note) {
  note("compiling twice");
  const tw = await loadNative(dist);
  const model = loadWorkload(workload);
  const usualBuild = await startNativeEngine(tw, model, { threads });
  const profilingBuild = await startNativeEngine(tw, model, { threads, profile: true });
  const { main, graph } = profilingBuild.profiled;
  const launches = tw.launchesOf(main);
  const samples = launches.map(() => []);
  const plain = inTurns(usualBuild, () => {});
  const profiling = inTurns(profilingBuild, () => {
    for (const [i, s] of profilingBuild.model.launchTimes(launches.length).entries()) samples[i].push(s * 1e3);
  });
  const bandwidth = await measureBandwidth(tw, usualBuild.tools, threads);
  const peak = () => tw.measureNativePeak(usualBuild.tools, usualBuild.info.level);
  const before = await peak();
  const { repeats, settled } = await warmUp([plain, profiling], settleMs);
  for (const s of samples) s.length = 0;
  note(`${rounds} rounds of ${repeats.join(", ")} runs`);
  const [usual, profiled] = (await timeRounds([plain, profiling], repeats, rounds)).map(timesOf);
  const ceiling = usualBuild.info.threads * Math.max(before, await peak());
  for (const e of [usualBuild, profilingBuild]) e.dispose();
  const spent = samples.map(median);
  const bytes = graph === null ? spent.map(() => null) : launchBytes(launches, spent, graph);
  const kernels = tw.kernelTimes(main, graph, { mean: (i) => spent[i] }).map((k, i) => withShares(k, bytes[i], ceiling, bandwidth));
  return {
    settled,
    threads: usualBuild.info.threads,
    level: usualBuild.info.level,
    times: { tilewright: usual, profiling: profiled },
    overhead: profiled.median_ms / usual.median_ms - 1,
    ceiling_gflops: ceiling,
    bandwidth_gbs: bandwidth,
    kernels,
  };
}

function inTurns(build, after) {
  const engine = {
    run() {
      build.runModel();
      after();
    },
    stretch: (repeats) => timeRuns(engine, repeats),
  };
  return engine;
}

/** What a launch reached of what the machine can do. */
function withShares(kernel, bytes, ceiling, bandwidth) {
  const gbs = bytes === null ? null : bytes / kernel.ms / 1e6;
  return {
    ...kernel,
    share: kernel.gflops === null ? null : kernel.gflops / ceiling,
    bytes,
    gbs,
    bandwidth_share: gbs === null ? null : gbs / bandwidth,
  };
}
