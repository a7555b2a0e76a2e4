import { expect, test } from "vitest";
import { hostFromBytes } from "../graph/host.ts";
import { aligned, alignedBytes, inlineConstant } from "./constant.ts";
import { f64 } from "./dtype.ts";

test("bytes at an odd address are copied, a Node Buffer's too; aligned ones are not", () => {
  const memory = new ArrayBuffer(32);
  const values = new Uint8Array(new Float64Array([1.5, -2]).buffer);
  for (const make of [(at: number) => new Uint8Array(memory, at, 16), (at: number) => Buffer.from(memory, at, 16)]) {
    const odd = make(3);
    odd.set(values);
    expect([...new Float64Array(alignedBytes(inlineConstant(odd)).buffer)]).toEqual([1.5, -2]);
    expect([...hostFromBytes(f64, [2], odd).data]).toEqual([1.5, -2]);
    expect(aligned(odd).byteOffset % 8).toBe(0);
    const even = make(8);
    expect(aligned(even)).toBe(even);
  }
});
