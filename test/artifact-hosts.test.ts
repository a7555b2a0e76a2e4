import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeArtifact } from "../src/node/artifact.ts";
import { headLine } from "../src/node/declarations.ts";
import { type LoadOptions, loadArtifact } from "../src/runtime/artifact.ts";
import type { Manifest, Model } from "../src/runtime/model.ts";
import type { WasmArtifact } from "../src/targets/wasm/artifact.ts";
import { CliFolder, buildForTests, mlpText } from "./support/cli.ts";

// What lets an artifact run where files cannot be found, or code cannot be compiled. `npm run test:hosts` tries the hosts themselves.

const here = new CliFolder();
const x = Float32Array.of(1, 0, 0, 0, 0, 1, 1, 1);
const scores = [1, 2, 3, -1, 10, 11];
const at = (...parts: readonly string[]): string => join(here.path, ...parts);
type Loader = { load(o?: LoadOptions): Promise<Model> };
const importUrl = (url: string): Promise<Loader> => import(/* @vite-ignore */ url) as Promise<Loader>;
async function scoresOf(model: Model): Promise<number[]> {
  return [...((await model.run({ x })).scores?.data ?? [])].map(Number);
}

beforeAll(async () => {
  buildForTests();
  here.file("mlp.tw", mlpText);
  for (const args of [["mlp"], ["inline", "--inline"], ["pieces", "--inline", "--shard", "40"]]) {
    const r = await here.spawn(["compile", "mlp.tw", "-o", ...(args as [string])]);
    if (r.status !== 0) throw new Error(r.stderr);
  }
});
afterAll(() => here.remove());

test("model.js names each of its files where a bundler looks, and imports nothing", () => {
  const text = readFileSync(at("mlp", "model.js"), "utf8");
  for (const file of ["model.wasm", "model.relaxed.wasm", "model.mt.wasm", "model.relaxed.mt.wasm", "model.weights.bin"])
    expect(text).toContain(`new URL("./${file}", import.meta.url)`);
  expect(text).toMatch(/new Worker\(new URL\("\.\/model\.js", import\.meta\.url\), \{ type: "module", name: "tilewright-thread-[0-9a-f]+" \}\)/);
  expect(text).not.toMatch(/\bimport\s*\(|^\s*import\b/m);
  expect(text).not.toMatch(/\beval\(|new Function|createObjectURL|blob:/);
});

test("--inline makes one script of all, which gives the same results", async () => {
  for (const folder of ["inline", "pieces"]) {
    expect(here.list(folder)).toEqual(["model.d.ts", "model.js", "model.json", "package.json"]);
    const { load } = await importUrl(pathToFileURL(at(folder, "model.js")).href);
    expect(await scoresOf(await load())).toEqual(scores);
  }
  const run = await here.run(["run", "inline", "--random", "1"]);
  expect(run).toMatchObject({ status: 0, stdout: (await here.run(["run", "mlp", "--random", "1"])).stdout });
  const r = await here.run(["compile", "mlp.tw", "-o", "c", "--target", "c", "--inline"]);
  expect(r).toMatchObject({ status: 2, stderr: expect.stringMatching(/--inline is for --target wasm/) });
});

test("what is too large for one script is refused before anything is written", async () => {
  const artifact = { modules: [new Uint8Array(10)], manifest: { weight_bytes: 2 ** 28 } } as unknown as WasmArtifact;
  await expect(writeArtifact(artifact, at("large"), { inline: true })).rejects.toMatchObject({
    code: "inline",
    message: expect.stringMatching(/have 268435466 bytes; one script can hold 268435456: leave out --inline/),
  });
  expect(here.list("large")).toEqual([]);
});

test("an artifact without --inline takes the place of one with it, and the other way round", async () => {
  expect((await here.spawn(["compile", "mlp.tw", "-o", "pieces"])).status).toBe(0);
  expect(here.list("pieces")).toEqual(here.list("mlp"));
  expect((await here.spawn(["compile", "mlp.tw", "-o", "pieces", "--inline"])).status).toBe(0);
  expect(here.list("pieces")).toEqual(here.list("inline"));
});

test("a script that does not know where it lies loads what it is given, and says what is missing otherwise", async () => {
  const asUrl = (file: string) => `data:text/javascript;base64,${readFileSync(file).toString("base64")}`;
  const { load } = await importUrl(asUrl(at("mlp", "model.js")));
  const wasm = readFileSync(at("mlp", "model.wasm"));
  const weights = new Uint8Array(readFileSync(at("mlp", "model.weights.bin")));
  expect(await scoresOf(await load({ wasm: await WebAssembly.compile(wasm as BufferSource), weights }))).toEqual(scores);
  expect(await scoresOf(await load({ wasm: new Uint8Array(wasm), weights }))).toEqual(scores);
  expect(await scoresOf(await load({ wasm: new Uint8Array(wasm).buffer, weights: weights.buffer }))).toEqual(scores);
  await expect(load({ wasm })).rejects.toMatchObject({
    name: "UserError",
    code: "artifact",
    message: expect.stringMatching(/model.weights.bin cannot be found.*load\(\{ wasm, weights \}\).*--inline/),
  });
  await expect(load()).rejects.toMatchObject({ code: "artifact", message: expect.stringMatching(/wasm cannot be found/) });
  await expect(load({ wasm: "model.wasm" as never })).rejects.toMatchObject({
    code: "artifact",
    message: expect.stringMatching(/must be a WebAssembly.Module/),
  });
  await expect(load({ wasm: wasm.subarray(0, 100) })).rejects.toMatchObject({
    code: "artifact",
    message: expect.stringMatching(/the given module is damaged/),
  });
  const inline = await importUrl(asUrl(at("inline", "model.js")));
  expect(await scoresOf(await inline.load())).toEqual(scores);
});

test("weights may be a data: URL, as bundlers make of small files", async () => {
  const { load } = await importUrl(pathToFileURL(at("mlp", "model.js")).href);
  const bytes = readFileSync(at("mlp", "model.weights.bin"));
  const url = (b: Uint8Array) => new URL(`data:application/octet-stream;base64,${Buffer.from(b).toString("base64")}`);
  expect(await scoresOf(await load({ weights: url(bytes) }))).toEqual(scores);
  await expect(load({ weights: url(bytes.subarray(4)) })).rejects.toMatchObject({
    code: "artifact",
    message: expect.stringMatching(/model.weights.bin: expected 64 bytes, got 60/),
  });
});

describe("files over HTTP", () => {
  const manifest = (): Manifest => JSON.parse(readFileSync(at("mlp", "model.json"), "utf8")) as Manifest;
  /** Serves the artifact; `answer` may answer a request for a file itself. */
  async function served(
    answer: (file: string, response: ServerResponse) => boolean,
    use: (find: (file: string) => URL) => Promise<void>,
  ): Promise<void> {
    const server = createServer((request, response) => {
      const file = request.url?.slice(1) ?? "";
      if (!answer(file, response)) response.end(readFileSync(at("mlp", file)));
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    try {
      await use((file) => new URL(file, `http://127.0.0.1:${(server.address() as AddressInfo).port}/`));
    } finally {
      server.closeAllConnections();
      server.close();
    }
  }

  test("the weights are asked for while the module is on its way", async () => {
    // The module comes only after the weights were asked for.
    let waiting: (() => void) | null = null;
    let weights = 0;
    const answer = (file: string, response: ServerResponse): boolean => {
      if (file.endsWith(".bin")) {
        weights++;
        waiting?.();
        return false;
      }
      const send = () => response.end(readFileSync(at("mlp", file)));
      if (weights > 0) send();
      else waiting = send;
      return true;
    };
    await served(answer, async (find) => {
      for (let i = 1; i <= 2; i++) {
        expect(await scoresOf(await loadArtifact(manifest(), find))).toEqual(scores);
        expect(weights).toBe(i);
      }
    });
  });

  test.each([
    ["missing", (r: ServerResponse) => r.writeHead(404).end(), /model.weights.bin: 404 Not Found; is the file served/],
    ["too long", (r: ServerResponse) => r.end(new Uint8Array(65)), /expected 64 bytes, got more/],
    ["too short", (r: ServerResponse) => r.end(new Uint8Array(63)), /expected 64 bytes, got 63/],
    [
      "cut off",
      (r: ServerResponse) => r.writeHead(200, { "content-length": "64" }).write(new Uint8Array(10), () => r.destroy()),
      /cannot be fetched/,
    ],
  ])("%s", async (_, answer, message) => {
    const bad = (file: string, response: ServerResponse): boolean => {
      if (file.endsWith(".bin")) answer(response);
      return file.endsWith(".bin");
    };
    await served(bad, async (find) => {
      await expect(loadArtifact(manifest(), find)).rejects.toMatchObject({
        name: "UserError",
        code: "artifact",
        message: expect.stringMatching(message),
      });
    });
  });

  test("a module that is missing fails the load, whatever becomes of the weights", async () => {
    const answer = (file: string, response: ServerResponse): boolean => {
      if (file.endsWith(".wasm")) response.writeHead(500).end();
      return file.endsWith(".wasm");
    };
    await served(answer, async (find) => {
      await expect(loadArtifact(manifest(), find)).rejects.toMatchObject({ code: "artifact", message: expect.stringMatching(/wasm: 500/) });
    });
  });
});

test("where compiling is forbidden, the error says what to do", () => {
  const script = `WebAssembly.compile = async () => { throw new WebAssembly.CompileError("violates the Content Security policy because 'unsafe-eval' is not allowed"); };
    const { load } = await import("./mlp/model.js");
    const e = await load().catch((e) => e);
    console.log(e.name, e.code, e.message);`;
  const r = spawnSync(process.execPath, ["--input-type=module", "-e", script], { cwd: here.path, encoding: "utf8" });
  expect(r.stdout).toMatch(/^UserError engine .*add 'wasm-unsafe-eval' to script-src.*load\(\{ wasm, weights \}\)/);
});

test("a host without workers, registries of objects, or Node's modules runs on one thread", () => {
  const script = `const { readFileSync } = await import("node:fs");
    const wasm = new WebAssembly.Module(readFileSync("mlp/model.wasm"));
    const weights = new Uint8Array(readFileSync("mlp/model.weights.bin"));
    for (const name of ["process", "FinalizationRegistry", "Worker", "fetch", "SharedArrayBuffer"]) Object.defineProperty(globalThis, name, { value: undefined });
    const { load } = await import("./mlp/model.js");
    const m = await load({ wasm, weights, threads: 2 });
    console.log(Array.from((await m.run({ x: [1, 0, 0, 0, 0, 1, 1, 1] })).scores.data).join());
    m.dispose();`;
  const r = spawnSync(process.execPath, ["--input-type=module", "-e", script], { cwd: here.path, encoding: "utf8" });
  expect(r).toMatchObject({ status: 0, stdout: `${scores}\n` });
});

test("no name of a model ends the comment or the script that it stands in", async () => {
  expect(headLine({ name: "a\nb\u2028c", version: "1" })).toBe("// a b c, compiled by tilewright 1");
  here.file("odd.tw", mlpText.replaceAll("scores", "</script>"));
  const r = await here.spawn(["compile", "odd.tw", "-o", "odd"]);
  expect(r.stderr).toBe("");
  expect(readFileSync(at("odd", "model.js"), "utf8")).not.toContain("</script>");
});
