import { describe, expect, test } from "vitest";
import { type CProgram, cOptions, cOutputs, warningFlags, withCompiler } from "../../test/support/c.ts";
import { runInInterpreter, runInWasm } from "../../test/support/run.ts";
import { i32 } from "../base/dtype.ts";
import { type Compiled, type PipelineOptions, defaultPasses } from "../compile.ts";
import { type HostTensor, hostFrom } from "../graph/host.ts";
import { importSource } from "../importer.ts";
import { compileSource } from "../load.ts";

/** Programs whose main branches, loops, and computes sizes, run by the interpreter and as WASM. */

const compile = (text: string, options: PipelineOptions = {}): Compiled =>
  compileSource(importSource(new TextEncoder().encode(text), { name: "control" }), [], defaultPasses, options);
const numbers = (...values: readonly number[]): HostTensor => hostFrom(i32, [values.length], (i) => values[i] as number);
const executions: readonly (readonly [string, (c: Compiled, inputs: readonly HostTensor[]) => Promise<HostTensor[]>])[] = [
  ["the interpreter", (c, inputs) => runInInterpreter(c, inputs)],
  ["WASM", (c, inputs) => runInWasm(c, inputs, false)],
];

const kernels = `
  kernel @total(param %x: i32, out param %s: i32, n: i32 min 0) over [begin, end) {
    %s[0] = 0
    for i in [0, n) {
      %s[0] = %s[0] + %x[i]
    }
  }
  kernel @count(out param %y: i32, from: i32) over [begin, end) {
    for i in [begin, end) {
      %y[i] = i + from
    }
  }
  kernel @square(param %x: i32, out param %y: i32) over [begin, end) {
    for i in [begin, end) {
      %y[i] = %x[i] * %x[i]
    }
  }
  kernel @add(param %x: i32, param %z: i32, out param %y: i32) over [begin, end) {
    for i in [begin, end) {
      %y[i] = %x[i] + %z[i]
    }
  }`;

/** As many numbers as the inputs add up to; `a` to `c` and the output have a size that nobody knows before. */
const dynamicText = `program @dynamic {
  symbol n in [1, 64]
  symbol k in [0, inf] data
  fault "k is {}, which is negative"
  memory weights, arena bytes 0
  room room
  alloc %report as report bytes 12
  alloc %x as x bytes n * 4
  alloc %sum as sum bytes 4
  alloc %a as a bytes k * 4 dynamic
  alloc %b as b bytes k * 4 dynamic
  alloc %c as c bytes k * 4 dynamic
  alloc %t as t bytes k * 8 dynamic
  alloc %y as y bytes k * 4 dynamic
  report report
  input %x: i32[n] at x
  output %y: i32[k] at y
  output %sum: i32[1] at sum${kernels}
  main {
    uses param %r: i32
    uses param %s: i32
    %r{report, 0} = 0
    launch @total(x, sum, n) over [0, 1) grain 1
    require %s{sum, 0} >= 0 fault 0 got %s{sum, 0}
    let k: i32 = %s{sum, 0}
    %r{report, 8} = k
    launch @count(a, 0) over [0, k) grain 16
    launch @square(a, b) over [0, k) grain 16
    launch @square(b, c) over [0, k) grain 16
    let i: i32 min 0 = 0
    launch @count(y, 0) over [0, k) grain 16
    while i < 3 {
      launch @count(t, i) over [0, k * 2) grain 16
      launch @add(y, c, y) over [0, k) grain 16
      launch @add(y, t, y) over [0, k) grain 16
      i = i + 1
    }
  }
}
`;
const fourth = (i: number): number => Math.imul(Math.imul(i, i), Math.imul(i, i));
const dynamicResult = (k: number): number[] => Array.from({ length: k }, (_, i) => (i + Math.imul(3, fourth(i)) + (i + i + 1 + i + 2)) | 0);

withCompiler("gcc", () => {
  const programs = [0, 21, 40_000].map((k): CProgram => {
    const compiled = compile(dynamicText, cOptions);
    return { what: `k = ${k}`, compiled, inputs: [numbers(k - 3, 2, 1)] };
  });
  test.each([["-DTW_FREESTANDING"], ["-fsanitize=address,undefined"]])("C at all levels, %s", async (flag) => {
    const found = await cOutputs(programs, "gcc", ["-O1", flag, ...warningFlags]);
    expect(found.length).toBeGreaterThanOrEqual(3 * 2 * 2);
    for (const { index, output, got } of found) {
      const k = [0, 21, 40_000][index] as number;
      expect([...got.data].map(Number)).toEqual(output === 0 ? dynamicResult(k) : [k]);
    }
  });
});

describe.each(executions)("by %s", (_, run) => {
  test("allocations of sizes that main computes; a run is repeated with more room", async () => {
    const c = compile(dynamicText);
    for (const k of [0, 1, 20, 5, 40_000, 21]) {
      const [y, sum] = await run(c, [numbers(k - 3, 2, 1)]);
      expect(y?.dims).toEqual([k]);
      expect([...(y?.data ?? [])].map(Number)).toEqual(dynamicResult(k));
      expect(Number(sum?.data[0])).toBe(k);
    }
  });
  test("what main requires, and what no memory is large enough for", async () => {
    const c = compile(dynamicText);
    await expect(run(c, [numbers(-3)])).rejects.toThrow("k is -3, which is negative");
    await expect(run(c, [numbers(2 ** 30)])).rejects.toThrow(
      "the tensor 'a', whose size the model computes, needs 4096 MiB; a tensor must stay below 2048 MiB",
    );
  });
});
