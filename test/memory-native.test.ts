import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Model } from "../src/index.ts";
import { CliFolder, buildForTests, mlpText } from "./support/cli.ts";
import { missingForNative } from "./support/native.ts";

// Native models are disposed of as others are.

const missing = await missingForNative();
if (missing !== null) console.log(`skipped: memory of target native (${missing})`);

const here = new CliFolder();
let library: typeof import("../src/node/index.ts");
const before = process.env.XDG_CACHE_HOME;
beforeAll(async () => {
  process.env.XDG_CACHE_HOME = join(here.path, "cache");
  library = (await import(pathToFileURL(join(buildForTests(), "node/index.js")).href)) as typeof library;
});
afterAll(() => {
  if (before === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = before;
  here.remove();
});

const mlp = new TextEncoder().encode(mlpText);
const x = Float32Array.of(1, 0, 0, 0, 0, 1, 1, 1);
/** An arena of two times 4 MiB, all of which a run touches. */
const twiceText = `program @twice {
  memory weights, arena bytes 0
  alloc %x as ax bytes 4194304
  alloc %y as ay bytes 4194304
  input %x: f32[1048576] at ax
  output %y: f32[1048576] at ay
  kernel @add(param %x: f32, out param %y: f32) over [begin, end) {
    for i in [begin, end) {
      %y[i] = %x[i] + %x[i]
    }
  }
  main {
    launch @add(ax, ay) over [0, 1048576) grain 1024 from "add"
  }
}
`;
const disposed = { name: "UserError", code: "disposed" };
const start = (): Promise<Model> => library.compile(mlp, { target: "native" }) as unknown as Promise<Model>;

describe.skipIf(missing !== null)("dispose of a native model", () => {
  test("rejects the runs that have not begun, and all later ones; the one that is going on gives its results", async () => {
    const m = await start();
    const going = m.run({ x });
    // A run begins when those before it are done, in a turn of its own.
    await Promise.resolve();
    const queued = [m.run({ x }), m.run({ x })];
    m.dispose();
    m.dispose();
    expect([...((await going).scores?.data ?? [])]).toEqual([1, 2, 3, -1, 10, 11]);
    for (const r of await Promise.allSettled(queued))
      expect(r).toMatchObject({ status: "rejected", reason: { ...disposed, message: expect.stringMatching(/before this run began/) } });
    await expect(m.run({ x })).rejects.toMatchObject({ ...disposed, message: expect.stringMatching(/load it again/) });
    expect(() => m.runNow({ x })).toThrow(expect.objectContaining(disposed));
    expect(m.info()).toMatchObject({ memory_bytes: 0, maximum_bytes: null });
  });
  test("ends kept tensors, and is what engines with 'using' call", async () => {
    const m = await start();
    const { scores } = await m.run({ x }, { keep: ["scores"] });
    const results = [m.run({ x }), m.run({ x })];
    await m[Symbol.asyncDispose]();
    for (const r of await Promise.all(results)) expect(r.scores?.data[5]).toBe(11);
    expect(() => m.read(scores)).toThrow(expect.objectContaining(disposed));
    scores[Symbol.dispose]();
    const other = await start();
    other[Symbol.dispose]();
    await expect(other.run({ x })).rejects.toMatchObject(disposed);
  });
  test("leaves nothing behind, after 100 models", () => {
    here.file("twice.tw", twiceText);
    here.file(
      "measure.mjs",
      `import { compile } from ${JSON.stringify(pathToFileURL(join(buildForTests(), "node/index.js")).href)};
const x = new Float32Array(1 << 20).fill(1);
const use = async () => {
  const m = await compile("twice.tw", { target: "native" });
  await m.run({ x }, { keep: ["y"] });
  m.runNow({ x });
  return m;
};
const settled = async () => {
  for (let i = 0; i < 4; i++) {
    globalThis.gc();
    await new Promise((done) => setTimeout(done, 20));
  }
  return process.memoryUsage().rss;
};
const empty = await settled();
const used = [await use(), await use(), await use()];
const inUse = await settled();
const bytes = used[0].info().memory_bytes;
for (const m of used) m.dispose();
let some;
for (let i = 1; i <= 100; i++) {
  (await use()).dispose();
  if (i === 20) some = await settled();
}
console.log(JSON.stringify({ empty, inUse, some, all: await settled(), bytes }));
`,
    );
    const r = spawnSync(process.execPath, ["--expose-gc", "measure.mjs"], { cwd: here.path, encoding: "utf8" });
    expect(r).toMatchObject({ status: 0, stderr: "" });
    const { empty, inUse, some, all, bytes } = JSON.parse(r.stdout) as Record<"empty" | "inUse" | "some" | "all" | "bytes", number>;
    expect(inUse - empty).toBeGreaterThan(2 * bytes);
    // Of the last 80 not one in twenty is left: allocators keep a few.
    expect((all - some) / bytes).toBeLessThan(80 / 20);
  }, 240_000);
});
