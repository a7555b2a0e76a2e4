import { MessageChannel, type MessagePort } from "node:worker_threads";
import { afterEach, expect, test } from "vitest";
import { ExplorerClient, type ExplorerWorker } from "../src/explorer/client.ts";
import type { Port } from "../src/explorer/protocol.ts";
import { serveExplorer } from "../src/explorer/serve.ts";
import type { ProgressView } from "../src/explorer/types.ts";
import { compile } from "../src/index.ts";

// The explorer as pages have it: asked by messages. Here both sides are in one thread, with a real channel between them, so
// that everything is cloned as it is for a worker.

const small = new TextEncoder().encode(`graph @small {
  symbol rows in [1, inf]
  input %x: f32[rows, 8]
  %y: f32[rows, 8] = exp(%x) from "exponential"
  %z: f32[rows, 8] = add(%y, %x) from "sum"
  output %z as "result"
}
`);

const open: MessagePort[] = [];
let started = 0;
/** A worker that is none. */
function channel(): ExplorerWorker {
  started++;
  const { port1, port2 } = new MessageChannel();
  open.push(port1, port2);
  serveExplorer(port2 as unknown as Port);
  // Listening is what starts the ports of Node's channels, in the web's way of adding listeners not.
  port2.start();
  port1.start();
  return {
    postMessage: (m, transfer) => port1.postMessage(m, transfer as ArrayBuffer[]),
    addEventListener: (type: string, listener: (e: never) => void) => {
      if (type === "message") port1.addEventListener("message", listener as never);
    },
    terminate: () => port1.close(),
  };
}
afterEach(() => {
  for (const p of open.splice(0)) p.close();
  started = 0;
});

test("opening, texts, graphs, memory and runs, by messages", async () => {
  const client = new ExplorerClient(channel);
  const seen: ProgressView[] = [];
  const x = await client.open(small, { name: "small" }, { onProgress: (p) => seen.push(p) });
  expect(x.error).toBeNull();
  expect(seen.length).toBe(x.steps.length - 1);
  expect(await client.text({ kind: "step", step: 0 })).toContain("graph @small");
  expect((await client.graph(0)).nodes.map((n) => n.op)).toEqual(["x", "exp", "add", "result"]);
  expect((await client.memory({ rows: 1000 })).sizes).toEqual({ rows: 1000 });

  const data = Float32Array.from({ length: 16 }, (_, i) => i / 4 - 2);
  const ran = await client.run({ inputs: { x: { data, dims: [2, 8] } } });
  const model = await compile(small);
  const { result } = await model.run({ x: { data, dims: [2, 8] } });
  model.dispose();
  expect(ran.outputs.result).toEqual({ dtype: "f32", dims: [2, 8], data: result?.data });
  expect(ran.inputs.x?.data).toEqual(data);
  expect(started).toBe(1);
  client.close();
});

test("random inputs follow the seed and the sizes; a profile tells of every launch", async () => {
  const client = new ExplorerClient(channel);
  const x = await client.open(small);
  const one = await client.run({ sizes: { rows: 3 }, seed: 7 });
  expect(one.outputs.result?.dims).toEqual([3, 8]);
  expect((await client.run({ sizes: { rows: 3 }, seed: 7 })).inputs.x?.data).toEqual(one.inputs.x?.data);
  expect((await client.run({ sizes: { rows: 3 }, seed: 8 })).inputs.x?.data).not.toEqual(one.inputs.x?.data);
  const given = one.inputs.x?.data as Float32Array;
  expect(
    Array.from(one.outputs.result?.data as Float32Array).every((v, i) => Math.abs(v - Math.exp(given[i] as number) - (given[i] as number)) < 1e-5),
  ).toBe(true);

  const p = await client.profile({ sizes: { rows: 100 }, runs: 5 });
  expect(p.launches.map((l) => l.launch)).toEqual(x.program?.launches.map((l) => l.launch));
  expect(p.launches.every((l) => l.ms >= 0 && l.bytes === 2 * 100 * 8 * 4)).toBe(true);
  expect(p.medianMs).toBeGreaterThan(0);
  expect(Math.min(p.machine.gflops, p.machine.memoryGBs, p.machine.cacheGBs)).toBeGreaterThan(0);
  client.close();
});

test("errors keep their class and code", async () => {
  const client = new ExplorerClient(channel);
  await expect(client.text({ kind: "step", step: 0 })).rejects.toMatchObject({ name: "UserError", code: "not-opened" });
  await expect(client.open(new TextEncoder().encode("no model"))).rejects.toMatchObject({ name: "UserError", code: "not-onnx" });
  await client.open(small);
  await expect(client.graph(999)).rejects.toMatchObject({ name: "UserError", code: "step" });
  await expect(client.run({ inputs: { nothing: { data: new Float32Array(1), dims: [1] } } })).rejects.toMatchObject({ code: "unknown-input" });
  await expect(client.run({ inputs: { x: { data: new Float32Array(9), dims: [1, 8] } } })).rejects.toMatchObject({ name: "UserError", code: "size" });
  await expect(client.profile({ runs: 0 })).rejects.toMatchObject({ code: "runs" });
  client.close();
});

test("calls can be given up: a profile stops, an opening ends the worker, and both can be asked for again", async () => {
  const client = new ExplorerClient(channel);
  await client.open(small);
  const stop = new AbortController();
  const long = client.profile({ runs: 10_000, sizes: { rows: 2000 } }, { signal: stop.signal });
  setTimeout(() => stop.abort(new Error("enough")), 20);
  await expect(long).rejects.toThrow("enough");
  // The worker goes on with what comes next before those ten thousand runs could be over.
  expect((await client.profile({ runs: 1, sizes: { rows: 1 } })).runs).toBe(1);
  expect(started).toBe(1);

  const away = new AbortController();
  const opening = client.open(small, {}, { signal: away.signal });
  away.abort();
  await expect(opening).rejects.toMatchObject({ name: "AbortError" });
  await expect(client.text({ kind: "step", step: 0 })).rejects.toMatchObject({ code: "not-opened" });
  expect(started).toBe(2);
  expect((await client.open(small)).error).toBeNull();
  await expect(client.open(small, {}, { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: "AbortError" });
  client.close();
});

test("external data comes from files that are given with the model", async () => {
  const client = new ExplorerClient(channel);
  const { model, externalEntries } = await import("./support/onnx.ts");
  const n = 4096;
  const bytes = model({
    nodes: [{ op: "Add", in: ["x", "w"], out: ["y"], name: "plus" }],
    inputs: { x: ["f32", [n]] },
    outputs: ["y"],
    initializers: { w: { dtype: "f32", dims: [n], extra: externalEntries({ location: "weights.bin", offset: "4", length: String(4 * n) }) } },
  });
  const weights = new Uint8Array(Float32Array.from({ length: n + 1 }, (_, i) => i).buffer);
  const x = await client.open(bytes, { files: { "./weights.bin": weights } });
  expect(x.error).toBeNull();
  const { outputs } = await client.run({ inputs: { x: { data: new Float32Array(n).fill(0.5), dims: [n] } } });
  expect(outputs.y?.data).toEqual(Float32Array.from({ length: n }, (_, i) => i + 1.5));
  expect(x.model.missingFiles).toEqual([]);
  // Without its weights a model can be looked at, as far as nobody needs their bytes.
  const bare = await client.open(bytes);
  expect(bare.model.missingFiles).toEqual(["weights.bin"]);
  expect(bare.model.inputs).toEqual([{ name: "x", dtype: "f32", dims: [n] }]);
  expect(bare.program?.kernels.length).toBe(1);
  await expect(client.run()).rejects.toMatchObject({ name: "UserError", code: "external-data-missing" });
  await expect(client.open(bytes, { files: { "weights.bin": weights.subarray(0, 8) } })).rejects.toMatchObject({ code: "external-data-short" });
  client.close();
});
