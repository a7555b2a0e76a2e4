// A build of tilewright as the benchmark uses it.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { allowedShare } from "../suite.mjs";
import { timeRuns } from "../timing.mjs";

/** Loads the parts of a build that the benchmark needs. */
export async function loadTilewright(dist) {
  const part = (path) => import(pathToFileURL(join(dist, path)).href);
  const [importer, load, data, peak, kernels, { version }] = await Promise.all(
    ["importer.js", "load.js", "node/external-data.js", "targets/wasm/peak.js", "cli/kernel-times.js", "version.js"].map(part),
  );
  return { ...importer, ...load, ...data, ...peak, ...kernels, version };
}

/** Without relaxed SIMD on the same engine: only the plain modules. */
const compileOptions = ({ threads, relaxed }) => ({ threads, ...(relaxed ? {} : { features: plainFeatures(threads) }) });
/** The feature `mt` is named only where it is needed: builds of earlier commits have none. */
export const plainFeatures = (threads) => (threads > 1 ? ["simd", "mt"] : ["simd"]);

/** In the text of a schedule. */
const winograd4 = /"algorithm":\s*"winograd-4"/;
/** What results may differ by, of a model compiled with these schedules. */
export const allowedFor = (schedules) => ([...schedules.values()].some((s) => winograd4.test(s)) ? allowedShare.winograd4 : allowedShare.usual);

/**
 * Compiles a workload for this process and starts it. `options` are `{ threads, relaxed }`; `clock` asks for a build that
 * calls it after every launch.
 */
export async function startTilewright(tw, model, options, clock) {
  const begun = performance.now();
  const resolver = model.dir === null ? undefined : tw.folderResolver(model.dir);
  const source = tw.importSource(model.bytes, { name: model.name, ...(resolver === undefined ? {} : { resolver }) });
  const wanted = compileOptions(options);
  const { artifact, compiled } = tw.buildArtifact(source, { ...wanted, features: tw.featuresHere(wanted), profile: clock !== undefined });
  const loaded = await tw.startArtifact(artifact, undefined, clock);
  resolver?.close();
  const inputs = Object.fromEntries(model.inputs.map(({ name, data, dims }) => [name, { data, dims }]));
  const engine = {
    name: "tilewright",
    run: () => loaded.run(inputs),
    stretch: (repeats) => timeRuns(engine, repeats),
    dispose: () => loaded.dispose(),
    startMs: performance.now() - begun,
    flops: artifact.manifest.flops,
    codeBytes: Math.max(...artifact.manifest.modules.map((m) => m.bytes)),
    info: loaded.info(),
    allowed: allowedFor(compiled.schedules),
    profiled: { main: compiled.program.main, graph: source.kind === "graph" ? source.graph : null },
  };
  return engine;
}
