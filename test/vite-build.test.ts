import { mkdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Plugin, build } from "vite";
import { afterAll, describe, expect, test } from "vitest";
import { touch } from "../src/node/vite/cache.ts";
import type { TilewrightOptions } from "../src/node/vite/index.ts";
import { requestOf } from "../src/node/vite/options.ts";
import { externalEntries, model as onnx, rawBytes } from "./support/onnx.ts";
import { pluginFile, project, removeProjects, runNode, scaleText, tilewright, type ViteProject } from "./support/vite-project.ts";

// The Vite plugin: the types that it writes, what it tells of what is wrong, its jobs and its cache.

const root = fileURLToPath(new URL("../", import.meta.url));
afterAll(removeProjects);

describe("types", () => {
  const use = `import { load } from "./scale.tw";
import { load as other } from "./scale.tw?threads=2&exact";
export const same: typeof load = other;
const model = await load({ threads: 2 });
const { y } = await model.run({ x: new Float32Array(1024) });
export const data: Float32Array = y.data;
// @ts-expect-error There is no such output.
export const none = (await model.run({ x: [1] })).z;
// @ts-expect-error It is no text.
export const text: string = await (await other()).run({ x: [1] });
`;
  const tsconfig = (more: object) =>
    JSON.stringify({
      compilerOptions: { target: "es2022", lib: ["es2022", "dom"], strict: true, noEmit: true, types: [], ...more },
      include: ["src"],
    });
  const cases = [
    ["bundler", { module: "esnext", moduleResolution: "bundler" }],
    ["nodenext", { module: "nodenext", allowArbitraryExtensions: true }],
  ] as const;

  test.each(cases)("TypeScript finds them with moduleResolution %s, queries included", async (types, options) => {
    const p = project({ "src/main.ts": use, "src/scale.tw": scaleText(2), "tsconfig.json": tsconfig(options) });
    await build(p.config({ types }, { build: { lib: { entry: "src/main.ts", formats: ["es"] } } }));
    expect(p.list("src")).toEqual(
      ["main.ts", types === "bundler" ? "scale.tw.d.ts" : "scale.d.tw.ts", "scale.tw", "scale.tw.threads-2-exact.d.ts"].sort(),
    );
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    expect(await runNode(p, [tsc]).catch((e: { stdout: string }) => e.stdout)).toBe("");
  });

  test("none are written where none are wanted, and a file of the user's own stays", async () => {
    const p = project({ "src/main.js": 'export * from "./scale.tw";', "src/scale.tw": scaleText(2) });
    const lib = { build: { lib: { entry: "src/main.js", formats: ["es" as const] } } };
    await build(p.config({ types: false }, lib));
    expect(p.list("src")).toEqual(["main.js", "scale.tw"]);
    p.write("src/scale.tw.d.ts", "export const load: 1;\n");
    await build(p.config({}, lib));
    expect(readFileSync(join(p.path, "src/scale.tw.d.ts"), "utf8")).toBe("export const load: 1;\n");
  });

  test("the plugin is one of Vite's", () => {
    const plugin: Plugin = tilewright({ threads: 2 });
    expect(plugin.name).toBe("tilewright");
  });
});

describe("what is wrong is told", () => {
  const message = async (importing: string, options: TilewrightOptions = {}, files: Readonly<Record<string, string | Uint8Array>> = {}) => {
    const p = project({ "src/main.js": `export * from ${JSON.stringify(importing)};`, "src/scale.tw": scaleText(2), ...files });
    const failed = await build(p.config(options, { build: { lib: { entry: "src/main.js", formats: ["es"] } } })).then(
      () => null,
      (e: Error) => e.message,
    );
    expect(p.list("node_modules/.vite/tilewright")).toEqual([]);
    return failed;
  };
  const unknown = onnx({
    nodes: [
      { op: "Frob", in: ["x"], out: ["h"], name: "one" },
      { op: "Grok", in: ["h"], out: ["y"], name: "two" },
    ],
    inputs: { x: ["f32", [2]] },
    outputs: ["y"],
  });

  test.each<[importing: string, options: TilewrightOptions, expected: RegExp]>([
    ["./unknown.onnx", {}, /src\/unknown.onnx cannot be compiled: [\s\S]*Frob.*'one'[\s\S]*Grok.*'two'/],
    ["./scale.tw?thread=2", {}, /'\?thread=2' asks for 'thread', which is no option; there are: threads, shape/],
    ["./scale.tw?threads=no", {}, /'no' is no whole number of at least 1/],
    ["./scale.tw?exact=perhaps", {}, /'perhaps' is neither true nor false/],
    ["./scale.tw?kept-memory=much", {}, /'much' is no size/],
    ["./scale.tw?max-memory=1kB", {}, /the planned peak is .* more than the limit of 1.0 KiB/],
    ["./scale.tw", { features: ["fast" as "simd"] }, /unknown feature 'fast'/],
    ["./scale.tw", { models: { "src/scale.tw": { shard: "soon" } } }, /'soon' is no size/],
    ["./scale.tw", { thread: 2 } as TilewrightOptions, /there is no option 'thread'/],
    ["./scale.tw", { db: "no.json" }, /no.json: cannot be read \(it does not exist\)/],
    ["./none.onnx", {}, /Could not resolve|not found|UNLOADABLE|ENOENT|no such file/i],
  ])("%s %o", async (importing, options, expected) => {
    expect(await message(importing, options, { "src/unknown.onnx": unknown })).toMatch(expected);
  });

  test("imports that ask Vite for something are left to Vite", async () => {
    const p = project({ "src/main.js": 'import text from "./scale.tw?raw";\nexport const length = text.length;\n', "src/scale.tw": scaleText(2) });
    await build(p.config({}, { build: { lib: { entry: "src/main.js", formats: ["es"], fileName: "main" } } }));
    expect(p.told.filter((t) => t.startsWith("tilewright"))).toEqual([]);
    expect(await runNode(p, ["-e", `import("./dist/main.js").then((m) => console.log(m.length))`])).toBe(`${scaleText(2).length}\n`);
  });
});

describe("jobs", () => {
  const request = requestOf([], (file) => file);
  const jobsIn = async (p: ViteProject) => {
    const { Jobs } = (await import(join(dirname(pluginFile), "jobs.js"))) as typeof import("../src/node/vite/jobs.ts");
    return new Jobs(join(p.path, "cache"));
  };

  test("one that is asked for twice runs once, and begins anew when its model changes meanwhile", async () => {
    const p = project({ "scale.tw": scaleText(2) });
    const jobs = await jobsIn(p);
    const file = join(p.path, "scale.tw");
    const steps: string[] = [];
    const changeOnce = (step: string) => {
      if (steps.push(step) !== 1) return;
      p.write("scale.tw", scaleText(7));
      jobs.changed(file);
    };
    const [one, two] = await Promise.all([jobs.get(file, request, changeOnce), jobs.get(file, request, () => expect.unreachable())]);
    expect(two).toBe(one);
    expect(steps.filter((s) => s === "reading")).toHaveLength(2);
    const { load } = (await import(join(one.folder, "model.js"))) as { load(): Promise<import("../src/runtime/model.ts").Model> };
    const { y } = await (await load()).run({ x: new Float32Array(512 * 1024).fill(1) });
    expect(y).toMatchObject({ data: expect.toSatisfy((d: Float32Array) => d[0] === 7) });
  });

  test("external data that changes while its model is compiled is not mixed with what it was", async () => {
    const w = (values: readonly number[]) => rawBytes("f32", values);
    const linear = onnx({
      nodes: [{ op: "MatMul", in: ["x", "w"], out: ["y"] }],
      inputs: { x: ["f32", [1, 2]] },
      outputs: ["y"],
      initializers: { w: { dtype: "f32", dims: [2, 2], extra: externalEntries({ location: "weights.bin" }) } },
    });
    const p = project({ "linear.onnx": linear, "weights.bin": w([1, 2, 3, 4]) });
    const jobs = await jobsIn(p);
    let changes = 0;
    const { folder, files } = await jobs.get(join(p.path, "linear.onnx"), request, (step) => {
      if (step === "reading" && ++changes === 1) p.write("weights.bin", w([1, 2, 3, 5]));
    });
    expect(files).toEqual([join(p.path, "weights.bin")]);
    expect(changes).toBe(2);
    const { load } = (await import(join(folder, "model.js"))) as { load(): Promise<import("../src/runtime/model.ts").Model> };
    const { y } = await (await load()).run({ x: [1, 1] });
    expect(y).toMatchObject({ data: new Float32Array([4, 7]) });
  });

  test("they fail when Vite ends, those that wait for their turn too", async () => {
    const p = project({ "scale.tw": scaleText(2) });
    const jobs = await jobsIn(p);
    const names = ["a", "b", "c", "d", "e", "f", "g", "h"].map((name) => join(p.path, `${name}.tw`));
    for (const name of names) writeFileSync(name, scaleText(2));
    const all = Promise.allSettled(names.map((name) => jobs.get(name, request, () => {})));
    jobs.close();
    expect((await all).map((r) => (r.status === "rejected" ? r.reason.message : r.value))).toEqual(
      names.map(() => "it was not done when Vite ended"),
    );
  });
});

test("artifacts that nobody used for a month leave the cache", () => {
  const p = project({});
  const day = 24 * 3600;
  for (const [name, days] of [
    ["used", 40],
    ["old", 31],
    ["young", 29],
  ] as const) {
    mkdirSync(join(p.path, "cache", name), { recursive: true });
    const time = Date.now() / 1000 - days * day;
    utimesSync(join(p.path, "cache", name), time, time);
  }
  touch(join(p.path, "cache"), join(p.path, "cache/used"));
  expect(p.list("cache")).toEqual(["used", "young"]);
});
