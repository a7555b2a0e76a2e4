import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { runInNewContext } from "node:vm";
import { PNG } from "pngjs";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import ort, {
  type Backend,
  InferenceSession,
  Tensor,
  UnsupportedError,
  UserError,
  env,
  listSupportedBackends,
  registerBackend,
} from "../src/node/ort.ts";
import { findToolchain } from "../src/node/native/toolchain.ts";
import { type ModelSpec, externalEntries, model } from "./support/onnx.ts";

/** y = x times a matrix of 2 x 2; rows by the name that is given. */
const linear = (rows: number | string | null = "batch size"): Uint8Array =>
  model({
    nodes: [{ op: "MatMul", in: ["x", "w"], out: ["y"] }],
    inputs: { x: ["f32", [rows, 2]] },
    outputs: ["y"],
    initializers: { w: { dtype: "f32", dims: [2, 2], values: [1, 2, 3, 4] } },
  });
/** y = x, of any type. */
const same = (dtype: "f16" | "bf16" | "i4" | "i64" | "string"): Uint8Array =>
  model({ nodes: [{ op: "Identity", in: ["x"], out: ["y"] }], inputs: { x: [dtype, ["n"]] }, outputs: ["y"], opset: 21 });

/** What a rejected promise or a throwing call says, after its code. */
async function fault(call: () => unknown): Promise<string> {
  try {
    await call();
  } catch (e) {
    // The runtime, which artifacts hold too, has an error class of its own.
    if (e instanceof UserError || e instanceof UnsupportedError || (e as Error).name === "UserError")
      return `${(e as UserError).code}: ${(e as Error).message}`;
    throw e;
  }
  throw new Error("the call went through");
}
/** The elements of a tensor of floats. */
const floats = (t: Tensor | undefined): number[] => [...((t as Tensor).data as Float32Array)];
const row = (...values: number[]) => new Tensor("float32", values, [values.length / 2, 2]);
const valuesOf = async (s: InferenceSession, x: Tensor): Promise<unknown[]> => floats((await s.run({ x })).y);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tilewright-ort-test-"));
});
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => {
  vi.restoreAllMocks();
  env.logLevel = "warning";
  env.wasm.numThreads = 1;
});

describe("where models come from", () => {
  test("a path, a file: URL, a data: URL, a part of a buffer that is shared", async () => {
    const bytes = linear();
    const file = join(folder, "linear.onnx");
    writeFileSync(file, bytes);
    const shared = new SharedArrayBuffer(bytes.length + 8);
    new Uint8Array(shared).set(bytes, 8);
    const sessions = await Promise.all([
      InferenceSession.create(file),
      InferenceSession.create(pathToFileURL(file).href),
      InferenceSession.create(`data:application/octet-stream;base64,${Buffer.from(bytes).toString("base64")}`),
      InferenceSession.create(shared, 8),
    ]);
    for (const s of sessions) expect(await valuesOf(s, row(1, 1))).toEqual([4, 6]);
  });

  test("IR text", async () => {
    const s = await InferenceSession.create(new URL("../examples/linear.tw", import.meta.url).href);
    expect([s.inputNames, s.inputMetadata[0]]).toEqual([["x", "w"], { name: "x", isTensor: true, type: "float32", shape: [6, 8] }]);
  });

  test("what is no model says so", async () => {
    const ortFormat = Uint8Array.of(1, 2, 3, 4, ...new TextEncoder().encode("ORTM"), 0, 0);
    expect(await fault(() => InferenceSession.create(ortFormat))).toMatch(/^ort-format: .*give the ONNX file/);
    expect(await fault(() => InferenceSession.create(join(folder, "none.onnx")))).toMatch(/none\.onnx.*does not exist/);
    expect(await fault(() => InferenceSession.create("http://localhost:1/model.onnx"))).toMatch(
      /^file: http:\/\/localhost:1\/model\.onnx: cannot be fetched/,
    );
    expect(await fault(() => InferenceSession.create("data:text/plain,hello"))).toMatch(/not-onnx|malformed|truncated/);
    const unknown: ModelSpec = { nodes: [{ op: "Frobnicate", in: ["x"], out: ["y"] }], inputs: { x: ["i64", null] }, outputs: ["y"] };
    expect(await fault(() => InferenceSession.create(model(unknown)))).toMatch(/^unsupported-ops: .*Frobnicate/s);
  });

  test("types that the API has no name for", async () => {
    expect(await fault(() => InferenceSession.create(same("bf16")))).toMatch(/^ort-type: 'x' is of type bf16/);
  });

  test("external data: beside a file, given as bytes, as a Blob, as a path", async () => {
    const spec: ModelSpec = {
      nodes: [{ op: "Mul", in: ["x", "w"], out: ["y"] }],
      inputs: { x: ["f32", [2]] },
      outputs: ["y"],
      initializers: { w: { dtype: "f32", dims: [2], extra: externalEntries({ location: "w.bin", offset: "4", length: "8" }) } },
    };
    const data = Float32Array.of(-1, 10, 100);
    writeFileSync(join(folder, "m.onnx"), model(spec));
    writeFileSync(join(folder, "w.bin"), data);
    const x = new Tensor(Float32Array.of(1, 2));
    const given = [
      [{ path: "w.bin", data: data.buffer }],
      [{ path: "./w.bin", data: new Blob([data]) }],
      [join(folder, "w.bin")],
      [pathToFileURL(join(folder, "w.bin")).href],
    ];
    expect(await valuesOf(await InferenceSession.create(join(folder, "m.onnx")), x)).toEqual([10, 200]);
    for (const externalData of given) expect(await valuesOf(await InferenceSession.create(model(spec), { externalData }), x)).toEqual([10, 200]);
    expect(await fault(() => InferenceSession.create(model(spec)))).toMatch(/^external-data-missing: .*'w\.bin', but none were given; give them as/);
    const short = { externalData: [{ path: "w.bin", data: new Uint8Array(8) }] };
    expect(await fault(() => InferenceSession.create(model(spec), short))).toMatch(/^external-data-short: .*bytes 4 to 12, but there are only 8/);
  });
});

describe("runs", () => {
  test("a tensor of onnxruntime-common, or of another realm, is taken like our own", async () => {
    const s = await InferenceSession.create(linear());
    class Foreign {
      type = "float32";
      dims = [1, 2];
      data = runInNewContext("Float32Array.of(1, 1)");
      location = "cpu";
    }
    expect(await valuesOf(s, new Foreign() as unknown as Tensor)).toEqual([4, 6]);
    expect(new Tensor("float32", runInNewContext("Float32Array.of(1, 1)"), [1, 2]).size).toBe(2);
  });

  test("a tensor on a device is fetched, and stays as it is", async () => {
    const s = await InferenceSession.create(linear());
    const dispose = vi.fn();
    const gpuBuffer = { size: 8, mapState: "unmapped" } as Tensor.GpuBufferType;
    const x = Tensor.fromGpuBuffer(gpuBuffer, { dataType: "float32", dims: [1, 2], download: () => Promise.resolve(Float32Array.of(1, 1)), dispose });
    expect([x.location, x.gpuBuffer === gpuBuffer, await fault(() => x.data)]).toEqual([
      "gpu-buffer",
      true,
      expect.stringMatching(/^tensor-location: .*getData/),
    ]);
    expect(await valuesOf(s, x)).toEqual([4, 6]);
    expect([x.location, dispose.mock.calls.length]).toEqual(["cpu", 0]);
    x.dispose();
    expect([x.location, dispose.mock.calls.length]).toEqual(["none", 1]);
    expect(await fault(() => s.run({ x }))).toMatch(/^disposed/);
  });

  test("what is wrong is said: name, type, shape", async () => {
    const s = await InferenceSession.create(linear());
    const said = async (x: unknown) => fault(() => s.run({ x } as never));
    expect(await said(undefined)).toBe("missing-input: input 'x' is missing; the inputs are: x");
    expect(await said(new Tensor("int32", [1, 2], [1, 2]))).toBe(
      "dtype: input 'x': expected a tensor of type float32 and dims [batch size, 2], got one of type int32",
    );
    expect(await said(new Tensor(["a", "b"], [1, 2]))).toMatch(/^dtype: .*tensors of type string are not supported/);
    expect(await said(Float32Array.of(1, 2))).toMatch(/^dtype: .*got object/);
    expect(await said(row(1, 2).reshape([2, 1]))).toMatch(/^shape: input 'x'/);
    expect(await fault(() => s.run({ x: row(1, 2) }, ["z"]))).toBe("unknown-output: the model has no output 'z'; it has: y");
    expect(await fault(() => s.run({ x: row(1, 2) }, { terminate: true }))).toMatch(/^terminated/);
  });

  test("an input too many is left out, and named in a warning", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const s = await InferenceSession.create(linear());
    expect(Object.keys(await s.run({ x: row(1, 2), z: row(1, 2) }))).toEqual(["y"]);
    expect(warn.mock.calls).toEqual([["[tilewright/ort] the model has no input 'z'; it has: x"]]);
  });

  test("outputs are new arrays, and later runs leave them alone", async () => {
    const s = await InferenceSession.create(linear());
    const { y: first } = await s.run({ x: row(1, 1) });
    await s.run({ x: row(5, 5, 6, 6) });
    expect(floats(first)).toEqual([4, 6]);
    expect(((first as Tensor).data as Float32Array).buffer).toBeInstanceOf(ArrayBuffer);
  });

  test("outputs go into tensors that are given for them", async () => {
    const s = await InferenceSession.create(linear());
    const y = row(0, 0);
    expect((await s.run({ x: row(1, 1) }, { y })).y).toBe(y);
    expect([...(y.data as Float32Array)]).toEqual([4, 6]);
    expect(await fault(() => s.run({ x: row(1, 1, 2, 2) }, { y }))).toBe(
      "fetch: output 'y' is float32 [2, 2], but the tensor given for it is float32 [1, 2]; give null for a new one",
    );
  });

  test("floats of 16 bits are bits where there is no Float16Array", async () => {
    const s = await InferenceSession.create(same("f16"));
    const x = new Tensor("float16", Uint16Array.of(0x3c00, 0xc000));
    const { y } = await s.run({ x });
    expect([y?.type, ...new Uint16Array(((y as Tensor).data as Uint16Array).buffer)]).toEqual(["float16", 0x3c00, 0xc000]);
    if (!("Float16Array" in globalThis)) expect(await fault(() => new Tensor("float16", [1]))).toMatch(/^float16: .*Uint16Array/);
  });

  test("numbers of 4 bits are packed", async () => {
    const s = await InferenceSession.create(same("i4"));
    const { y } = await s.run({ x: new Tensor("int4", Uint8Array.of(0x21, 0x0f), [3]) });
    expect([y?.type, y?.dims, [...((y as Tensor).data as Int8Array)]]).toEqual(["int4", [3], [0x21, 0x0f]]);
    expect(await fault(() => s.run({ x: new Tensor("int4", Int8Array.of(1, 2, 3), [3]) }))).toMatch(/^size: .*packed in 2 bytes, got 3/);
  });

  test("release lets the run that is going on end, and refuses those that wait", async () => {
    const s = await InferenceSession.create(linear());
    const [first, second] = [s.run({ x: row(1, 1) }), s.run({ x: row(2, 2) })];
    const refused = fault(() => second);
    await Promise.resolve();
    await Promise.resolve();
    await s.release();
    expect(floats((await first).y)).toEqual([4, 6]);
    expect(await refused).toMatch(/^disposed: the session was released/);
    expect(await fault(() => s.run({ x: row(1, 1) }))).toMatch(/^disposed/);
    expect(await fault(() => s.release())).toMatch(/^disposed/);
    expect(s.inputNames).toEqual(["x"]);
  });
});

describe("models that are compiled when they run", () => {
  const slice: ModelSpec = {
    nodes: [{ op: "Slice", in: ["x", "starts", "ends", "axes"], out: ["y"] }],
    inputs: { x: ["f32", null], starts: ["i64", [1]], ends: ["i64", [1]], axes: ["i64", [1]] },
    outputs: ["y"],
  };
  const long = (n: number) => new Tensor("int64", [n], [1]);

  test("ranks and axes are those of the run", async () => {
    const bytes = model(slice);
    const s = await InferenceSession.create(bytes);
    bytes.fill(0);
    expect(s.inputMetadata.map((m) => m.isTensor && m.shape)).toEqual([[], [1], [1], [1]]);
    const x = new Tensor("float32", [1, 2, 3, 4, 5, 6], [2, 3]);
    const run = async (t: Tensor, start: number, end: number, axis: number) => {
      const { y } = await s.run({ x: t, starts: long(start), ends: long(end), axes: long(axis) });
      return [y?.dims, floats(y)];
    };
    expect(await run(x, 1, 3, 1)).toEqual([
      [2, 2],
      [2, 3, 5, 6],
    ]);
    expect(await run(x, 1, 2, 0)).toEqual([
      [1, 3],
      [4, 5, 6],
    ]);
    expect(await run(x.reshape([6]), 0, 2, 0)).toEqual([[2], [1, 2]]);
    expect(await run(x, 1, 3, 1)).toEqual([
      [2, 2],
      [2, 3, 5, 6],
    ]);
    expect(await fault(() => run(x, 0, 1, 7))).toMatch(/axis|axes/);
    await s.release();
  });

  const reduce: ModelSpec = {
    nodes: [{ op: "ReduceSum", in: ["x", "axes"], out: ["y"], attrs: { keepdims: 0 } }],
    inputs: { x: ["f32", ["a", "b", "c", "d"]], axes: ["i64", ["n"]] },
    outputs: ["y"],
  };

  test("axes that decide the result's rank; programs that are not used any more make room, with a warning", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const file = join(folder, "reduce.onnx");
    writeFileSync(file, model(reduce));
    const s = await InferenceSession.create(file);
    const x = new Tensor("float32", Array(24).fill(1), [1, 2, 3, 4]);
    const run = async (axes: number[]) => (await s.run({ x, axes: new Tensor("int64", axes, [axes.length]) })).y;
    expect(await run([1, 3])).toMatchObject({ dims: [1, 3], data: Float32Array.of(8, 8, 8) });
    const every = [-4, -3, -2, -1, 0, 1, 2, 3].map((a) => [a]);
    const pairs = [0, 1, 2].flatMap((a) => [1, 2, 3].filter((b) => b > a).map((b) => [a, b]));
    const triples = [
      [0, 1, 2],
      [1, 2, 3],
      [0, 1, 3],
      [0, 2, 3],
    ];
    for (const axes of [...every, ...pairs, ...triples]) {
      const y = await run(axes);
      const summed = axes.map((a) => (a + 4) % 4);
      expect(y?.dims).toEqual([1, 2, 3, 4].filter((_, i) => !summed.includes(i)));
      expect(floats(y)[0]).toBe(summed.reduce((n, a) => n * (a + 1), 1));
    }
    expect(warn.mock.calls.map((c) => String(c[0]))).toEqual(Array(2).fill(expect.stringContaining("compiled more than 16 times")));
    expect(await fault(() => run([9]))).toMatch(/axis|axes/);
  });
});

describe("session options", () => {
  const create = (o: InferenceSession.SessionOptions) => InferenceSession.create(linear(), o);

  test("sizes that are overridden are fixed; names that there are not have no effect", async () => {
    const s = await create({ freeDimensionOverrides: { "batch size": 3, other: 5 } });
    expect(s.inputMetadata).toEqual([{ name: "x", isTensor: true, type: "float32", shape: [3, 2] }]);
    expect(await fault(() => s.run({ x: row(1, 2) }))).toMatch(/^shape/);
    expect(await fault(() => create({ freeDimensionOverrides: { "batch size": -1 } }))).toMatch(/^option: .*freeDimensionOverrides/);
  });

  test("sizes without a name, and empty tensors", async () => {
    const s = await InferenceSession.create(linear(null));
    expect(s.inputMetadata).toEqual([{ name: "x", isTensor: true, type: "float32", shape: ["", 2] }]);
    expect((await s.run({ x: new Tensor("float32", [], [0, 2]) })).y?.dims).toEqual([0, 2]);
  });

  test("threads: the session's, env's, or as many as suit the machine", async () => {
    const lines: string[] = [];
    vi.spyOn(console, "debug").mockImplementation((line) => lines.push(line));
    const threads = async (o: InferenceSession.SessionOptions): Promise<string> => {
      lines.length = 0;
      await (await create({ ...o, logSeverityLevel: 0 })).release();
      return lines.at(-1) ?? "";
    };
    expect(await threads({ intraOpNumThreads: 3 })).toMatch(/3 threads were asked for/);
    env.wasm.numThreads = 2;
    expect(await threads({})).toMatch(/2 threads were asked for/);
    expect(await threads({ intraOpNumThreads: 1 })).toMatch(/one thread was asked for/);
    expect(await fault(() => create({ intraOpNumThreads: 1.5 }))).toMatch(/^option: session option intraOpNumThreads: got 1\.5/);
    env.wasm.numThreads = -1;
    expect(await fault(() => create({}))).toMatch(/^option: env\.wasm\.numThreads: got -1/);
  });

  test("what cannot be honoured is refused, what has no meaning is named at verbose", async () => {
    expect(await fault(() => create({ optimizedModelFilePath: "m.onnx" }))).toMatch(/^option: .*optimizedModelFilePath.*tilewright compile/);
    expect(await fault(() => create({ preferredOutputLocation: { y: "gpu-buffer" } }))).toMatch(/^option: .*'gpu-buffer'; leave the option out/);
    expect(await fault(() => create({ graphOptimizationLevel: "much" as "all" }))).toMatch(/^option: .*got much, expected one of disabled, basic/);
    const lines: string[] = [];
    vi.spyOn(console, "debug").mockImplementation((line) => lines.push(line));
    env.logLevel = "verbose";
    env.wasm.wasmPaths = "/ort/";
    try {
      await create({ enableMemPattern: true, executionMode: "parallel", logId: "one", extra: { session: { load_cancellation: "1" } } });
    } finally {
      env.wasm.wasmPaths = "";
    }
    for (const word of ["enableMemPattern", "executionMode", "session.load_cancellation", "env.wasm.wasmPaths"])
      expect(lines.some((l) => l.startsWith("[tilewright/ort one] ") && l.includes(word) && l.includes("no effect"))).toBe(true);
  });

  test("without a worker the model is compiled here, with a warning", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    env.wasm.proxy = true;
    try {
      // Among the sources there is no script for workers.
      expect(await valuesOf(await create({}), row(1, 1))).toEqual([4, 6]);
      expect(warn.mock.calls.map((c) => String(c[0]))).toEqual([
        expect.stringMatching(/is compiled on this thread, though env\.wasm\.proxy is set: /),
      ]);
      expect(await fault(() => InferenceSession.create(Uint8Array.of(1, 2, 3)))).toMatch(/^(not-onnx|truncated|malformed)/);
    } finally {
      env.wasm.proxy = false;
    }
  });

  test("env refuses log levels that there are not", async () => {
    expect(await fault(() => Object.assign(env, { logLevel: "loud" }))).toMatch(/^log-level: unknown log level 'loud'/);
    expect([env.logLevel, env.versions.common]).toEqual(["warning", "1.30.0"]);
  });

  test("a profile is a file of trace events with the model's nodes", async () => {
    vi.spyOn(console, "info").mockImplementation(() => {});
    const s = await create({ enableProfiling: true, profileFilePrefix: join(folder, "profile") });
    await s.run({ x: row(1, 1) });
    s.endProfiling();
    const file = readdirSync(folder).find((f) => f.startsWith("profile_") && f.endsWith(".json"));
    const events = JSON.parse(readFileSync(join(folder, file ?? ""), "utf8")) as {
      cat: string;
      name: string;
      dur: number;
      args: { nodes?: string };
    }[];
    expect([...new Set(events.map((e) => e.cat))]).toEqual(["Session", "Node"]);
    expect([events[0]?.name, events.at(-1)?.name, events.every((e) => e.dur >= 0)]).toEqual(["session_initialization", "model_run", true]);
    expect(events.some((e) => e.args.nodes?.includes("MatMul"))).toBe(true);
    s.startProfiling();
    await s.run({ x: row(1, 1) });
    s.endProfiling();
    const later = readdirSync(folder).filter((f) => f.startsWith("profile_"));
    expect(readFileSync(join(folder, later.at(-1) ?? ""), "utf8")).not.toContain("session_initialization");
    expect(await fault(async () => (await create({})).endProfiling())).toMatch(/^profile: .*enableProfiling/);
  });
});

describe("execution providers", () => {
  test("the first that there is; the others are named in a warning", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const s = await InferenceSession.create(linear(), { executionProviders: ["webgpu", { name: "cuda", deviceId: 0 }, "wasm"] });
    expect(await valuesOf(s, row(1, 1))).toEqual([4, 6]);
    expect(warn.mock.calls.map((c) => /'(\w+)'/.exec(String(c[0]))?.[1])).toEqual(["webgpu", "cuda"]);
    expect(await fault(() => InferenceSession.create(linear(), { executionProviders: ["webgpu", "abacus"] }))).toBe(
      "provider: none of the execution providers is here: 'webgpu': tilewright compiles for the processor; give 'wasm' or 'cpu' after it; 'abacus': there is no execution provider of this name",
    );
    expect(listSupportedBackends().map((b) => b.name)).toEqual(["wasm", "cpu", "native"]);
  });

  test("native code", async (t) => {
    const missing = await findToolchain().then(
      () => null,
      (e: Error) => e.message,
    );
    if (missing !== null) t.skip(missing);
    const s = await InferenceSession.create(linear(), { executionProviders: ["native"] });
    expect(await valuesOf(s, row(1, 1, 2, 2))).toEqual([4, 6, 8, 12]);
    await s.release();
    expect(await fault(() => InferenceSession.create(linear(), { executionProviders: ["native"], enableProfiling: true }))).toMatch(/^option/);
  });

  test("a program's own backend", async () => {
    const made: unknown[] = [];
    const backend: Backend = {
      init: (name) => (name === "broken" ? Promise.reject(new Error("no such machine")) : Promise.resolve()),
      createInferenceSessionHandler: (source, options) => {
        made.push([source, options?.executionProviders]);
        return Promise.resolve({
          inputNames: ["x"],
          outputNames: ["y"],
          inputMetadata: [],
          outputMetadata: [],
          dispose: () => Promise.resolve(),
          startProfiling() {},
          endProfiling() {},
          run: (feeds) => Promise.resolve({ y: feeds.x as Tensor }),
        });
      },
    };
    registerBackend("abacus", backend, -1);
    registerBackend("broken", backend, -1);
    const s = await InferenceSession.create("model", { executionProviders: [{ name: "abacus" }] });
    const x = row(1, 2);
    expect((await s.run({ x })).y).toBe(x);
    expect(made).toEqual([["model", [{ name: "abacus" }]]]);
    expect(await fault(() => InferenceSession.create("model", { executionProviders: ["broken"] }))).toMatch(/'broken': Error: no such machine/);
    expect(await fault(() => registerBackend("x", {} as Backend, 1))).toMatch(/^backend/);
  });
});

describe("pictures", () => {
  // Red, green, blue, half-transparent white; 2 x 2.
  const data = Uint8ClampedArray.of(255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255, 255, 255, 255, 128);
  const picture = { data, width: 2, height: 2 } as ImageData;
  const elements = async (o: object) => [...((await Tensor.fromImage(picture, o)).data as Float32Array)];

  test("pixels become planes, and planes pixels", async () => {
    const t = await Tensor.fromImage(picture);
    expect([t.type, t.dims, [...(t.data as Float32Array)]]).toEqual(["float32", [1, 3, 2, 2], [1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1]]);
    expect(await elements({ tensorFormat: "BGR" })).toEqual([0, 0, 1, 1, 0, 1, 0, 1, 1, 0, 0, 1]);
    expect(await elements({ tensorFormat: "RGBA", norm: { mean: 1, bias: [1, 2, 3, 4] } })).toEqual([
      256, 1, 1, 256, 2, 257, 2, 257, 3, 3, 258, 258, 259, 259, 259, 132,
    ]);
    expect((await Tensor.fromImage(picture, { dataType: "uint8", tensorLayout: "NHWC" })).data).toEqual(
      Uint8Array.of(255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255),
    );
    const back = t.toImageData();
    expect([back.width, back.height, [...back.data].filter((_, i) => i % 4 < 3)]).toEqual([2, 2, [...data].filter((_, i) => i % 4 < 3)]);
    const rgba = await Tensor.fromImage(picture, { tensorFormat: "RGBA" });
    expect([...rgba.toImageData({ format: "RGBA" }).data]).toEqual([...data]);
  });

  test("another size is a part of the picture, black where it ends", async () => {
    const t = await Tensor.fromImage(picture, { resizedWidth: 3, resizedHeight: 1 });
    expect([t.dims, [...(t.data as Float32Array)]]).toEqual([
      [1, 3, 1, 3],
      [1, 0, 0, 0, 1, 0, 0, 0, 0],
    ]);
  });

  test("a PNG file without a canvas, as other programs read it; also where it has several blocks", async () => {
    const [width, height] = [150, 120];
    const big = Uint8ClampedArray.from({ length: 4 * width * height }, (_, i) => (i % 4 === 3 ? 255 : (i * 31) % 256));
    const t = await Tensor.fromImage({ data: big, width, height } as ImageData);
    const url = t.toDataURL();
    expect(url).toMatch(/^data:image\/png;base64,/);
    const png = PNG.sync.read(Buffer.from(url.slice(url.indexOf(",") + 1), "base64"));
    expect([png.width, png.height, Buffer.compare(png.data, Buffer.from(big))]).toEqual([width, height, 0]);
  });

  test("what is no picture says so", async () => {
    expect(await fault(() => Tensor.fromImage(5 as never))).toMatch(/^image: /);
    expect(await fault(() => Tensor.fromImage({ data, width: 3, height: 2 } as ImageData))).toMatch(/^image: .*24 bytes \(RGBA\), got 16/);
    expect(await fault(() => Tensor.fromImage("picture.png"))).toMatch(/^image: this engine decodes no pictures/);
    expect(await fault(() => row(1, 2).toImageData())).toMatch(/^image: .*got \[1, 2\]/);
    expect(await fault(() => Tensor.fromImage(picture, { tensorFormat: "XYZ" as "RGB" }))).toMatch(/^image-format/);
  });
});

test("the package as one object has all of it", () => {
  expect(Object.keys(ort)).toEqual(
    expect.arrayContaining(["InferenceSession", "Tensor", "env", "registerBackend", "listSupportedBackends", "TRACE"]),
  );
  expect(ort.Tensor).toBe(Tensor);
});
