// A measuring process: it does the jobs that the parent sends, one after the other, and ends with it. Each job's module is
// loaded when it is asked for, so that a process that measures one engine holds nothing of another.
const jobs = {
  probe: async (p) => (await import("./jobs/probe.mjs")).probe(p),
  compare: async (p, note) => (await import("./jobs/compare.mjs")).compare(p, note),
  serve: async (p) => (await import("./jobs/serve.mjs")).serve(p),
  ceiling: async () => (await import("./jobs/serve.mjs")).ceiling(),
  stretch: async (p) => (await import("./jobs/serve.mjs")).stretch(p),
  kernels: async (p, note) => (await import("./jobs/kernels.mjs")).kernels(p, note),
  empty: async () => (await import("./jobs/memory.mjs")).empty(),
  memory: async (p) => (await import("./jobs/memory.mjs")).memory(p),
  start: async (p) => (await import("./jobs/start.mjs")).start(p),
  symbolic: async (p) => (await import("./jobs/symbols.mjs")).symbolic(p),
  decoding: async (p) => (await import("./jobs/symbols.mjs")).decoding(p),
  compile: async (p) => (await import("./jobs/compile.mjs")).compile(p),
  "native-probe": async (p) => (await import("./jobs/native/probe.mjs")).nativeProbe(p),
  "native-kernels": async (p, note) => (await import("./jobs/native/kernels.mjs")).nativeKernels(p, note),
  "native-start": async (p) => (await import("./jobs/native/start.mjs")).nativeStart(p),
  "native-compile": async (p, note) => (await import("./jobs/native/compile.mjs")).nativeCompile(p, note),
};

process.on("message", async ({ id, job, params }) => {
  if (job === "end") process.exit();
  const note = (text) => process.send({ note: text });
  try {
    process.send({ id, value: (await jobs[job](params, note)) ?? null });
  } catch (e) {
    process.send({ id, error: process.env.TILEWRIGHT_DEBUG ? e.stack : e.message });
  }
});
// The parent is gone.
process.on("disconnect", () => process.exit());
