import { describe, expect, test } from "vitest";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CProgram, baseFlags, cOptions, cOutputs, sanitizers, warningFlags, withCompiler } from "../../test/support/c.ts";
import { runProcess } from "../../test/support/processes.ts";
import { buildC } from "../build-c.ts";
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

/** A model that lives in memory of its own: inputs written in place stay for a run that is repeated; then one that fails. */
const hostedMain = `#include <stdio.h>
#include "model.h"
static int run(struct dynamic *m, int32_t k) {
  const int32_t symbols[] = {3}, values[] = {k - 3, 2, 1};
  int32_t *x = (int32_t *)dynamic_input(m, symbols, 0);
  if (x == NULL) return 1;
  for (int i = 0; i < 3; ++i) x[i] = values[i];
  const int status = dynamic_run(m, symbols, NULL, NULL);
  int32_t value = 0;
  const char *fault = dynamic_fault(m, &value);
  if (status < 0) {
    printf("%d %lld %s %d\\n", status, (long long)dynamic_result_dim(m, 0, 0), fault, value);
    return 0;
  }
  const int64_t n = dynamic_result_dim(m, 0, 0);
  const int32_t *y = (const int32_t *)dynamic_output(m, symbols, 0);
  int32_t last = 0;
  for (int64_t i = 0; i < n; ++i) last = y[i];
  printf("%lld %lld %d %d\\n", (long long)n, (long long)dynamic_result_bytes(m, 0), last, fault == NULL);
  return 0;
}
int main(void) {
  struct dynamic *m = NULL;
  const int32_t symbols[] = {3};
  if (dynamic_open(&m, NULL, 2) != DYNAMIC_OK) return 1;
  printf("%lld %lld\\n", (long long)dynamic_output_bytes(symbols, 0), (long long)dynamic_result_bytes(m, 0));
  const int32_t sizes[] = {7, 300000, 0, 20, -5, 1000, 2147483647};
  for (int i = 0; i < 7; ++i)
    if (run(m, sizes[i]) != 0) return 2;
  dynamic_close(m);
  return 0;
}
`;

withCompiler("gcc", () => {
  test("C in memory of its own, under the sanitizers", async () => {
    const { artifact } = buildC(importSource(new TextEncoder().encode(dynamicText), { name: "dynamic" }), {}, ["avx2", "portable"]);
    const folder = mkdtempSync(join(tmpdir(), "tilewright-control-"));
    try {
      writeFileSync(join(folder, "model.c"), artifact.files["model.c"]);
      writeFileSync(join(folder, "model.h"), artifact.files["model.h"]);
      writeFileSync(join(folder, "main.c"), hostedMain);
      const flags = [...baseFlags, ...warningFlags, ...sanitizers, "-O1", "model.c", "main.c", "-o", "main", "-lm", "-lpthread"];
      await runProcess("gcc", flags, { cwd: folder });
      const lines = (await runProcess(join(folder, "main"), [], { cwd: folder })).toString().trim().split("\n");
      const made = (k: number): string => `${k} ${4 * k} ${dynamicResult(k)[k - 1] ?? 0} 1`;
      expect(lines).toEqual([
        "-12 -12",
        made(7),
        made(300_000),
        made(0),
        made(20),
        "-11 -12 k is {}, which is negative -5",
        made(1000),
        "-11 -12 the tensor 'a', whose size the model computes, needs {} MiB; a tensor must stay below 2048 MiB 8192",
      ]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

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
