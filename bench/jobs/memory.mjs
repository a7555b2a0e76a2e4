// Peak memory of a process that loads one model with one engine and runs it thrice.
import { readFileSync } from "node:fs";
import { readModel } from "../suite.mjs";
import { isRight } from "../results.mjs";
import { importOrt, openArtifact, openSession, resultShare } from "./artifact.mjs";

/** The largest resident size of this process so far, in bytes. */
function peakResident() {
  try {
    // Linux counts in `maxRSS` what the parent had before this program was started.
    const kilobytes = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))[1];
    return Number(kilobytes) * 1024;
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
}

/** A process that does nothing else. */
export function empty() {
  return { peak_bytes: peakResident() };
}

/** `{ engine, name, artifact, threads }`: a model of the suite, and where tilewright's artifact of it lies. */
export async function memory({ engine, name, artifact, threads }) {
  const memories = recordMemories();
  const model = readModel(name);
  const inputs = model.inputs;
  const opened =
    engine === "tilewright" ? await openArtifact({ artifact, threads }, inputs) : await openSession(await importOrt(threads), model, inputs);
  let outputs;
  for (let i = 0; i < 3; i++) outputs = await opened.run();
  const info = opened.info?.();
  return {
    right: isRight(model, outputs, resultShare),
    peak_bytes: peakResident(),
    wasm_bytes: memories.reduce((n, m) => n + m.buffer.byteLength, 0),
    ...(info === undefined ? {} : { memory_bytes: info.memory_bytes, weight_bytes: info.weight_bytes, arena_bytes: info.arena_bytes }),
  };
}

/** Every WebAssembly memory made from now on. */
function recordMemories() {
  const made = [];
  WebAssembly.Memory = new Proxy(WebAssembly.Memory, {
    construct(target, args) {
      const m = Reflect.construct(target, args);
      made.push(m);
      return m;
    },
  });
  return made;
}
