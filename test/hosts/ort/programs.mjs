import { readFileSync } from "node:fs";
import { join } from "node:path";
import { numbers } from "./onnx.mjs";

/**
 * Programs as people write them for onnxruntime-node and onnxruntime-web: each is given the package and a folder of models,
 * and gives back what it saw. `peers`: the packages that it is compared with, both without it; why, stands beside it.
 */

/** Does a call fail, and with words? */
async function outcome(call) {
  try {
    await call();
    return "went through";
  } catch (e) {
    return e instanceof Error && e.message.length > 5 ? "failed" : `failed without words: ${e}`;
  }
}
/** Where the engine has arrays of 16-bit floats, onnxruntime-node 1.30 refuses tensors of them. */
const withHalf = "Float16Array" in globalThis ? { peers: ["onnxruntime-web"] } : {};
/** What a tensor is. */
const shown = (t) => ({ type: t.type, dims: [...t.dims], size: t.size, location: t.location, data: [...t.data] });
const all = (results) => Object.fromEntries(Object.entries(results).map(([k, t]) => [k, shown(t)]));

export const programs = {
  "first steps: a model from a path": async (ort, folder) => {
    const session = await ort.InferenceSession.create(join(folder, "matmul.onnx"));
    const a = new ort.Tensor("float32", Float32Array.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]), [3, 4]);
    const b = new ort.Tensor("float32", Float32Array.from([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120]), [4, 3]);
    const results = await session.run({ a, b });
    return all(results);
  },

  "a model from bytes: arrays, buffers, parts of buffers": async (ort, folder) => {
    const file = readFileSync(join(folder, "matmul.onnx"));
    const framed = new Uint8Array(file.length + 100);
    framed.set(file, 60);
    const create = ort.InferenceSession.create;
    const sources = [
      [file],
      [Uint8Array.from(file)],
      [Uint8Array.from(file).buffer],
      [framed.subarray(60, 60 + file.length)],
      [framed.buffer, 60, file.length],
      [Uint8Array.from(file), { graphOptimizationLevel: "all" }],
      [framed.buffer, 60, file.length, { logSeverityLevel: 3 }],
    ];
    const feeds = { a: new ort.Tensor(numbers(12, 2), [3, 4]), b: new ort.Tensor(numbers(12, 3), [4, 3]) };
    const results = [];
    for (const s of sources) results.push((await (await create(...s)).run(feeds)).c);
    const bad = [[null], [5], [framed.buffer, 1e9], [framed.buffer, 0, 0], [new Uint8Array([1, 2, 3])], [join(folder, "none.onnx")]];
    return { results: results.map(shown), bad: await Promise.all(bad.map((s) => outcome(() => create(...s)))) };
  },

  "names and metadata": async (ort, folder) => {
    const out = {};
    for (const name of ["layers", "embedding", "choice", "picture", "growing", "places", "scalar", "identities"]) {
      const s = await ort.InferenceSession.create(join(folder, `${name}.onnx`));
      out[name] = { inputNames: [...s.inputNames], outputNames: [...s.outputNames], inputs: s.inputMetadata, outputs: s.outputMetadata };
    }
    return out;
  },

  "tensors: every way to make one": (ort) => {
    const { Tensor } = ort;
    const made = [
      new Tensor(Float32Array.of(1, 2, 3)),
      new Tensor(Float64Array.of(1.5, 2.5), [2, 1]),
      new Tensor(Int8Array.of(-1, 2)),
      new Tensor(Int16Array.of(-1, 2)),
      new Tensor(Int32Array.of(-1, 2)),
      new Tensor(BigInt64Array.of(-1n, 2n)),
      new Tensor(Uint8Array.of(1, 2)),
      new Tensor(Uint8ClampedArray.of(1, 255)),
      new Tensor(Uint16Array.of(1, 2)),
      new Tensor(Uint32Array.of(1, 2)),
      new Tensor(BigUint64Array.of(1n, 2n)),
      new Tensor([true, false, true]),
      new Tensor(["some", "words"]),
      new Tensor("float32", [1, 2, 3, 4], [2, 2]),
      new Tensor("int64", [1, 2, 3, 4], [4]),
      new Tensor("int64", [1n, 2n], [1, 2]),
      new Tensor("uint64", [1, 2n]),
      new Tensor("bool", [true, false]),
      new Tensor("bool", [1, 0]),
      new Tensor("bool", Uint8Array.of(1, 0)),
      new Tensor("uint8", Uint8ClampedArray.of(3, 4)),
      new Tensor("string", ["a", "b", "c"], [3, 1]),
      new Tensor("float32", [], [0, 4]),
      new Tensor("float32", [5], []),
      new Tensor("int4", Uint8Array.of(0x21, 0x03), [3]),
      new Tensor("uint4", Uint8Array.of(0x21, 0x43), [4]),
      new Tensor("float32", [1, 2, 3, 4, 5, 6], [2, 3]).reshape([3, 2]),
      Tensor.fromPinnedBuffer("float32", Float32Array.of(1, 2)),
    ];
    return made.map((t) => ({ ...shown(t), class: t.data.constructor.name, isTensor: t instanceof Tensor }));
  },

  "tensors: what is refused": async (ort) => {
    const { Tensor } = ort;
    const disposed = new Tensor(Float32Array.of(1));
    disposed.dispose();
    const t = new Tensor("float32", [1, 2, 3, 4], [2, 2]);
    const calls = [
      () => new Tensor("float32", [1, 2, 3], [2, 2]),
      () => new Tensor("float32", Int32Array.of(1)),
      () => new Tensor("float33", [1]),
      () => new Tensor([1, 2, 3]),
      () => new Tensor([]),
      () => new Tensor(5),
      () => new Tensor("int4", [1, 2]),
      () => new Tensor("float32", [1], [-1]),
      () => new Tensor("float32", [1], [0.5]),
      () => new Tensor("float32", [1], "1"),
      () => new Tensor("string", "word"),
      () => t.reshape([3]),
      () => disposed.data,
      () => t.gpuBuffer,
      () => t.texture,
      () => t.data,
    ];
    return { calls: await Promise.all(calls.map((c) => outcome(c))), location: disposed.location, data: [...(await t.getData())] };
  },

  "whole numbers of 64 bits: words to an embedding": async (ort, folder) => {
    const session = await ort.InferenceSession.create(join(folder, "embedding.onnx"));
    const tokenize = (ids, length) => ({
      input_ids: new ort.Tensor(
        "int64",
        BigInt64Array.from({ length }, (_, i) => BigInt(ids[i] ?? 0)),
        [1, length],
      ),
      attention_mask: new ort.Tensor(
        "int64",
        Array.from({ length }, (_, i) => (i < ids.length ? 1 : 0)),
        [1, length],
      ),
    });
    const results = [];
    for (const [ids, length] of [
      [[1, 2, 3], 3],
      [[7, 8, 9, 49, 0], 8],
      [[5], 1],
    ])
      results.push((await session.run(tokenize(ids, length))).embedding);
    return results.map(shown);
  },

  "truth values": async (ort, folder) => {
    const session = await ort.InferenceSession.create(join(folder, "choice.onnx"));
    const results = await session.run({
      condition: new ort.Tensor("bool", [true, false, false, true]),
      a: new ort.Tensor(Float32Array.of(1, 2, 3, 4)),
      b: new ort.Tensor(Float32Array.of(-1, -2, -3, -4)),
    });
    return all(results);
  },

  "sizes that change from run to run": async (ort, folder) => {
    const session = await ort.InferenceSession.create(join(folder, "layers.onnx"));
    const results = [];
    for (const n of [1, 7, 0, 64, 2]) results.push(await session.run({ x: new ort.Tensor(numbers(8 * n, n + 1), [n, 8]) }));
    const picture = await ort.InferenceSession.create(join(folder, "picture.onnx"));
    for (const [n, h, w] of [
      [1, 8, 8],
      [2, 5, 9],
      [1, 16, 3],
    ])
      results.push(await picture.run({ image: new ort.Tensor(numbers(n * 3 * h * w, h), [n, 3, h, w]) }));
    return results.map(all);
  },

  "outputs by name": async (ort, folder) => {
    const session = await ort.InferenceSession.create(join(folder, "layers.onnx"));
    const feeds = { x: new ort.Tensor(numbers(16), [2, 8]) };
    const some = [
      await session.run(feeds, ["hidden"]),
      await session.run(feeds, { probabilities: null }),
      await session.run(feeds, ["hidden"], { tag: "a" }),
    ];
    const none = [await session.run(feeds, {}), await session.run(feeds, { logSeverityLevel: 4 }), await session.run(feeds)];
    const bad = [["nothing"], [], [5], null, 7, new ort.Tensor(Float32Array.of(1))];
    return { some: some.map(all), none: none.map(all), bad: await Promise.all(bad.map((f) => outcome(() => session.run(feeds, f)))) };
  },

  // onnxruntime-web gives the tensor back as it was given.
  "outputs into given tensors": Object.assign(
    async (ort, folder) => {
      const session = await ort.InferenceSession.create(join(folder, "layers.onnx"));
      const feeds = { x: new ort.Tensor(numbers(16), [2, 8]) };
      const probabilities = new ort.Tensor("float32", new Float32Array(10), [2, 5]);
      const results = await session.run(feeds, { probabilities, hidden: null });
      const given = shown(probabilities);
      const wrong = [new ort.Tensor("int32", new Int32Array(10), [2, 5]), new ort.Tensor("float32", new Float32Array(10), [5, 2])];
      return { given, results: all(results), wrong: await Promise.all(wrong.map((t) => outcome(() => session.run(feeds, { probabilities: t })))) };
    },
    { peers: ["onnxruntime-node"] },
  ),

  "wrong inputs": async (ort, folder) => {
    const session = await ort.InferenceSession.create(join(folder, "layers.onnx"));
    const good = new ort.Tensor(numbers(16), [2, 8]);
    const feeds = [
      {},
      { y: good },
      { x: new ort.Tensor(numbers(16), [16]) },
      { x: new ort.Tensor(numbers(18), [2, 9]) },
      { x: new ort.Tensor(numbers(16), [1, 2, 8]) },
      { x: new ort.Tensor("int32", new Int32Array(16), [2, 8]) },
      { x: new ort.Tensor("float64", new Float64Array(16), [2, 8]) },
      { x: numbers(16) },
      { x: "word" },
      { x: undefined },
      null,
      [good],
      good,
    ];
    const wrong = [];
    for (const f of feeds) wrong.push(await outcome(() => session.run(f)));
    return { wrong, after: all(await session.run({ x: good })) };
  },

  "release, and use after it": async (ort, folder) => {
    const session = await ort.InferenceSession.create(join(folder, "layers.onnx"));
    const feeds = { x: new ort.Tensor(numbers(8), [1, 8]) };
    const before = await session.run(feeds);
    await session.release();
    const after = await outcome(() => session.run(feeds));
    // Before the next session is made: onnxruntime-web would release that one.
    const twice = await outcome(() => session.release());
    const again = await ort.InferenceSession.create(join(folder, "layers.onnx"));
    return { before: all(before), after, twice, names: session.inputNames, again: all(await again.run(feeds)) };
  },

  "several sessions, several runs at once": async (ort, folder) => {
    const names = ["layers", "layers", "matmul"];
    const [first, second, third] = await Promise.all(names.map((n) => ort.InferenceSession.create(join(folder, `${n}.onnx`))));
    const x = (n) => ({ x: new ort.Tensor(numbers(8 * n, n), [n, 8]) });
    const product = { a: new ort.Tensor(numbers(12, 5), [3, 4]), b: new ort.Tensor(numbers(12, 6), [4, 3]) };
    const results = [];
    // onnxruntime-web takes one run of a session at a time.
    for (const n of [1, 2, 3]) results.push(...(await Promise.all([first.run(x(n)), second.run(x(n + 1)), third.run(product)])));
    return results.map(all);
  },

  // onnxruntime-web refuses a run of a session while another goes on.
  "runs of one session that overlap": Object.assign(
    async (ort, folder) => {
      const session = await ort.InferenceSession.create(join(folder, "layers.onnx"));
      const results = await Promise.all([1, 5, 2, 9, 1].map((n) => session.run({ x: new ort.Tensor(numbers(8 * n, n), [n, 8]) })));
      return results.map(all);
    },
    { peers: ["onnxruntime-node"] },
  ),

  "floats of 16 bits": Object.assign(async (ort, folder) => {
    const session = await ort.InferenceSession.create(join(folder, "half.onnx"));
    // 0, 1, -2, 0.5, 1.5, 100, the smallest one
    const bits = Uint16Array.of(0, 0x3c00, 0xc000, 0x3800, 0x3e00, 0x5640, 1);
    const { y } = await session.run({ x: new ort.Tensor("float16", bits, [7]) });
    return { type: y.type, dims: y.dims, bits: [...new Uint16Array(y.data.buffer, y.data.byteOffset, y.data.length)] };
  }, withHalf),

  "every type of output": async (ort, folder) => {
    const session = await ort.InferenceSession.create(join(folder, "casts.onnx"));
    const results = await session.run({ x: new ort.Tensor("int32", [0, 1, 2, 100, 7, 127], [2, 3]) });
    return Object.fromEntries(Object.entries(results).map(([k, t]) => [k, { ...shown(t), class: t.data.constructor.name }]));
  },

  "every type of input": Object.assign(async (ort, folder) => {
    const session = await ort.InferenceSession.create(join(folder, "identities.onnx"));
    const { Tensor } = ort;
    const big = 2n ** 60n + 1n;
    const results = await session.run({
      float32_in: new Tensor(Float32Array.of(0.1, -0, 3e38)),
      uint8_in: new Tensor(Uint8Array.of(0, 128, 255)),
      int8_in: new Tensor(Int8Array.of(-128, 0, 127)),
      uint16_in: new Tensor(Uint16Array.of(0, 1, 65535)),
      int16_in: new Tensor(Int16Array.of(-32768, 0, 1)),
      int32_in: new Tensor(Int32Array.of(-(2 ** 31), 0, 2 ** 31 - 1)),
      int64_in: new Tensor("int64", [big, -big, 0n]),
      bool_in: new Tensor([true, false, true]),
      float16_in: new Tensor("float16", Uint16Array.of(0x3c00, 0x7bff, 0x8000)),
      float64_in: new Tensor(Float64Array.of(Math.PI, 1e300, -0)),
      uint32_in: new Tensor(Uint32Array.of(0, 1, 2 ** 32 - 1)),
      uint64_in: new Tensor("uint64", [big, 2n ** 64n - 1n, 0n]),
    });
    return Object.fromEntries(Object.entries(results).map(([k, t]) => [k, { type: t.type, dims: t.dims, data: [...t.data].map((v) => String(v)) }]));
  }, withHalf),

  "state that grows: outputs become inputs": async (ort, folder) => {
    const session = await ort.InferenceSession.create(join(folder, "growing.onnx"));
    let past = new ort.Tensor("float32", [], [1, 0, 4]);
    const totals = [];
    for (let step = 0; step < 6; step++) {
      const n = step === 0 ? 5 : 1;
      const results = await session.run({ x: new ort.Tensor(numbers(4 * n, step + 1), [1, n, 4]), past });
      past = results.present;
      totals.push(shown(results.total));
    }
    return { totals, past: shown(past) };
  },

  "a picture, and the classes that it may be": async (ort, folder) => {
    const session = await ort.InferenceSession.create(join(folder, "picture.onnx"));
    // RGBA bytes of a picture, as a canvas gives them, to planes of floats.
    const [width, height] = [8, 8];
    const rgba = Uint8ClampedArray.from({ length: 4 * width * height }, (_, i) => (i * 37) % 256);
    const planes = new Float32Array(3 * width * height);
    for (let i = 0; i < width * height; i++) for (let c = 0; c < 3; c++) planes[c * width * height + i] = rgba[4 * i + c] / 255;
    const output = (await session.run({ [session.inputNames[0]]: new ort.Tensor("float32", planes, [1, 3, height, width]) }))[session.outputNames[0]];
    const exp = output.data.map(Math.exp);
    const sum = exp.reduce((a, b) => a + b);
    return [...exp]
      .map((e, index) => ({ index, probability: e / sum }))
      .sort((a, b) => b.probability - a.probability)
      .slice(0, 3);
  },

  "places and counts: outputs of whole numbers": async (ort, folder) => {
    const session = await ort.InferenceSession.create(join(folder, "places.onnx"));
    const run = (values) => session.run({ x: new ort.Tensor("float32", values, [1, 10]) });
    return [all(await run([0, 3, 1, 0, 9, 2, 0, 0, 5, 4])), all(await run([1, 0, 0, 0, 0, 0, 0, 0, 0, 2]))];
  },

  "quantised numbers": async (ort, folder) => {
    const session = await ort.InferenceSession.create(join(folder, "quantized.onnx"));
    return all(await session.run({ x: new ort.Tensor(Float32Array.of(-20, -1, 0, 0.1, 0.4, 3.3, 50)) }));
  },

  "numbers of 4 bits": Object.assign(
    async (ort, folder) => {
      const session = await ort.InferenceSession.create(join(folder, "nibbles.onnx"));
      return all(await session.run({ nibbles: new ort.Tensor("int4", Uint8Array.of(0x71, 0xf8, 0x02), [5]) }));
    },
    // onnxruntime-node takes no tensors of 4 bits.
    { peers: ["onnxruntime-web"] },
  ),

  "a number alone": async (ort, folder) => {
    const session = await ort.InferenceSession.create(join(folder, "scalar.onnx"));
    return all(await session.run({ x: new ort.Tensor("float32", [21], []) }));
  },

  "weights in a file beside the model": Object.assign(
    async (ort, folder) => {
      const feeds = { x: new ort.Tensor(Float32Array.of(1, 2, 3, 4)) };
      const beside = await ort.InferenceSession.create(join(folder, "external.onnx"));
      return {
        beside: all(await beside.run(feeds)),
        without: await outcome(() => ort.InferenceSession.create(readFileSync(join(folder, "external.onnx")))),
      };
    },
    // onnxruntime-web does not look for files by itself.
    { peers: ["onnxruntime-node"] },
  ),

  "weights that are given": async (ort, folder) => {
    const feeds = { x: new ort.Tensor(Float32Array.of(1, 2, 3, 4)) };
    const model = readFileSync(join(folder, "external.onnx"));
    const data = Uint8Array.from(readFileSync(join(folder, "external.bin")));
    const given = await ort.InferenceSession.create(model, { externalData: [{ path: "external.bin", data }] });
    const dotted = await ort.InferenceSession.create(model, { externalData: [{ path: "./external.bin", data }] });
    return {
      given: all(await given.run(feeds)),
      dotted: all(await dotted.run(feeds)),
      none: await outcome(() => ort.InferenceSession.create(model)),
    };
  },

  "session options": async (ort, folder) => {
    const x = new ort.Tensor(numbers(16), [2, 8]);
    const good = [
      { graphOptimizationLevel: "disabled" },
      { graphOptimizationLevel: "basic" },
      { executionMode: "sequential", interOpNumThreads: 1, intraOpNumThreads: 1 },
      { intraOpNumThreads: 2 },
      { enableCpuMemArena: true, enableMemPattern: false, logId: "test", logSeverityLevel: 3 },
      { freeDimensionOverrides: { "batch size": 2 } },
      { freeDimensionOverrides: { unknown: 2 } },
      { executionProviders: ["cpu"] },
      { executionProviders: [{ name: "cpu" }] },
      { extra: { session: { set_denormal_as_zero: "1" } } },
    ];
    const bad = [
      { graphOptimizationLevel: "much" },
      { executionMode: "wild" },
      { logSeverityLevel: 9 },
      { executionProviders: ["abacus"] },
      { executionProviders: [5] },
    ];
    const create = (o) => ort.InferenceSession.create(join(folder, "layers.onnx"), o);
    const results = [];
    for (const o of good) results.push(all(await (await create(o)).run({ x })));
    return { results, bad: await Promise.all(bad.map((o) => outcome(() => create(o)))), text: await outcome(() => create("fast")) };
  },

  "an execution provider that is not there": async (ort, folder) => {
    const warn = console.warn;
    const lines = [];
    console.warn = (...words) => lines.push(words);
    try {
      const session = await ort.InferenceSession.create(join(folder, "scalar.onnx"), { executionProviders: ["abacus", "cpu"] });
      return { lines: lines.length, result: all(await session.run({ x: new ort.Tensor("float32", [1], []) })) };
    } finally {
      console.warn = warn;
    }
  },

  "settings of all sessions": async (ort) => {
    const { env } = ort;
    const before = env.logLevel;
    env.logLevel = "error";
    env.wasm.numThreads = 1;
    env.debug = false;
    return { before, after: env.logLevel, bad: await outcome(() => (env.logLevel = "loud")), common: env.versions.common };
  },

  "the work in another thread": Object.assign(
    async (ort, folder) => {
      ort.env.wasm.proxy = true;
      try {
        const session = await ort.InferenceSession.create(join(folder, "layers.onnx"));
        const results = all(await session.run({ x: new ort.Tensor(numbers(16), [2, 8]) }));
        await session.release();
        return { results, bad: await outcome(() => ort.InferenceSession.create(new Uint8Array(20))) };
      } finally {
        ort.env.wasm.proxy = false;
      }
    },
    // On a page onnxruntime-web takes the setting only before the first session: page programs (pictures.mjs) try ours there.
    { peers: ["onnxruntime-node", "onnxruntime-web"], onPage: false },
  ),

  "the package as one object": (ort) => ["InferenceSession", "Tensor", "env"].map((name) => typeof (ort.default ?? ort)[name]),
};
