import { afterEach, expect, test, vi } from "vitest";
import { type WorkerOptions, compileWith } from "../src/worker/page.ts";
import type { CompilerThread, Job, News } from "../src/worker/protocol.ts";
import { serveCompile } from "../src/worker/thread/serve.ts";
import { mlpText } from "./support/cli.ts";

// The page's side of the compiler in a worker, and the worker's, with all that may come between them. Real workers are in
// bundle.test.ts.

const mlp = new TextEncoder().encode(mlpText);
afterEach(() => {
  vi.useRealTimers();
});

/** A worker in this thread; `between` may change, hold back or add news. */
class Pretended implements CompilerThread {
  ended = false;
  job: Job | null = null;
  transfer: readonly unknown[] = [];
  private hear: ((n: News) => void) | null = null;
  fail: (why: string) => void = () => {};
  private readonly between: (n: News, tell: (n: News) => void) => void;
  constructor(between: (n: News, tell: (n: News) => void) => void = (n, tell) => tell(n)) {
    this.between = between;
  }
  listen(news: (n: News) => void, failed: (why: string) => void): void {
    this.hear = news;
    this.fail = failed;
  }
  send(job: Job, transfer: Transferable[]): void {
    this.job = structuredClone(job);
    this.transfer = transfer;
    void serveCompile(this.job, (n) => this.between(n, (m) => this.tell(m)));
  }
  tell(n: News): void {
    if (!this.ended) queueMicrotask(() => this.hear?.(n));
  }
  end(): void {
    this.ended = true;
  }
}

const compile = (thread: CompilerThread, options: WorkerOptions = {}, model: Uint8Array | ArrayBuffer | Blob = mlp) =>
  compileWith(() => thread, model, options);

const x = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8);

test("bytes, a buffer, a Blob: the model comes back ready, and the worker is ended", async () => {
  for (const model of [mlp, mlp.slice().buffer, new Blob([mlp])]) {
    const thread = new Pretended();
    const m = await compile(thread, {}, model);
    expect(thread.ended).toBe(true);
    expect(thread.transfer).toEqual([]);
    const { scores: y } = await m.run({ x });
    expect(y?.dims).toEqual([2, 3]);
    expect([...(y?.data ?? [])]).toEqual(expectedScores());
    m.dispose();
  }
});

/** x · w, with w as in the text. */
function expectedScores(): number[] {
  const w = [1, 2, 3, 4, 5, 6, -7, 8, 1, 2, -3, 4];
  return [0, 1].flatMap((i) => [0, 1, 2].map((j) => [0, 1, 2, 3].reduce((n, k) => n + (x[4 * i + k] ?? 0) * (w[3 * k + j] ?? 0), 0)));
}

test("weights that come late, or before the memory is there, land in their places", async () => {
  const early = new Pretended((n, tell) => {
    // The module last: everything else waits for it.
    if (n.kind === "start") setTimeout(() => tell(n), 50);
    else tell(n);
  });
  const late = new Pretended((n, tell) => {
    if (n.kind === "weights" || n.kind === "done") setTimeout(() => tell(n), 50);
    else tell(n);
  });
  for (const thread of [early, late]) {
    const m = await compile(thread);
    expect([...((await m.run({ x })).scores?.data ?? [])]).toEqual(expectedScores());
    m.dispose();
  }
});

test("options arrive; the database of schedules with the ids of both machines", async () => {
  const thread = new Pretended();
  const asked: string[] = [];
  const machine = (relaxed: boolean, threads: number): string => {
    asked.push(`${relaxed} ${threads}`);
    return `machine ${relaxed}`;
  };
  const m = await compile(thread, { exact: true, name: "named", database: { database: { entries: [] }, machine } });
  expect(thread.job?.options).toMatchObject({ exact: true, name: "named", database: { machines: ["machine false", "machine true"] } });
  expect(asked).toEqual(["false 1", "true 1"]);
  m.dispose();
});

test("errors of the worker are errors here, of the same class", async () => {
  const bad = new TextEncoder().encode("graph @bad {");
  await expect(compile(new Pretended(), {}, bad)).rejects.toMatchObject({ name: "UserError", code: "syntax" });
  await expect(compile(new Pretended(), { threads: 1000 })).rejects.toMatchObject({ name: "UserError", code: "threads" });
  const unsupported = {
    kind: "error",
    error: { name: "UnsupportedError", code: "unsupported-ops", message: "two things", items: ["a", "b"] },
  } as const;
  const thread = new Pretended((_, tell) => tell(unsupported));
  await expect(compile(thread)).rejects.toMatchObject({
    name: "UnsupportedError",
    code: "unsupported-ops",
    message: "two things",
    items: ["a", "b"],
  });
  expect(thread.ended).toBe(true);
  await expect(compile(new Pretended(), {}, "no" as unknown as Uint8Array)).rejects.toThrow();
  await expect(compile(new Pretended(), {}, 5 as unknown as Uint8Array)).rejects.toMatchObject({ code: "model" });
});

test("a worker that fails, says nothing, or cannot be sent the options", async () => {
  const broken = new Pretended(() => broken.fail("it broke"));
  await expect(compile(broken)).rejects.toMatchObject({ name: "UserError", code: "worker", message: expect.stringContaining("it broke") as string });

  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const mute = compile(new Pretended(() => {}));
  const refused = expect(mute).rejects.toMatchObject({ code: "worker", message: expect.stringContaining("compile-worker.js") as string });
  await vi.advanceTimersByTimeAsync(60_000);
  await refused;
  vi.useRealTimers();

  const unsendable = { shapes: (() => {}) as unknown as Record<string, number[]> };
  await expect(compile(new Pretended(), unsendable)).rejects.toMatchObject({ code: "worker" });
});

test("aborting ends the worker wherever it is", async () => {
  for (const kind of ["begun", "progress", "start", "done"] as const) {
    const stop = new AbortController();
    const thread = new Pretended((n, tell) => {
      if (n.kind === kind) stop.abort(new Error(`at ${kind}`));
      else tell(n);
    });
    await expect(compile(thread, { signal: stop.signal })).rejects.toThrow(`at ${kind}`);
    expect(thread.ended).toBe(true);
  }
});
