import fc from "fast-check";
import { PbfWriter } from "pbf";
import { describe, expect, it } from "vitest";
import { type ModelSpec, externalEntries, graph, model } from "../../../test/support/onnx.ts";
import { TilewrightError, UserError } from "../../base/errors.ts";
import { WireReader } from "../wire/protobuf.ts";
import { importOnnx, inspectOnnx } from "./import.ts";

const small: ModelSpec = {
  inputs: { x: ["f32", [2, 3]] },
  initializers: { w: { dtype: "f32", dims: [3, 4], values: Array.from({ length: 12 }, (_, i) => i) } },
  nodes: [
    { op: "MatMul", in: ["x", "w"], out: ["p"], name: "product" },
    { op: "Softmax", in: ["p"], out: ["y"], attrs: { axis: -1 } },
  ],
  outputs: ["y"],
};

/** The error of an import. */
function failure(bytes: Uint8Array): TilewrightError {
  try {
    importOnnx(bytes);
  } catch (e) {
    if (e instanceof TilewrightError) return e;
    throw e;
  }
  throw new Error("the import went through");
}
const text = (s: string): Uint8Array => new TextEncoder().encode(s);

describe("files that are no ONNX model", () => {
  it.each([
    ["an empty file", new Uint8Array(0), /empty/],
    ["text", text("hello, world, this is a text file\n"), /no ONNX model/],
    ["a Git LFS pointer", text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"), /git lfs pull/],
    ["a web page", text("<!DOCTYPE html><html><body>Not found</body></html>"), /web page/],
    ["a PyTorch checkpoint", Uint8Array.of(0x50, 0x4b, 3, 4, 0, 0, 8, 8), /export the model to ONNX/],
    ["JSON", text('{"model": 1}'), /JSON/],
    ["zeros", new Uint8Array(1000), /no ONNX model/],
    ["high bytes", new Uint8Array(1000).fill(0xff), /no ONNX model/],
  ])("%s", (_, bytes, message) => {
    const e = failure(bytes);
    expect(e).toBeInstanceOf(UserError);
    expect(e.code).toBe("not-onnx");
    expect(e.message).toMatch(message);
  });

  it("a model without a graph, and one without opsets", () => {
    const w = new PbfWriter();
    w.writeVarintField(1, 8);
    expect(failure(w.finish())).toMatchObject({ code: "not-onnx", message: expect.stringContaining("no graph") });
    const v = new PbfWriter();
    v.writeVarintField(1, 8);
    v.writeBytesField(7, graph(small));
    expect(failure(v.finish())).toMatchObject({ code: "not-onnx", message: expect.stringContaining("opset_import") });
  });
});

describe("damaged files", () => {
  it("a model cut off anywhere is reported as such", () => {
    const whole = model(small);
    expect(() => importOnnx(whole)).not.toThrow();
    const codes = new Set<string>();
    for (let n = 0; n < whole.byteLength; n++) codes.add(failure(whole.subarray(0, n)).code);
    expect([...codes].sort()).toEqual(["not-onnx", "truncated"]);
    expect(failure(whole.subarray(0, whole.byteLength >> 1))).toMatchObject({
      code: "truncated",
      message: expect.stringMatching(/cut off.*bytes, inside a field/),
    });
  });

  it("changed bytes never crash, hang or throw anything but our errors", () => {
    const whole = model({ ...small, inputs: { x: ["f32", ["n", 3]] } });
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(whole.byteLength - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), (changes) => {
        const bytes = whole.slice();
        for (const [at, v] of changes) bytes[at] = v;
        for (const run of [importOnnx, inspectOnnx]) {
          try {
            run(bytes);
          } catch (e) {
            if (!(e instanceof TilewrightError) || e.name === "InternalError") throw e;
          }
        }
      }),
      { numRuns: 1500, seed: 7 },
    );
  });

  it("random bytes behind a valid head", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (tail) => {
        const bytes = Uint8Array.of(8, 8, 0x3a, tail.byteLength, ...tail, 0x42, 2, 0x10, 17);
        try {
          importOnnx(bytes);
        } catch (e) {
          if (!(e instanceof TilewrightError) || e.name === "InternalError") throw e;
        }
      }),
      { numRuns: 500, seed: 11 },
    );
  });

  it("nesting without end is refused", () => {
    let inner = graph({ nodes: [], outputs: [] });
    for (let i = 0; i < 60; i++) inner = graph({ nodes: [{ op: "If", in: ["c"], out: [], attrs: { then_branch: { graph: inner } } }], outputs: [] });
    const w = new PbfWriter();
    w.writeVarintField(1, 8);
    w.writeBytesField(7, inner);
    expect(failure(w.finish())).toMatchObject({ code: "malformed-protobuf", message: expect.stringContaining("nest deeper") });
  });
});

describe("tensors that do not fit", () => {
  const withW = (w: NonNullable<ModelSpec["initializers"]>[string]) => model({ ...small, initializers: { w } });
  it.each([
    ["too few bytes", withW({ dtype: "f32", dims: [3, 4], values: [1, 2, 3] }), "bad-tensor", /takes 48 bytes, the file holds 12/],
    ["no data at all", withW({ dtype: "f32", dims: [3, 4] }), "bad-tensor", /holds 0/],
    ["a size beyond memory", withW({ dtype: "f32", dims: [2 ** 40, 2 ** 40] }), "bad-tensor", /dims/],
    ["a rank beyond reason", withW({ dtype: "f32", dims: new Array<number>(5000).fill(1), values: [1] }), "bad-tensor", /at most 32/],
    [
      "external data without a resolver",
      withW({ dtype: "f32", dims: [3, 4], extra: externalEntries({ location: "w.bin" }) }),
      "external-data",
      /w\.bin/,
    ],
    ["external data nowhere", withW({ dtype: "f32", dims: [3, 4], extra: externalEntries({}) }), "external-data", /does not say/],
    [
      "external data of another length",
      withW({ dtype: "f32", dims: [3, 4], extra: externalEntries({ location: "w.bin", length: "12" }) }),
      "external-data",
      /takes 48 bytes/,
    ],
    ["a negative offset", withW({ dtype: "f32", dims: [3, 4], extra: externalEntries({ location: "w.bin", offset: "-4" }) }), "external-data", /-4/],
  ])("%s", (_, bytes, code, message) => {
    const e = failure(bytes);
    expect(e.code).toBe(code);
    expect(e.message).toMatch(message);
  });

  it("a dtype that there is none for is listed", () => {
    expect(failure(withW({ dtype: "string", dims: [3, 4] }))).toMatchObject({
      name: "UnsupportedError",
      code: "unsupported-ops",
      message: expect.stringContaining("dtype string"),
    });
  });
});

describe("the wire reader", () => {
  const fieldsOf = (bytes: Uint8Array, read: (r: WireReader, field: number) => unknown): unknown[] => {
    const r = new WireReader(bytes);
    const out: unknown[] = [];
    r.fields((f) => out.push(read(r, f)));
    return out;
  };
  it("reads 64-bit integers exactly", () => {
    fc.assert(
      fc.property(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), (v) => {
        const bytes = [8];
        let rest = BigInt.asUintN(64, v);
        do {
          bytes.push(Number(rest & 127n) | (rest > 127n ? 128 : 0));
          rest >>= 7n;
        } while (rest > 0n);
        expect(fieldsOf(Uint8Array.from(bytes), (r) => r.int64())).toEqual([v]);
      }),
    );
  });
  it("reads repeated integers packed and unpacked", () => {
    const read = (bytes: number[]): bigint[] => {
      const into: bigint[] = [];
      fieldsOf(Uint8Array.from(bytes), (r) => r.int64s(into));
      return into;
    };
    expect(read([8, 5, 8, 6])).toEqual([5n, 6n]);
    expect(read([10, 3, 5, 0x80, 1])).toEqual([5n, 128n]);
    expect(() => read([10, 2, 5, 0x80, 1])).toThrow(/beyond the message/);
  });
  it("gives bytes as views of the file", () => {
    const file = Uint8Array.of(10, 3, 1, 2, 3);
    const [view] = fieldsOf(file, (r) => r.bytes()) as [Uint8Array];
    expect(view.buffer).toBe(file.buffer);
    expect([...view]).toEqual([1, 2, 3]);
  });
  it.each([
    ["a length beyond the end", [10, 200, 1, 1]],
    ["a varint beyond the end", [8, 0x80]],
    ["a fixed number beyond the end", [13, 0, 0]],
    ["a varint of eleven bytes", [8, ...new Array<number>(10).fill(0x80), 1]],
    ["a wire type that does not exist", [15, 0, 0]],
    ["field number 0", [0, 1, 2]],
    ["a skipped field beyond the end", [0x7a, 90, 1]],
  ])("refuses %s", (_, bytes) => {
    expect(() =>
      fieldsOf(Uint8Array.from(bytes), (r, f) =>
        f === 1 && bytes[0] === 8 ? r.int64() : f === 1 && bytes[0] === 13 ? r.float() : f === 1 ? r.bytes() : null,
      ),
    ).toThrow(UserError);
  });
});
