// Models with symbolic dims: what it costs that sizes are known late, and a decoder's steps with kept caches.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { readModel } from "../suite.mjs";

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

async function open(dist, name, symbols) {
  const tw = await import(pathToFileURL(join(dist, "index.js")).href);
  const { file, dir } = readModel(name);
  const path = join(dir, `${name}.bin`);
  const data = existsSync(path) ? new Uint8Array(readFileSync(path)) : null;
  const range = (offset, length) => data.subarray(offset, length == null ? data.length : offset + length);
  const resolver = {
    open(_, offset, length) {
      const bytes = range(offset, length);
      return { byteLength: bytes.length, key: `${offset}`, read: (at, n) => bytes.subarray(at, at + n) };
    },
  };
  return tw.compile(readFileSync(file), { symbols, ...(data === null ? {} : { resolver }) });
}

/** `{ dist, rounds }`: minilm_dyn beside the same model compiled for one size, in turns. */
export async function symbolic({ dist, rounds }) {
  const open1 = (symbols) => open(dist, "minilm_dyn", symbols);
  const dynamic = await open1({});
  const rows = [];
  for (const tokens of [128, 384]) {
    const fixed = await open1({ batch: 1, seq: tokens });
    const ids = BigInt64Array.from({ length: tokens }, (_, i) => BigInt(100 + ((i * 37) % 20_000)));
    const inputs = { input_ids: { data: ids, dims: [1, tokens] }, attention_mask: { data: new BigInt64Array(tokens).fill(1n), dims: [1, tokens] } };
    const times = { dynamic: [], fixed: [] };
    for (let i = 0; i < rounds + 3; i++)
      for (const [side, model] of [
        ["dynamic", dynamic],
        ["fixed", fixed],
      ]) {
        const t = performance.now();
        await model.run(inputs, { views: true });
        if (i >= 3) times[side].push(performance.now() - t);
      }
    rows.push({
      tokens,
      dynamic_ms: median(times.dynamic),
      fixed_ms: median(times.fixed),
      least_ratio: Math.min(...times.dynamic) / Math.min(...times.fixed),
    });
    fixed.dispose();
  }
  return rows;
}

/** `{ dist, rounds }`: gpt_kv, one token at a time, its caches kept inside. */
export async function decoding({ dist, rounds }) {
  const model = await open(dist, "gpt_kv", {});
  const last = 256;
  const steps = new Map();
  let bytes = 0;
  for (let r = 0; r < Math.max(3, rounds); r++) {
    let [past_k, past_v] = [0, 0].map(() => ({ data: new Float32Array(6 * 6 * 64), dims: [6, 1, 6, 1, 64] }));
    for (let past = 1; past <= last; past++) {
      const ids = { data: BigInt64Array.of(5n), dims: [1, 1] };
      const t = performance.now();
      const out = await model.run({ ids, past_k, past_v }, { keep: ["present_k", "present_v"] });
      const ms = performance.now() - t;
      for (const kept of [past_k, past_v]) kept.dispose?.();
      [past_k, past_v] = [out.present_k, out.present_v];
      if (past === 1 || past === 64 || past === 128 || past === last) steps.set(past, Math.min(ms, steps.get(past) ?? Number.POSITIVE_INFINITY));
      bytes = 4 * 2 * past_k.dims.reduce((n, d) => n * d, 1);
    }
    for (const kept of [past_k, past_v]) kept.dispose();
  }
  model.dispose();
  return { steps: [...steps].map(([past, ms]) => ({ past, ms })), past_bytes: bytes, read_ms: readingTime(bytes) };
}

/** Milliseconds to read so many bytes once from memory that no cache holds. */
function readingTime(bytes) {
  const block = new Float64Array(bytes / 8);
  const other = new Float64Array(2 ** 23).fill(1);
  let best = Number.POSITIVE_INFINITY;
  let sum = 0;
  for (let i = 0; i < 12; i++) {
    sum += other.reduce((a, b) => a + b, 0);
    const t = performance.now();
    for (let k = 0; k < block.length; k += 8) sum += block[k];
    if (i > 3) best = Math.min(best, performance.now() - t);
  }
  return sum < 0 ? 0 : best;
}
