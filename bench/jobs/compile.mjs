// CPU time of a fresh process that compiles a model, all modules and the weights, and writes nothing.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { loadTilewright } from "../engines/tilewright.mjs";
import { readModel } from "../suite.mjs";

const spent = (before) => {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e3;
};

/** `{ dist, name }`: a model of the suite. Only the reading of its files is left out of `cpu_ms`. */
export async function compile({ dist, name }) {
  const tw = await loadTilewright(dist);
  // As the command line does.
  const { optimizeLate } = await import(pathToFileURL(join(dist, "node/engine-flags.js")).href);
  optimizeLate();
  const started = process.cpuUsage();
  const { file, dir } = readModel(name);
  const bytes = readFileSync(file);
  const path = join(dir, `${name}.bin`);
  const data = existsSync(path) ? new Uint8Array(readFileSync(path)) : null;
  const readMs = spent(started);
  const begun = [performance.now(), process.cpuUsage()];
  const source = tw.importSource(bytes, { name, ...(data === null ? {} : { resolver: heldInMemory(`${name}.bin`, data) }) });
  const { artifact } = tw.buildArtifact(source);
  const compiled = spent(begun[1]);
  let weightBytes = 0;
  await artifact.writeWeights((_, piece) => {
    weightBytes += piece.byteLength;
  });
  return {
    cpu_ms: spent() - readMs,
    compile_cpu_ms: compiled,
    weights_cpu_ms: spent(begun[1]) - compiled,
    wall_ms: performance.now() - begun[0],
    weight_bytes: weightBytes,
    modules: artifact.manifest.modules.map(({ file: module, bytes: size }) => ({ file: module, code_bytes: size })),
  };
}

/** External data that was read beforehand. */
function heldInMemory(file, bytes) {
  return {
    open(location, offset, length) {
      if (location !== file) throw new Error(`the model's weights are in '${location}', not in '${file}'`);
      const range = bytes.subarray(offset, length === undefined || length === null ? bytes.length : offset + length);
      const key = `${location}:${offset}+${range.length}`;
      return { byteLength: range.length, key, read: (at, count) => range.subarray(at, at + count) };
    },
  };
}
