import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ModelSpec, externalEntries, model, rawBytes } from "../../test/support/onnx.ts";
import { UserError } from "../base/errors.ts";
import { importOnnx } from "../frontends/onnx/import.ts";
import { hostFrom } from "../graph/host.ts";
import { interpretGraph } from "../graph/interpret.ts";
import { f32 } from "../base/dtype.ts";
import { type FileResolver, folderResolver } from "./external-data.ts";

let root = "";
let folder = "";
let resolver: FileResolver;
const weights = [1, 2, 3, 4, 5, 6];

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "tilewright-external-"));
  folder = join(root, "model");
  mkdirSync(join(folder, "data"), { recursive: true });
  const bytes = new Uint8Array([...rawBytes("f32", [9, 9]), ...rawBytes("f32", weights)]);
  writeFileSync(join(folder, "data", "w.bin"), bytes);
  writeFileSync(join(root, "secret.bin"), bytes);
  symlinkSync(join(root, "secret.bin"), join(folder, "link.bin"));
  symlinkSync(root, join(folder, "up"));
  symlinkSync("data/w.bin", join(folder, "inside.bin"));
  resolver = folderResolver(folder);
});
afterAll(() => {
  resolver.close();
  rmSync(root, { recursive: true });
});

const spec = (entries: Record<string, string>): ModelSpec => ({
  inputs: { x: ["f32", [2, 3]] },
  initializers: { w: { dtype: "f32", dims: [2, 3], extra: externalEntries(entries) } },
  nodes: [{ op: "Add", in: ["x", "w"], out: ["y"] }],
  outputs: ["y"],
});
function failure(location: string, more: Record<string, string> = {}): UserError {
  try {
    importOnnx(model(spec({ location, ...more })), { resolver });
  } catch (e) {
    if (e instanceof UserError) return e;
    throw e;
  }
  throw new Error("the import went through");
}

describe("external data", () => {
  it.each(["data/w.bin", "./data/w.bin", "inside.bin", "data/../data/w.bin"])("%s is read, range by range", (location) => {
    const m = importOnnx(model(spec({ location, offset: "8", length: "24" })), { resolver });
    const [y] = interpretGraph(m.graph, [hostFrom(f32, [2, 3], () => 10)]);
    expect(Array.from(y?.data ?? [], Number)).toEqual(weights.map((w) => w + 10));
  });

  it.each([
    ["missing", "none.bin", {}, "external-data-missing", /no such file/],
    ["absolute", "/etc/passwd", {}, "external-data-path", /absolute/],
    ["absolute on Windows", "C:\\w.bin", {}, "external-data-path", /absolute/],
    ["out by ..", "../secret.bin", {}, "external-data-path", /leads out/],
    ["out by .. in the middle", "data/../../secret.bin", {}, "external-data-path", /leads out/],
    ["out by .. and backslashes", "data\\..\\..\\secret.bin", {}, "external-data-path", /leads out/],
    ["out by a link", "link.bin", {}, "external-data-path", /link that leads out/],
    ["out by a linked folder", "up/secret.bin", {}, "external-data-path", /link that leads out/],
    ["a folder", "data", {}, "external-data-kind", /a folder/],
    ["a NUL character", "w\0.bin", {}, "external-data-path", /NUL/],
    ["too short", "data/w.bin", { offset: "12" }, "external-data-short", /bytes 12 to 36.*only 32/],
    ["an offset beyond the end", "data/w.bin", { offset: "4000" }, "external-data-short", /only 32/],
  ])("%s is refused", (_, location, more, code, message) => {
    const e = failure(location, more);
    expect(e.code).toBe(code);
    expect(e.message).toMatch(message);
  });

  it("a pipe is refused without waiting for a writer", () => {
    execFileSync("mkfifo", [join(folder, "pipe.bin")]);
    expect(failure("pipe.bin")).toMatchObject({ code: "external-data-kind", message: expect.stringContaining("no regular file") });
  });

  it("nothing is read before the bytes are asked for, and the key names the range", () => {
    const open = () => resolver.open("data/w.bin", 8, 8);
    const data = open();
    const other = resolver.open("data/w.bin", 16, 8);
    expect(data.key).toBe(open().key);
    expect(data.key).not.toBe(other.key);
    expect(new Float32Array(data.read(0, 8).buffer)).toEqual(Float32Array.of(1, 2));
    expect(new Float32Array(data.read(4, 4).buffer)).toEqual(Float32Array.of(2));
    expect(resolver.open("data/w.bin", 8, null).byteLength).toBe(24);
  });

  it("a file that became shorter is noticed", () => {
    const path = join(folder, "shrinks.bin");
    writeFileSync(path, new Uint8Array(readFileSync(join(folder, "data", "w.bin"))));
    const data = resolver.open("shrinks.bin", 8, 24);
    writeFileSync(path, new Uint8Array(10));
    expect(() => data.read(0, 24)).toThrow(/became shorter/);
  });
});
