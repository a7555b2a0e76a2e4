import { afterAll, expect, it } from "vitest";
import { Bytes, encodeModule } from "../targets/wasm/encoder.ts";
import type { Runnable } from "../tune/engine.ts";
import { WorkerEngine } from "./measure.ts";

/** `main` with that code; an i32 at address 1024 is its result. */
function runnable(code: Bytes, symbols: readonly number[] = []): Runnable {
  const type = { params: symbols.map(() => "i32" as const), results: [] };
  const module = encodeModule([{ name: "main", type, locals: [], code, exported: true }], [], { initial: 1, maximum: null, shared: false });
  return { module, pages: 1, fills: [{ at: 1024, bytes: new Uint8Array([5, 0, 0, 0]) }], outputs: [{ at: 1024, bytes: 4 }], symbols, threads: null };
}
/** memory[1024] = memory[1024] + the argument */
const adding = (n: number) =>
  runnable(new Bytes().byte(0x41).s32(1024).byte(0x41).s32(1024).byte(0x28, 0x02, 0x00, 0x20, 0x00, 0x6a, 0x36, 0x02, 0x00), [n]);
const trapping = runnable(new Bytes().byte(0x00));
const hanging = runnable(new Bytes().byte(0x03, 0x40, 0x0c, 0x00, 0x0b));

const engine = new WorkerEngine({ loadMs: 1500 });
afterAll(() => engine.close());

it("runs a module on what its memory was filled with, and times it in turns with another", async () => {
  const [a, b] = [await engine.load(adding(3)), await engine.load(adding(4))];
  if (a.kind !== "ran" || b.kind !== "ran") throw new Error("did not run");
  expect([...(a.outputs[0] ?? [])]).toEqual([8, 0, 0, 0]);
  expect([...(b.outputs[0] ?? [])]).toEqual([9, 0, 0, 0]);
  const times = await engine.time([a.id, b.id], 4);
  expect(times?.map((t) => t.length)).toEqual([4, 4]);
  expect(times?.flat().every((t) => t > 0 && t < 100)).toBe(true);
});

it("tells of a trap, and of what is no module", async () => {
  expect(await engine.load(trapping)).toMatchObject({ kind: "trap", why: "unreachable" });
  expect(await engine.load({ ...trapping, module: new Uint8Array(8) })).toMatchObject({ kind: "trap" });
});

it("ends what does not come to an end, and goes on with what was loaded before", async () => {
  const a = await engine.load(adding(3));
  if (a.kind !== "ran") throw new Error("did not run");
  expect(await engine.load(hanging)).toMatchObject({ kind: "hang", why: /no result after 1.5 s/ });
  expect((await engine.time([a.id], 2))?.[0]?.length).toBe(2);
});
