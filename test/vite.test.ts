import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, createServer, preview } from "vite";
import { afterAll, describe, expect, test } from "vitest";
import type { TilewrightOptions } from "../src/node/vite/index.ts";
import { browserMissing } from "./support/browser.ts";
import { externalEntries, model as onnx, rawBytes } from "./support/onnx.ts";
import { openPage } from "./support/page.ts";
import { pluginFile, project, removeProjects, runNode, scaleText, urlOf } from "./support/vite-project.ts";

// Models that modules import, under Vite: the development server, builds for pages and for servers, and Vitest.

const root = fileURLToPath(new URL("../", import.meta.url));
if (browserMissing !== null) console.log(`Vite in a browser is skipped: ${browserMissing}`);
const digits = join(root, "examples/digits/digits.onnx");
afterAll(removeProjects);
const page = (script: string) => `<!doctype html><meta charset="utf-8"><title>page</title><script type="module" src="${script}"></script>`;
const say = `const say = (body) => fetch(import.meta.env.BASE_URL + "said", { method: "POST", body });
addEventListener("error", (e) => say("failed: " + e.message));
addEventListener("unhandledrejection", (e) => say("failed: " + e.reason?.stack));
`;

describe.skipIf(browserMissing !== null)("in a browser", () => {
  test("development: threads run, a changed model comes in, a wrong one is told of, and the next one works again", async () => {
    const p = project({
      "index.html": page("/src/main.js"),
      "src/main.js": `import { load } from "./scale.tw?threads=2";
${say}
async function show(load) {
  const model = await load();
  const { y } = await model.run({ x: new Float32Array(512 * 1024).fill(1.5) });
  say(y.data[0] + " " + y.data[9999] + ", " + model.info().threads + " threads");
  model.dispose();
}
import.meta.hot.accept("./scale.tw?threads=2", (m) => m && show(m.load));
import.meta.hot.on("vite:error", (e) => say("error: " + e.err.message + e.err.stack));
await show(load);
`,
      "src/scale.tw": scaleText(2),
    });
    // The cache may lie anywhere.
    const elsewhere = project({});
    const server = await createServer(p.config({ isolate: true, cacheDir: join(elsewhere.path, "cache") }));
    await server.listen();
    const { heard, close } = openPage(urlOf(server), p.ear);
    try {
      expect(await heard()).toBe("3 3, 2 threads");
      p.write("src/scale.tw", scaleText(3));
      expect(await heard()).toBe("4.5 4.5, 2 threads");
      p.write("src/scale.tw", scaleText(3).replace("mul(%x, %b)", "mull(%x, %b)"));
      expect(await heard()).toMatch(/^error: src\/scale.tw\?threads=2 cannot be compiled: [\s\S]*mull/);
      p.write("src/scale.tw", scaleText(4));
      expect(await heard()).toBe("6 6, 2 threads");
    } finally {
      await close();
      await server.close();
    }
    expect(p.told.filter((t) => t.startsWith("tilewright: src/scale.tw?threads=2: code"))).toHaveLength(3);
  });

  test("build: under a base, with hashed files, threads, a worker of the user's own, and a strict content security policy", async () => {
    const p = project({
      "index.html": page("/src/main.ts").replace(
        "<title>",
        `<meta http-equiv="content-security-policy" content="default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"><title>`,
      ),
      "src/main.ts": `import { load } from "./scale.tw";
import { load as loadDigits } from "./digits.onnx?features=simd,relaxed";
import { load as small } from "./small.tw?inline";
${say}
const model = await load();
const { y } = await model.run({ x: new Float32Array(512 * 1024).fill(1.5) });
const tiny = await small();
const { logits } = await (await loadDigits()).run({ image: new Float32Array(64).fill(0.5) });
const said = [y.data[0], model.info().threads, (await tiny.run({ x: [1] })).y.data[0], logits.data[0].toFixed(3)];
const worker = new Worker(new URL("./own.ts", import.meta.url), { type: "module" });
worker.addEventListener("message", (e) => say([...said, e.data].join(" ")));
`,
      "src/own.ts": `import { load } from "./scale.tw?deterministic";
const model = await load();
const { y } = await model.run({ x: new Float32Array(512 * 1024).fill(2.5) });
postMessage([y.data[7], model.info().threads, model.info().relaxed_simd].join(" "));
`,
      "src/scale.tw": scaleText(2),
      "src/small.tw": scaleText(5).replaceAll("512, 1024", "1"),
    });
    p.copy(digits, "src/digits.onnx");
    const config = p.config({ isolate: true, models: { "src/scale.tw": { threads: 2 } } }, { base: "/sub/path/", worker: { format: "es" } });
    await build(config);
    const assets = p.list("dist/assets");
    for (const name of ["model-[\\w-]+\\.wasm", "model\\.relaxed-[\\w-]+\\.wasm", "model\\.weights-[\\w-]+\\.bin"])
      expect(assets.filter((f) => new RegExp(`^${name}$`).test(f)).length, name).toBeGreaterThan(0);
    const server = await preview(config);
    const { heard, close } = openPage(urlOf(server), p.ear);
    try {
      expect(await heard()).toBe("3 2 5 0.333 5 2 false");
    } finally {
      await close();
      await server.close();
    }
  });
});

describe("on servers", () => {
  const script = `import { load } from "./scale.tw";
export async function scale(value) {
  const model = await load({ threads: 2 });
  const { y } = await model.run({ x: new Float32Array(512 * 1024).fill(value) });
  const { threads, threads_reason } = model.info();
  model.dispose();
  return y.data[0] + " " + y.data[9999] + ", " + threads + " threads" + (threads > 1 ? "" : ": " + threads_reason);
}
`;
  const saying = "const { scale } = await import(/* @vite-ignore */ process.argv[2]);\nconsole.log(await scale(1.5));\n";

  test("development: a module that the server itself runs", async () => {
    const p = project({ "src/scale.js": script, "src/scale.tw": scaleText(2) });
    const server = await createServer(p.config({}, { server: { middlewareMode: true, ws: false } }));
    const { scale } = await server.ssrLoadModule("/src/scale.js");
    expect(await scale(1.5)).toBe("3 3, 2 threads");
    await server.close();
  });

  test("build: the artifact lies beside what is built, whole, and is imported from there", async () => {
    const files = { "src/scale.js": script, "src/inline.js": script.replace("scale.tw", "scale.tw?inline"), "src/say.js": saying };
    const p = project({ ...files, "src/scale.tw": scaleText(2) });
    const input = Object.keys(files).map((f) => join(p.path, f));
    await build(p.config({}, { build: { ssr: true, rolldownOptions: { input, output: { entryFileNames: "deep/[name].js" } } } }));
    const [folder, ...more] = p.list("dist/models");
    expect(folder).toMatch(/^scale-[0-9a-f]{8}$/);
    expect(more).toEqual([]);
    expect(await runNode(p, ["dist/deep/say.js", "./scale.js"])).toBe("3 3, 2 threads\n");
    // One file has no script for threads.
    expect(await runNode(p, ["dist/deep/say.js", "./inline.js"])).toMatch(/^3 3, 1 threads: .*1 of 1 workers did not start: /);
  });

  test("Vitest: a test imports a model", async () => {
    const p = project({
      "src/scale.js": script,
      "src/scale.tw": scaleText(2),
      "src/scale.test.js": `import { expect, test } from "vitest";
import { scale } from "./scale.js";
test("scale", async () => expect(await scale(1.5)).toBe("3 3, 2 threads"));
`,
      "vitest.config.js": `import { tilewright } from ${JSON.stringify(pluginFile)};
export default { plugins: [tilewright()] };
`,
    });
    expect(await runNode(p, [join(root, "node_modules/vitest/vitest.mjs"), "run", "--reporter=json"])).toContain('"numPassedTests":1');
  });
});

describe("the cache", () => {
  test("a model is compiled once; another model, other options and other external data are another artifact", async () => {
    const weights = { location: "weights.bin" };
    const p = project({
      "main.js": `import { load } from "./linear.onnx";
export const run = async () => [...(await (await load()).run({ x: [1, 1] })).y.data].join(" ");
`,
      "linear.onnx": onnx({
        nodes: [{ op: "MatMul", in: ["x", "w"], out: ["y"] }],
        inputs: { x: ["f32", [1, 2]] },
        outputs: ["y"],
        initializers: { w: { dtype: "f32", dims: [2, 2], extra: externalEntries(weights) } },
      }),
      "weights.bin": rawBytes("f32", [1, 2, 3, 4]),
    });
    const compiled = () => p.told.filter((t) => t.startsWith("tilewright: linear.onnx: code")).length;
    const once = async (options: TilewrightOptions = {}) => {
      const server = await createServer(p.config(options, { server: { middlewareMode: true, ws: false } }));
      const { run } = await server.ssrLoadModule("/main.js");
      const result = await run();
      await server.close();
      return `${result}; ${compiled()} compiled`;
    };
    expect(await once()).toBe("4 6; 1 compiled");
    expect(await once()).toBe("4 6; 1 compiled");
    p.write("weights.bin", rawBytes("f32", [1, 2, 3, 5]));
    expect(await once()).toBe("4 7; 2 compiled");
    expect(await once({ exact: true })).toBe("4 7; 3 compiled");
    p.write("weights.bin", rawBytes("f32", [1, 2, 3, 4]));
    expect(await once()).toBe("4 6; 3 compiled");
    expect(p.list("node_modules/.vite/tilewright").filter((f) => !f.endsWith(".json"))).toHaveLength(3);
  });

  test("a file of external data that changes is a change of the model", async () => {
    const p = project({});
    p.write(
      "main.js",
      'import { load } from "./linear.onnx";\nexport const run = async () => [...(await (await load()).run({ x: [1, 1] })).y.data].join(" ");\n',
    );
    p.write("weights.bin", rawBytes("f32", [1, 2, 3, 4]));
    p.write(
      "linear.onnx",
      onnx({
        nodes: [{ op: "MatMul", in: ["x", "w"], out: ["y"] }],
        inputs: { x: ["f32", [1, 2]] },
        outputs: ["y"],
        initializers: { w: { dtype: "f32", dims: [2, 2], extra: externalEntries({ location: "weights.bin" }) } },
      }),
    );
    const server = await createServer(p.config({}, { server: { middlewareMode: true, ws: false } }));
    const result = async () => (await server.ssrLoadModule("/main.js")).run();
    expect(await result()).toBe("4 6");
    p.write("weights.bin", rawBytes("f32", [1, 2, 3, 5]));
    await expect.poll(result, { timeout: 20_000 }).toBe("4 7");
    await server.close();
  });
});
