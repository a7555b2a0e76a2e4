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
  const { main, graph, schedules } = profilingBuild.profiled;
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
  const algorithms = algorithmsOf(launches, schedules);
  const kernels = tw
    .kernelTimes(main, graph, { mean: (i) => spent[i] })
    .map((k, i) => withShares({ ...k, algorithm: algorithms[i] }, savedBy(algorithms[i], launches[i], graph), bytes[i], ceiling, bandwidth));
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

/** Each launch's algorithm. One that makes several launches of a kernel is named in the schedule of the last. */
function algorithmsOf(launches, schedules) {
  const named = (l) => /"algorithm":\s*"([^"]+)"/.exec(schedules.get(l.kernel) ?? "")?.[1] ?? "direct";
  const nodes = (l) => l.origin.join("\n");
  const special = new Map(launches.filter((l) => named(l) !== "direct").map((l) => [nodes(l), named(l)]));
  return launches.map((l) => special.get(nodes(l)) ?? "direct");
}

/** How many times fewer multiply-adds the algorithm takes: Winograd's, along every dim of the window that has three taps. */
function savedBy(algorithm, launch, graph) {
  const tile = Number(/^winograd-(\d)$/.exec(algorithm)?.[1] ?? 0);
  if (tile === 0) return 1;
  const op = graph?.ops.find((o) => o.def.name === "convolution" && launch.origin.includes(o.results[0]?.origin[0]));
  const dims = op?.operands[1].dims.slice(2).filter((d) => d === 3).length ?? 0;
  return ((3 * tile) / (tile + 2)) ** dims;
}

/** What a launch reached of what the machine can do; `saved`: its arithmetic is so many times less than what its nodes count. */
function withShares(kernel, saved, bytes, ceiling, bandwidth) {
  const gbs = bytes === null ? null : bytes / kernel.ms / 1e6;
  return {
    ...kernel,
    share: kernel.gflops === null ? null : kernel.gflops / saved / ceiling,
    bytes,
    gbs,
    bandwidth_share: gbs === null ? null : gbs / bandwidth,
  };
}
