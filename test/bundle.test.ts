import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { browserMissing, inBrowser, isolation } from "./support/browser.ts";
import { buildForTests, mlpText } from "./support/cli.ts";

// The compiler as pages get it: bundled, and in a worker. In Node the same worker is a thread.

const root = fileURLToPath(new URL("../", import.meta.url));
const digits = join(root, "examples/digits");
if (browserMissing !== null) console.log(`the bundle is not tried in a browser: ${browserMissing}`);

/** Bytes that the compiler may have, zipped, as issue budgets: what a page loads for it. */
const budget = 300_000;

interface Metafile {
  readonly outputs: Readonly<Record<string, { readonly imports: readonly { readonly path: string; readonly external?: boolean }[] }>>;
}
interface Bundler {
  readonly bundleBrowser: (dist: string, out: string) => Metafile;
  readonly filesOf: (m: Metafile, name: string) => readonly string[];
}

let dist: string;
let metafile: Metafile;
let filesOf: Bundler["filesOf"];
const out = mkdtempSync(join(tmpdir(), "tilewright-bundle-"));
const folder = join(out, "static");
beforeAll(async () => {
  dist = buildForTests();
  const bundler = (await import(pathToFileURL(join(root, "scripts/bundle-browser.mjs")).href)) as Bundler;
  metafile = bundler.bundleBrowser(dist, folder);
  filesOf = bundler.filesOf;
});
afterAll(() => rmSync(out, { recursive: true, force: true }));

/** Bytes of all files that a page or a worker loads for one of them: as they are, and zipped one by one. */
function sizesOf(name: string): { raw: number; zipped: number } {
  const files = filesOf(metafile, name).map((p) => readFileSync(join(folder, p.split("/").at(-1) as string)));
  return { raw: files.reduce((n, f) => n + f.length, 0), zipped: files.reduce((n, f) => n + gzipSync(f, { level: 9 }).length, 0) };
}

test("the compiler for pages is small, and stands alone", () => {
  const names = { tilewright: "compiler", worker: "page beside a worker", "compile-worker": "its worker", "explorer-worker": "explorer's worker" };
  const kB = (n: number) => `${(n / 1000).toFixed(1)} kB`;
  for (const [name, what] of Object.entries(names)) {
    const { raw, zipped } = sizesOf(name);
    console.log(`browser/${name}.js with all that it loads (${what}): ${kB(raw)}, zipped ${kB(zipped)}`);
  }
  expect(sizesOf("tilewright").zipped).toBeLessThan(budget);
  expect(sizesOf("compile-worker").zipped).toBeLessThan(budget);
  // Beside a worker the page has no part of the compiler.
  expect(sizesOf("worker").zipped).toBeLessThan(sizesOf("tilewright").zipped / 10);
  for (const o of Object.values(metafile.outputs)) expect(o.imports.filter((i) => i.external === true)).toEqual([]);
  for (const f of readdirSync(folder).filter((x) => x.endsWith(".js"))) {
    const text = readFileSync(join(folder, f), "utf8");
    expect(/\beval\(|new Function\(|\bdocument\.|createObjectURL/.exec(text)?.[0], f).toBeUndefined();
  }
  // What other people wrote is told.
  expect(readFileSync(join(folder, "LICENSES.txt"), "utf8")).toContain("code of pbf ");
});

test("Node: a model is compiled in a thread, and runs here", async () => {
  const { compile } = (await import(pathToFileURL(join(dist, "node/worker.js")).href)) as typeof import("../src/node/worker.ts");
  const here = (await import(pathToFileURL(join(dist, "node/index.js")).href)) as typeof import("../src/node/index.ts");
  const file = join(digits, "digits.onnx");
  const seen: string[] = [];
  let turns = 0;
  const turn = setInterval(() => turns++, 5);
  const model = await compile(file, { onProgress: (p) => seen.push(`${p.done}/${p.of}`) });
  clearInterval(turn);
  // This thread was free meanwhile.
  expect(turns).toBeGreaterThan(10);
  expect(seen).toEqual(seen.map((_, i) => `${i + 1}/${seen.length}`));
  const image = new Float32Array(64).fill(0.5);
  const { logits } = await model.run({ image });
  const other = await here.compile(file);
  expect(logits).toEqual((await other.run({ image })).logits);
  expect(model.info()).toEqual(other.info());
  model.dispose();
  other.dispose();

  const bytes = new TextEncoder().encode(mlpText);
  await expect(compile(join(digits, "none.onnx"))).rejects.toMatchObject({ name: "UserError", code: "file" });
  await expect(compile(new TextEncoder().encode("hello"))).rejects.toMatchObject({ name: "UserError", code: "not-onnx" });
  await expect(compile(bytes, { threads: 0 })).rejects.toMatchObject({ name: "UserError", code: "threads" });
  const stop = new AbortController();
  const aborted = compile(bytes, { signal: stop.signal, onProgress: () => stop.abort(new Error("enough")) });
  await expect(aborted).rejects.toThrow("enough");
  await expect(compile(bytes, { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: "AbortError" });
  const faulty = compile(bytes, {
    onProgress: () => {
      throw new Error("in the caller's own code");
    },
  });
  await expect(faulty).rejects.toThrow("in the caller's own code");
  // Bytes stay the caller's, unless they are handed over.
  expect(bytes.length).toBeGreaterThan(0);
  (await compile(bytes, { transfer: true })).dispose();
  expect(bytes.length).toBe(0);
});

/** Enough work for threads. */
const product = `graph @product {
  input %a: f32[256, 256]
  input %b: f32[256, 256]
  %y: f32[256, 256] = dot(%a, %b) {batchA = [], batchB = [], contractA = [1], contractB = [0]}
  output %y
}
`;
const policy = "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; worker-src 'self'";

test.skipIf(browserMissing !== null)(
  "a page compiles in a worker while it stays free, from a folder of static files, under a strict policy",
  async () => {
    const script = `
      const { compile, UserError } = await import("/static/worker.js");
      const bytes = new Uint8Array(await (await fetch("/digits/digits.onnx")).arrayBuffer());
      const image = new Float32Array(64).fill(0.5);
      const text = async (model) => Array.from((await model.run({ image })).logits.data, (x) => x.toFixed(3)).join(" ");
      const said = {};
      let turns = 0;
      const timer = setInterval(() => turns++, 5);
      const steps = [];
      const model = await compile(bytes, { onProgress: (p) => steps.push(p.done / p.of) });
      clearInterval(timer);
      said.turns = turns; said.steps = steps; said.worker = await text(model);
      model.dispose();
      const ones = new Float32Array(256 * 256).fill(1);
      const large = await compile(new TextEncoder().encode(${JSON.stringify(product)}), { threads: 2 });
      said.threads = [large.info().threads, large.info().threads_reason, (await large.run({ a: ones, b: ones })).y.data.every((v) => v === 256)];
      large.dispose();
      said.error = await compile(new TextEncoder().encode("hello")).catch((e) => [e instanceof UserError, e.code]);
      const stop = new AbortController();
      said.aborted = await compile(new Blob([bytes]), { signal: stop.signal, onProgress: () => stop.abort() }).catch((e) => e.name);
      said.missing = await compile(bytes, { worker: () => new Worker("/static/nowhere.js", { type: "module" }) }).catch((e) => e.code);
      const library = await import("/static/tilewright.js");
      said.library = await text(await library.compile(bytes));
      const { ExplorerClient } = await import("/static/explorer.js");
      const explorer = new ExplorerClient();
      const x = await explorer.open(bytes);
      const ran = await explorer.run({ inputs: { image: { data: image, dims: [1, 1, 8, 8] } } });
      said.explorer = Array.from(ran.outputs.logits.data, (v) => v.toFixed(3)).join(" ");
      said.kernels = x.program.kernels.length;
      explorer.close();
      say(JSON.stringify(said));`;
    const said = JSON.parse(await inBrowser(script, { static: folder, digits }, { ...isolation, "content-security-policy": policy })) as {
      readonly [k: string]: unknown;
      readonly steps: readonly number[];
    };
    expect(said.worker).toMatch(/^-?\d+\.\d{3}( -?\d+\.\d{3}){9}$/);
    expect(said).toMatchObject({ library: said.worker, explorer: said.worker, error: [true, "not-onnx"], aborted: "AbortError", missing: "worker" });
    expect(said.threads).toEqual([2, "2 threads were asked for", true]);
    expect(said.turns).toBeGreaterThan(10);
    expect([...said.steps].sort((a, b) => a - b)).toEqual(said.steps);
    expect(said.steps.at(-1)).toBe(1);
    expect(said.kernels).toBeGreaterThan(5);
  },
  120_000,
);
