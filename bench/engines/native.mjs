// A build of tilewright's target `native` as the benchmark uses it: C, compiled by this machine's compiler, called through FFI.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { timeRuns } from "../timing.mjs";
import { allowedFor } from "./tilewright.mjs";

/** Loads the parts of a build that the benchmark needs. */
export async function loadNative(dist) {
  const part = (path) => import(pathToFileURL(join(dist, path)).href);
  const native = ["cache", "compiler", "ffi", "index", "library", "model", "peak", "source", "toolchain"].map((name) => `node/native/${name}.js`);
  const others = ["build-c.js", "importer.js", "node/external-data.js", "cli/kernel-times.js", "targets/c/levels.js", "version.js"];
  return Object.assign({}, ...(await Promise.all([...native, ...others].map(part))));
}

/** A workload's model, imported, and the folder of its external data closed again by `use`. */
export async function withSource(tw, model, use) {
  const resolver = model.dir === null ? undefined : tw.folderResolver(model.dir);
  try {
    return await use(tw.importSource(model.bytes, { name: model.name, ...(resolver === undefined ? {} : { resolver }) }));
  } finally {
    resolver?.close();
  }
}

/**
 * Compiles a workload to C and builds it, unless the user's cache has it, and starts it. `options`: `{ threads, profile }`;
 * `profile` asks for a build that notes the time after every launch. `runModel` is the library's own `runNow`, for results.
 */
export async function startNativeEngine(tw, model, { threads, profile = false }) {
  const begun = performance.now();
  const tools = await tw.findToolchain();
  return withSource(tw, model, async (imported) => {
    const source = tw.nativeSource(imported, { threads, name: model.name });
    const compiled = performance.now();
    const started = await tw.startNative(source, tools, { threads, profile });
    const weights = await weightsFile(tw, source);
    const info = started.model.info();
    const given = Object.fromEntries(model.inputs.map(({ name, data, dims }) => [name, { data, dims }]));
    const level = source.compiled.levels.find((l) => l.machine.name === info.level);
    return {
      name: "tilewright",
      tools,
      manifest: source.manifest,
      weights,
      model: started.model,
      runModel: () => started.model.runNow(given, { views: true }),
      dispose: () => started.model.dispose(),
      startMs: performance.now() - begun,
      compileMs: compiled - begun,
      buildMs: started.buildMs,
      built: started.built,
      flops: source.manifest.flops,
      codeBytes: started.codeBytes,
      info: { threads: info.threads, threads_reason: info.threads_reason, level: info.level, compiler: info.compiler, library: info.library },
      allowed: allowedFor(source.compiled.schedules),
      profiled: { main: level.program.main, graph: imported.kind === "graph" ? imported.graph : null, schedules: source.compiled.schedules },
    };
  });
}

/** The file of weights that a started model has in the user's cache; null when it has none. */
function weightsFile(tw, source) {
  return tw.cachedWeights(tw.cacheFolder(), tw.keyOf([tw.version, source.weightsKey()]), source.manifest.weight_bytes, (sink) =>
    source.writeWeights(sink),
  );
}

/**
 * The same engine, to be timed as a C program would use it: inputs are copied in from arrays, for a run may overwrite them;
 * outputs are left where the run writes them. A model with symbols is timed through `runNow`.
 */
export function timedEngine(tw, engine, inputs, threads) {
  const { manifest, weights, tools, info } = engine;
  if (manifest.symbols.length > 0) {
    const out = { ...engine, run: engine.runModel, stretch: (repeats) => timeRuns(out, repeats) };
    return out;
  }
  // Its memory and threads are not needed beside those of the second one.
  engine.dispose();
  const library = new tw.NativeLibrary(tools.ffi, info.library, manifest.prefix, false, tw.runsOf(manifest));
  const context = library.open(weights, threads);
  const arrays = manifest.inputs.map((p) => inputs.find((i) => i.name === p.name).data);
  const sources = BigUint64Array.from(arrays, (a) => tools.ffi.address(a));
  const places = new BigUint64Array(manifest.outputs.length);
  const out = {
    ...engine,
    // `arrays` is named so that they live as long as their addresses are used.
    held: arrays,
    run: () => library.run(context, null, sources, places),
    stretch: (repeats) => timeRuns(out, repeats),
    dispose: () => library.close(context),
  };
  return out;
}
