import { readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readNpy, writeNpy } from "../src/data/npy.ts";
import { CliFolder, buildForTests, mlpText } from "./support/cli.ts";
import { externalEntries, model } from "./support/onnx.ts";

const digits = fileURLToPath(new URL("../examples/digits", import.meta.url));
const here = new CliFolder();
beforeAll(() => {
  buildForTests();
  here.file("mlp.tw", mlpText);
  here.file("x.npy", writeNpy("f32", [2, 4], Float32Array.of(1, 0, 0, 0, 0, 1, 1, 1)));
});
afterAll(() => here.remove());

const dense = { dtype: "f32", dims: [2, 2], values: [1, 2, 3, 4] } as const;
const symbolic = model({
  nodes: [{ op: "MatMul", in: ["x", "w"], out: ["y"] }],
  inputs: { x: ["f32", ["n", 2]] },
  outputs: ["y"],
  initializers: { w: dense },
});

describe("every command", () => {
  test.each(["compile", "run", "bench", "inspect", "ir", "check", "doctor"])("%s --help shows an example", async (name) => {
    const r = await here.run([name, "--help"]);
    expect(r).toMatchObject({ status: 0, stderr: "" });
    expect(r.stdout).toMatch(new RegExp(`\\$ npx tilewright ${name}`));
  });
  test("a process of its own: status, stdout and stderr", async () => {
    expect(await here.spawn(["run", "mlp.tw", "--random", "1"])).toMatchObject({
      status: 0,
      stderr: "",
      stdout: expect.stringMatching(/^scores: f32\[2, 3\]/),
    });
    expect(await here.spawn(["run", "mlp.tw"])).toMatchObject({ status: 2, stdout: "", stderr: expect.stringMatching(/^error: no value for 'x'/) });
  });
  test("wrong use is status 2", async () => {
    expect((await here.run(["frobnicate"])).status).toBe(2);
    expect((await here.run(["run"])).status).toBe(2);
    expect((await here.run(["compile", "mlp.tw"])).stderr).toMatch(/-o, --output <dir>' not specified/);
    expect(await here.run(["bench", "mlp.tw", "--runs", "none"])).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/'none' is no whole number/),
    });
  });
});

describe("run", () => {
  test("a .tw file, inputs from .npy, .json and .raw, outputs to .npy", async () => {
    const r = await here.run(["run", "mlp.tw", "--input", "x=x.npy", "--output", "res"]);
    expect(r).toMatchObject({ status: 0, stderr: "" });
    expect(r.stdout).toMatch(/^scores: f32\[2, 3\] {2}min -1 {2}max 11 .*\[1, 2, 3, -1, …\]\n$/);
    expect([...readNpy(readFileSync(join(here.path, "res/scores.npy")), "scores").data]).toEqual([1, 2, 3, -1, 10, 11]);
    here.file("x.json", "[[1, 0, 0, 0], [0, 1, 1, 1]]");
    here.file("x.raw", new Uint8Array(Float32Array.of(1, 0, 0, 0, 0, 1, 1, 1).buffer));
    expect((await here.run(["run", "mlp.tw", "--input", "x=x.json"])).stdout).toBe(r.stdout);
    expect((await here.run(["run", "mlp.tw", "--input", "x=x.raw"])).stdout).toBe(r.stdout);
  });
  test("a picture, classified with labels", async () => {
    const r = await here.run([
      "run",
      join(digits, "digits.onnx"),
      "--input",
      `image=${join(digits, "pictures/3-a.png")}`,
      "--labels",
      join(digits, "labels.txt"),
    ]);
    expect(r.status).toBe(0);
    expect(r.stdout.split("\n")[1]).toMatch(/ 3$/);
    expect(r.stdout.trim().split("\n")).toHaveLength(6);
  });
  test("a symbolic size from the input's file, from --shape, and not at all", async () => {
    here.file("sym.onnx", symbolic);
    here.file("n3.npy", writeNpy("f32", [3, 2], Float32Array.of(1, 0, 0, 1, 1, 1)));
    expect((await here.run(["run", "sym.onnx", "--input", "x=n3.npy"])).stdout).toMatch(/^y: f32\[3, 2\].*\[1, 2, 3, 4, …\]/);
    expect((await here.run(["run", "sym.onnx", "--random", "1", "--shape", "n=5"])).stdout).toMatch(/^y: f32\[5, 2\]/);
    const r = await here.run(["run", "sym.onnx", "--random", "1"]);
    expect(r).toMatchObject({ status: 2, stdout: "" });
    expect(r.stderr).toMatch(/^error: input 'x' is f32\[n, 2\]: say how large with --shape/);
  });
  test.each([
    [["run", "mlp.tw"], /no value for 'x'; give --input NAME=FILE for each, or --random SEED. The inputs are:\n {2}x: f32\[2, 4\]/],
    [["run", "mlp.tw", "--input", "y=x.npy"], /--input y=x.npy: expected NAME=FILE with the name of an input:\n {2}x: f32\[2, 4\]/],
    [["run", "mlp.tw", "--input", "x=missing.npy"], /missing.npy: cannot be read \(it does not exist\)/],
    [["run", "mlp.tw", "--input", "x=wrong-dtype.npy"], /wrong-dtype.npy: holds f64, input 'x' is f32/],
    [["run", "mlp.tw", "--input", "x=wrong-shape.npy"], /input 'x': expected shape \[2, 4\], got \[4, 2\]/],
    [["run", "mlp.tw", "--input", "x=short.raw"], /short.raw: has 8 bytes, input 'x' \(f32\[2, 4\]\) takes 32/],
    [["run", "mlp.tw", "--input", "x=bad.json"], /bad.json: is no JSON/],
    [["run", "mlp.tw", "--input", "x=x.txt"], /x.txt: inputs are read from/],
    [["run", "mlp.tw", "--random", "1", "--threads", "65"], /threads must be a whole number from 1 to 64, got 65/],
    [
      ["run", "mlp.tw", "--random", "1", "--target", "c"],
      /there is no target 'c' here; there are: wasm, c \(commands compile and ir\), native \(commands run and bench/,
    ],
    [["run", "nothing.onnx", "--random", "1"], /nothing.onnx: cannot be read \(it does not exist\)/],
  ])("%j is refused", async (args, message) => {
    here.file("wrong-dtype.npy", writeNpy("f64", [2, 4], new Float64Array(8)));
    here.file("wrong-shape.npy", writeNpy("f32", [4, 2], new Float32Array(8)));
    here.file("short.raw", new Uint8Array(8));
    here.file("bad.json", "{");
    here.file("x.txt", "1");
    const r = await here.run(args);
    expect(r).toMatchObject({ status: 2, stdout: "" });
    expect(r.stderr).toMatch(message);
    expect(r.stderr).not.toMatch(/\n {4}at /);
  });
});

type BadModel = [name: string, content: Uint8Array | string, message: RegExp, flags: readonly string[]];

describe("bad models leave no artifact", () => {
  const weights = (entries: Readonly<Record<string, string>>) =>
    model({
      nodes: [{ op: "MatMul", in: ["x", "w"], out: ["y"] }],
      inputs: { x: ["f32", [1, 2]] },
      outputs: ["y"],
      initializers: { w: { dtype: "f32", dims: [2, 2], extra: externalEntries(entries) } },
    });
  const whole = readFileSync(join(digits, "digits.onnx"));
  const unknown = model({
    nodes: [
      { op: "Frob", in: ["x"], out: ["h"], name: "one" },
      { op: "Grok", in: ["h"], out: ["y"], name: "two" },
    ],
    inputs: { x: ["f32", [2]] },
    outputs: ["y"],
  });
  test.each<BadModel>([
    ["empty.onnx", "", /the file is empty/, []],
    ["truncated.onnx", new Uint8Array(whole.subarray(0, whole.length >> 1)), /truncated|ends|cut/i, []],
    ["text.onnx", "this is not a model", /not an? ONNX|no ONNX|ONNX/, []],
    ["missing.onnx", weights({ location: "no.bin" }), /'no.bin': there is no such file beside the model/, []],
    ["parent.onnx", weights({ location: "../x.npy" }), /'..\/x.npy': the path leads out of the folder/, []],
    ["absolute.onnx", weights({ location: "/etc/passwd" }), /'\/etc\/passwd': the path is absolute/, []],
    ["link.onnx", weights({ location: "link.bin" }), /'link.bin': it is a link that leads out of the folder/, []],
    ["short.onnx", weights({ location: "short.bin" }), /'short.bin': the model needs bytes 0 to 16, but the file has only 5/, []],
    ["unknown.onnx", unknown, /Frob.*'one'[\s\S]*Grok.*'two'/, []],
    ["syntax.tw", "graph @g {\n  input %x f32[2]\n}", /syntax.tw:2:12: expected ':', got 'f32'/, []],
    ["mlp.tw", mlpText, /the planned peak is .* more than the limit of 0.1 KiB/, ["--max-memory", "100"]],
    ["mlp.tw", mlpText, /IR text states its shapes itself/, ["--shape", "x=1x4"]],
    ["sym.onnx", symbolic, /bound them, for example --shape n=1..16/, ["--max-memory", "100MiB"]],
    ["sym.onnx", symbolic, /a shape was given for 'q', but the model has no such input/, ["--shape", "q=1x4"]],
    ["mlp.tw", mlpText, /'soon' is no size/, ["--shard", "soon"]],
    ["mlp.tw", mlpText, /unknown feature 'fast'/, ["--features", "fast"]],
  ])("%s", async (name, content, message, flags) => {
    const path = here.file(`bad/${name}`, content);
    here.file("bad/short.bin", new Uint8Array(5));
    if (name === "link.onnx") symlinkSync(join(here.path, "x.npy"), join(here.path, "bad/link.bin"));
    const before = here.list();
    const r = await here.run(["compile", path, "-o", "out-bad", ...flags]);
    expect(r).toMatchObject({ status: 2, stdout: "" });
    expect(r.stderr).toMatch(message);
    expect(r.stderr).not.toMatch(/\n {4}at /);
    expect(here.list()).toEqual(before);
  });
  test("an output folder that cannot be written", async () => {
    here.file("file", "in the way");
    const before = here.list();
    for (const out of ["file", "file/below"])
      expect(await here.run(["compile", "mlp.tw", "-o", out])).toMatchObject({
        status: 2,
        stdout: "",
        stderr: expect.stringMatching(/^error: the output folder file\S* (is a file|cannot be written)/),
      });
    expect(here.list()).toEqual(before);
  });
  test("TILEWRIGHT_DEBUG shows where an error comes from, and the trace", async () => {
    const bad = await here.spawn(["run", "mlp.tw"], { TILEWRIGHT_DEBUG: "1" });
    expect(bad.stderr).toMatch(/\n {4}at /);
    const good = await here.spawn(["run", "mlp.tw", "--random", "1"], { TILEWRIGHT_DEBUG: "3" });
    expect(good.stderr).toMatch(/\[loop\] plan-memory: [\d.]+ ms/);
    expect(good.stdout).toMatch(/^scores: f32\[2, 3\][^\n]*\n$/);
  });
});

describe("the other commands", () => {
  test("inspect tells inputs, outputs, ops, parameters, FLOPs and all that is in the way", async () => {
    const r = await here.run(["inspect", join(digits, "digits.onnx")]);
    expect(r).toMatchObject({ status: 0, stderr: "" });
    expect(r.stdout).toMatch(
      /opset ai.onnx 17[\s\S]*image: f32\[1, 1, 8, 8\][\s\S]*logits: f32\[1, 10\][\s\S]*parameters: 15,338\narithmetic: 0.0009\d+ GFLOP\nnodes: 10\n {6}3 {2}Conv/,
    );
    const json = JSON.parse((await here.run(["inspect", "bad/unknown.onnx", "--json"])).stdout) as { problems: readonly { node: string }[] };
    expect(json.problems.map((p) => p.node)).toEqual(["one", "two"]);
    expect((await here.run(["inspect", "mlp.tw"])).stdout).toMatch(/graph IR text\ninputs\n {2}x: f32\[2, 4\]/);
  });
  test("ir prints each stage, and each text is taken again", async () => {
    const ir = async (...args: string[]) => (await here.run(["ir", "mlp.tw", ...args])).stdout;
    expect(await ir("--stage", "graph")).toMatch(/^graph @mlp \{/);
    expect(await ir("--stage", "code")).toMatch(/\(func \$main[\s\S]*call \$/);
    expect(await ir("--before", "vectorize-loops")).toMatch(/^program @mlp/);
    expect(await ir("--after", "lower-graph")).toMatch(/^tensor @mlp/);
    const unknown = await here.run(["ir", "mlp.tw", "--after", "fly"]);
    expect(unknown).toMatchObject({ status: 2, stderr: expect.stringMatching(/there is no step 'fly'; the steps are:[\s\S]*plan-memory/) });
    const tensor = await ir("--stage", "tensor");
    here.file("again.tw", tensor);
    const direct = await here.run(["run", "mlp.tw", "--input", "x=x.npy"]);
    expect((await here.run(["run", "again.tw", "--input", "x=x.npy"])).stdout.replace(/^[yz]:/, "scores:")).toBe(direct.stdout);
  });
  test("bench prints one JSON object, and a table of kernels", async () => {
    const r = await here.run(["bench", "mlp.tw", "--runs", "3", "--json"]);
    expect(r).toMatchObject({ status: 0, stderr: "" });
    const json = JSON.parse(r.stdout) as Record<string, unknown>;
    expect(json).toMatchObject({ model: "mlp.tw", target: "wasm", threads: 1, runs: 3 });
    for (const k of ["min_ms", "median_ms", "gflops", "compile_ms", "load_ms", "arena_bytes", "code_bytes"]) expect(json[k], k).toBeTypeOf("number");
    const table = await here.run(["bench", "mlp.tw", "--runs", "3", "--per-kernel"]);
    expect(table.stdout).toMatch(/kernel +origin +ms +% of time +GFLOP\/s +of peak\n\S+ +fc/);
    expect(table.stdout).toMatch(/The profiling build takes -?[\d.]+% longer than the normal one/);
  });
  test("check agrees", async () => {
    expect(await here.run(["check", "mlp.tw"])).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^mlp.tw: agrees with the reference interpreter on 1 output/),
    });
    expect(await here.run(["check", "sym.onnx", "--shape", "n=3"])).toMatchObject({ status: 0 });
  });
  test("doctor tells what there is", async () => {
    const r = await here.run(["doctor"]);
    expect(r).toMatchObject({ status: 0, stderr: "" });
    for (const line of ["engine", "SIMD", "relaxed SIMD", "shared memory", "processor features", "C compiler"])
      expect(r.stdout).toMatch(new RegExp(`^${line}`, "m"));
  });
});
