// Runs all programs on a page with one package; reports what they saw. The page's address names the package's module.
import { programs as pictures } from "./pictures.mjs";
import { programs } from "./programs.mjs";

const ort = await import(decodeURIComponent(location.hash.slice(1)));
if (location.hash.includes("onnxruntime")) {
  ort.env.wasm.wasmPaths = `${location.origin}/onnxruntime-web/`;
  ort.env.wasm.numThreads = 1;
}
const plain = (_, v) => (typeof v === "bigint" ? `${v}n` : Number.isNaN(v) ? "NaN" : v === Infinity ? "Infinity" : v === -Infinity ? "-Infinity" : v);
const seen = {};
for (const [title, program] of Object.entries({ ...programs, ...pictures })) {
  try {
    seen[title] = { value: await program(ort, `${location.origin}/models`) };
  } catch (e) {
    seen[title] = { error: e?.stack ?? String(e) };
  }
}
await fetch("/seen", { method: "POST", body: JSON.stringify(seen, plain) });
