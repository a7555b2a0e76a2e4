import { createHash } from "node:crypto";
import { afterEach, expect, test, vi } from "vitest";
import { HashCheck, sha256Here } from "./hash.ts";

afterEach(() => vi.unstubAllGlobals());

const expected = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const filled = (n: number) => Uint8Array.from({ length: n }, (_, i) => (i * 167 + (i >> 8)) & 255);

test("the own SHA-256 gives what the engine's does, for every length around a block's end", () => {
  for (let n = 0; n <= 200; n++) expect(sha256Here(filled(n))).toBe(expected(filled(n)));
  const long = filled(1_000_003);
  expect(sha256Here(long)).toBe(expected(long));
  expect(sha256Here(long.subarray(7, 70_000))).toBe(expected(long.subarray(7, 70_000)));
});

test.each(["with the engine's", "without the engine's"])("a damaged file is told by its name and both hashes, %s", async (way) => {
  if (way.startsWith("without")) vi.stubGlobal("crypto", {});
  const hashes = new HashCheck();
  for (const bytes of [filled(1000), new Uint8Array(new SharedArrayBuffer(1000))]) {
    await hashes.compare("piece 3", bytes, expected(bytes));
    const other = expected(bytes.subarray(1));
    await expect(hashes.compare("piece 3", bytes, other)).rejects.toMatchObject({
      name: "UserError",
      code: "artifact",
      message: expect.stringMatching(new RegExp(`^piece 3: its SHA-256 is ${expected(bytes)}, expected ${other}`)),
    });
  }
});
