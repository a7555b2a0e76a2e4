import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { browserMissing, inBrowser, isolation } from "./support/browser.ts";
import { CliFolder, buildForTests } from "./support/cli.ts";
import { model } from "./support/onnx.ts";

// A model that was disposed of leaves nothing behind, even where it, and a tensor that it kept, are still in somebody's hands.

const proc = existsSync("/proc/self/status") ? null : "the system does not tell what a browser's processes take";
const noBrowser = browserMissing ?? proc;
if (noBrowser !== null) console.log(`tests of memory in a browser are skipped: ${noBrowser}`);
const here = new CliFolder();
beforeAll(async () => {
  buildForTests();
  // Enough for two threads to share, and 4 MiB of weights.
  const [rows, inner, columns] = [16, 1024, 1024];
  const values = Array.from({ length: inner * columns }, (_, i) => ((i * 7919) % 997) / 997 - 0.5);
  here.file(
    "model.onnx",
    model({
      nodes: [{ op: "MatMul", in: ["x", "w"], out: ["y"] }],
      inputs: { x: ["f32", [rows, inner]] },
      outputs: ["y"],
      initializers: { w: { dtype: "f32", dims: [inner, columns], values } },
    }),
  );
  const r = await here.spawn(["compile", "model.onnx", "-o", "artifact"]);
  if (r.status !== 0) throw new Error(r.stderr);
});
afterAll(() => here.remove());

/** What is measured: bytes of the process, with nothing loaded, with models in use, after some were loaded and disposed of, and after all. */
interface Measured {
  readonly empty: number;
  readonly inUse: number;
  readonly some: number;
  readonly all: number;
  readonly threads: number;
  /** Of one model. */
  readonly bytes: number;
}
const [inUse, some, all] = [5, 40, 200];

/** A script that measures: `measure` gives the bytes, `script` where the artifact is. */
const measuring = (script: string, threads: number, loads: number): string => `
  const { load } = await import(${JSON.stringify(script)});
  const x = new Float32Array(16 * 1024).fill(1);
  const settled = async () => {
    for (let i = 0; i < 4; i++) {
      globalThis.gc();
      await new Promise((done) => setTimeout(done, 20));
    }
    return measure();
  };
  const held = [];
  const use = async () => {
    const m = await load({ threads: ${threads} });
    await m.run({ x }, { views: true });
    const { y } = await m.run({ x }, { keep: ["y"] });
    held.push(m, y);
    return m;
  };
  const empty = await settled();
  const used = [];
  for (let i = 0; i < ${inUse}; i++) used.push(await use());
  const { threads, memory_bytes: bytes } = used[0].info();
  const inUse = await settled();
  for (const m of used) m.dispose();
  let some;
  for (let i = 1; i <= ${loads}; i++) {
    (await use()).dispose();
    if (i === ${some}) some = await settled();
  }
  const measured = JSON.stringify({ empty, inUse, some, all: await settled(), threads, bytes });`;

function expectFlat(where: string, m: Measured, threads: number, loads: number): void {
  expect(m.threads).toBe(threads);
  // The measure sees what models take …
  expect(m.inUse - m.empty).toBeGreaterThan((inUse - 1) * m.bytes);
  // … and of those that were disposed of not one in fifty is left.
  const left = (m.all - m.some) / m.bytes;
  console.log(`${where}, ${threads} threads: after ${loads - some} more models, ${left.toFixed(2)} models' memory is taken`);
  expect(left).toBeLessThan((loads - some) / 50);
}

test.each([1, 2])(
  "200 models loaded and disposed of in Node, on %d threads",
  (threads) => {
    const text = `const measure = () => process.memoryUsage().rss;${measuring(pathToFileURL(join(here.path, "artifact/model.js")).href, threads, all)}
      console.log(measured);`;
    here.file("measure.mjs", text);
    const r = spawnSync(process.execPath, ["--expose-gc", "measure.mjs"], { cwd: here.path, encoding: "utf8" });
    expect(r).toMatchObject({ status: 0, stderr: "" });
    expectFlat("Node", JSON.parse(r.stdout) as Measured, threads, all);
  },
  240_000,
);

test.skipIf(noBrowser !== null).each([
  [1, all],
  [2, 100],
])(
  "in a page, on %d threads",
  async (threads, loads) => {
    const page = `const measure = async () => Number(await (await fetch("/memory")).text());${measuring("/artifact/model.js", threads, loads)}
      say(measured);`;
    const said = await inBrowser(page, { artifact: join(here.path, "artifact") }, isolation, ["--js-flags=--expose-gc"]);
    expectFlat("a page", JSON.parse(said) as Measured, threads, loads);
  },
  240_000,
);
