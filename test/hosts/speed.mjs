// The time from files at hand to the first result in Chromium, beside onnxruntime-web's for the same model.
import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { median } from "../../bench/statistics.mjs";
import { openChromium, reported } from "./chromium.mjs";
import { packageFolder, versionOf } from "./prepare.mjs";
import { page } from "./pages.mjs";
import { startServer } from "./server.mjs";

const rounds = 5;
const image = "Float32Array.from({ length: 64 }, (_, i) => (i % 16) / 16)";

const bytes = "const bytes = async (file) => new Uint8Array(await (await fetch(file)).arrayBuffer());";

/** Import, load, first run, in a page that did nothing else. The bytes of modules, weights and models are in memory before, on both sides; scripts are fetched. */
const ours = `${bytes}
const [wasm, weights] = [await bytes("./digits-default/model.relaxed.wasm"), await bytes("./digits-default/model.weights.bin")];
const start = performance.now();
const { load } = await import("./digits-default/model.js");
const model = await load({ wasm, weights });
const { logits } = await model.run({ image: ${image} });
const ms = performance.now() - start;
await fetch("/heard/" + location.hash.slice(1), { method: "POST", body: JSON.stringify({ ms, logits: [...logits.data] }) });
`;

/** The same, on one thread as ours. */
const theirs = `${bytes}
const [wasmBinary, digits] = [await bytes("./ort/ort-wasm-simd-threaded.wasm"), await bytes("./digits.onnx")];
const start = performance.now();
const { InferenceSession, Tensor, env } = await import("./ort/ort.wasm.min.mjs");
env.wasm.wasmBinary = wasmBinary;
env.wasm.numThreads = 1;
const session = await InferenceSession.create(digits);
const { logits } = await session.run({ image: new Tensor("float32", ${image}, [1, 1, 8, 8]) });
const ms = performance.now() - start;
await fetch("/heard/" + location.hash.slice(1), { method: "POST", body: JSON.stringify({ ms, logits: [...logits.data] }) });
`;

/** Medians in milliseconds, taken in turns; fails where the results are not the same up to rounding. */
export async function compareStart(folder) {
  for (const file of ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"])
    cpSync(join(packageFolder("onnxruntime-web"), "dist", file), join(folder, "ort", file));
  for (const [name, script] of Object.entries({ ours, theirs })) {
    writeFileSync(join(folder, `${name}.js`), script);
    writeFileSync(join(folder, `${name}.html`), page(`./${name}.js`));
  }
  const server = await startServer(folder);
  const browser = await openChromium();
  const times = { ours: [], theirs: [] };
  try {
    for (let round = 0; round < rounds; round++) {
      const logits = {};
      for (const name of ["ours", "theirs"]) {
        const opened = await browser.open(`${server.origin}/plain/${name}.html#${name}${round}`);
        const said = await reported(server, `${name}${round}`, browser.log);
        times[name].push(said.ms);
        logits[name] = said.logits;
        await opened.close();
      }
      if (logits.ours.length !== 10 || logits.ours.some((v, i) => !(Math.abs(v - logits.theirs[i]) <= 1e-4 * (1 + Math.abs(v)))))
        throw new Error(`results differ: ${logits.ours} and ${logits.theirs}`);
    }
  } finally {
    await browser.close();
    server.close();
  }
  return { ours: median(times.ours), theirs: median(times.theirs), version: versionOf("onnxruntime-web") };
}
