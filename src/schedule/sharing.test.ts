import { describe, expect, it } from "vitest";
import { f32 } from "../base/dtype.ts";
import type { Capabilities } from "../base/machine.ts";
import { Reader } from "../base/text.ts";
import { compileGraph } from "../compile.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { hostFrom } from "../graph/host.ts";
import type { Program } from "../loop/ir.ts";
import { parseProgram } from "../loop/parse.ts";
import { printProgram } from "../loop/print.ts";
import { Scalars } from "../scalar/scalars.ts";
import { levelMachine } from "../targets/c/machine.ts";
import { launchesOf } from "../targets/launches.ts";
import { wasmMachine } from "../targets/wasm/machine.ts";

/** A product with constant weights, which schedules run block of columns by block of columns, each over all rows. */
function product(machine: Capabilities, rows: number, depth: number, columns: number): Program {
  const g = new GraphBuilder();
  const x = g.param("x", { dtype: f32, dims: [rows, depth] });
  const w = g.host(
    hostFrom(f32, [depth, columns], (i) => Math.sin(i)),
    "w",
  );
  const y = g.one("dot", [x, w], { batchA: [], batchB: [], contractA: [1], contractB: [0] });
  return compileGraph(g.finish("one", [], [y]), { machines: [machine] }).program;
}

describe("how threads share two loops that are one range", () => {
  const avx512 = levelMachine("avx512");

  it("by rows, of which each thread then reads and writes its own, where weights are few", () => {
    const [launch, ...others] = launchesOf(product(avx512, 196, 96, 576));
    expect(others).toEqual([]);
    expect([launch?.count.constant, launch?.row?.constant]).toEqual([441, 49]);
  });

  it("by columns where each thread would read many weights", () => {
    const [launch] = launchesOf(product(avx512, 196, 112, 672));
    expect([launch?.count.constant, launch?.row]).toEqual([392, undefined]);
  });

  it("as it comes where threads have no shares of their own", () => {
    expect(launchesOf(product(wasmMachine, 196, 96, 576)).every((s) => s.row === undefined)).toBe(true);
  });

  it("is printed and read back", () => {
    const text = printProgram(product(avx512, 196, 96, 576));
    expect(text).toContain(" over [0, 441) in rows of 49 grain 14 threads from ");
    expect(printProgram(parseProgram(new Reader(text), new Scalars()))).toBe(text);
  });
});
