import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Capabilities } from "../../src/base/machine.ts";
import { type Compiled, type PipelineOptions, compileGraph } from "../../src/compile.ts";
import type { OpDef } from "../../src/graph/op.ts";
import { randomChooser, seededRandom } from "../../src/schedule/random.ts";
import type { Program } from "../../src/loop/ir.ts";
import { type HostTensor, hostFromBytes, hostToBytes, sizeOf } from "../../src/graph/host.ts";
import { bindSymbols } from "../../src/graph/interpret.ts";
import { type CArtifact, makeCArtifact } from "../../src/targets/c/artifact.ts";
import { type LevelName, levelOf, levels } from "../../src/targets/c/levels.ts";
import { levelMachine } from "../../src/targets/c/machine.ts";
import { type Bounded, boundGraph, firstDifference } from "./bounds.ts";
import { type Batch, algorithmFactor, exampleCase } from "./executions.ts";
import { runProcess, twoAtATime } from "./processes.ts";

/** The machines of all levels, widest first. */
const cMachines = levels.map((l) => levelMachine(l.name));
/** For the pipeline: all levels. */
export const cOptions: PipelineOptions = { machines: cMachines, verify: true };

/** The C compilers that tests use where they are. */
export type CompilerName = "gcc" | "clang";
function has(name: string): boolean {
  return spawnSync(name, ["--version"]).status === 0;
}
const found = { gcc: has("gcc"), clang: has("clang") };
export function compilerThere(name: CompilerName): boolean {
  return found[name];
}
/** Why there are no tests with this compiler; null where there are. */
export const compilerMissing = (name: CompilerName): string | null =>
  found[name] ? null : `${name} is not installed (Debian: apt-get install ${name})`;

/** What is as users are told to build it, apart from optimisation; all warnings are errors. */
export const warningFlags = ["-Wall", "-Wextra", "-Wconversion", "-Werror"] as const;
export const baseFlags = ["-std=c11", "-ffp-contract=off"] as const;

export const sanitizers = ["-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"] as const;

const sanitizerOptions = { UBSAN_OPTIONS: "print_stacktrace=1" } as const;

/** Tests with a compiler, or none and the reason. */
export function withCompiler(compiler: CompilerName, body: () => void): void {
  const missing = compilerMissing(compiler);
  describe.skipIf(missing !== null)(`C by ${compiler}${missing === null ? "" : ` (skipped: ${missing})`}`, body);
}

/** The machine of a level. */
export function cMachine(name: LevelName): Capabilities {
  return levelMachine(name);
}

/** The examples of ops, each compiled under options of its own; `type` may change the dtypes of operands. */
export function exampleCases(ops: readonly OpDef[], options: () => PipelineOptions, type: (text: string) => string = (t) => t): CCase[] {
  return ops.flatMap((def) =>
    def.examples.flatMap((example, i): CCase[] => {
      const operands = example.operands.map((o) => ({ ...o, type: type(o.type) }));
      const { graph, inputs } = exampleCase(def, { ...example, operands }, seededRandom(i + 1));
      return [{ what: `${def.name} ${i}`, compiled: compileGraph(graph, options()), inputs, want: boundGraph(graph, inputs) }];
    }),
  );
}

/** The C of a compiled program, all of its levels. */
function cArtifactOf(c: CProgram["compiled"], name: string): CArtifact {
  return makeCArtifact({
    sc: c.sc,
    program: c.program,
    weights: c.weights,
    prepare: c.prepare,
    name,
    version: "0.0.0",
    sourceHash: "",
    inputNames: c.program.inputs.map((p) => p.name),
    outputNames: c.program.outputs.map((p) => p.name),
    levels: c.levels.map((l) => ({ level: levelOf(l.machine), program: l.program })),
    schedules: c.schedules,
  });
}

/** A program to run, with inputs. */
export interface CProgram {
  readonly what: string;
  readonly compiled: Pick<Compiled, "sc" | "program" | "levels" | "weights" | "prepare" | "schedules">;
  readonly inputs: readonly HostTensor[];
}

/** A program with what must come of its inputs. */
export interface CCase extends CProgram {
  readonly compiled: Compiled;
  readonly want: readonly Bounded[];
  /** Widens the bounds. */
  readonly factor?: number;
}

/** A program that runs every case at every level that the processor has, each twice, in memory of exactly the size that was asked for. */
const driver = `#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define CASE(n) \\
  void *n##_make(void); int64_t n##_arena_bytes(const int32_t *); int n##_init(void *, const void *, size_t, void *, size_t); \\
  int n##_level(void *, const char *); int n##_run(void *, const int32_t *, const void *const *, void *const *); \\
  int64_t n##_input_bytes(const int32_t *, int); int64_t n##_made_bytes(void *, const int32_t *, int); extern const int n##_counts[3]; \\
  int64_t n##_output_bytes(const int32_t *, int); int64_t n##_needed(void *); int n##_take(void *, const int32_t *, int, void *); \\
  int n##_dims(void *, const int32_t *, int, int64_t *);
#include "cases.h"
#undef CASE
#define CASE(n) {n##_make, n##_arena_bytes, n##_init, n##_level, n##_run, n##_input_bytes, n##_made_bytes, n##_counts, \\
  n##_output_bytes, n##_needed, n##_take, n##_dims},
static const struct {
  void *(*make)(void); int64_t (*arena_bytes)(const int32_t *); int (*init)(void *, const void *, size_t, void *, size_t);
  int (*level)(void *, const char *); int (*run)(void *, const int32_t *, const void *const *, void *const *);
  int64_t (*input_bytes)(const int32_t *, int); int64_t (*made_bytes)(void *, const int32_t *, int); const int *counts;
  int64_t (*output_bytes)(const int32_t *, int); int64_t (*needed)(void *); int (*take)(void *, const int32_t *, int, void *);
  int (*dims)(void *, const int32_t *, int, int64_t *);
} cases[] = {
#include "cases.h"
};
static void fail(const char *what, size_t i, int status) { fprintf(stderr, "case %zu: %s: %d\\n", i, what, status); exit(1); }
static void *take(size_t bytes) {
  void *p = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
  if (p == NULL || (bytes > 0 && fread(p, 1, bytes, stdin) != bytes)) { fprintf(stderr, "no input of %zu bytes\\n", bytes); exit(1); }
  return p;
}
int main(void) {
  static const char *const names[] = {"avx512", "avx2", "sse42", "portable"};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
    const int inputs = cases[i].counts[0], outputs = cases[i].counts[1], symbols = cases[i].counts[2];
    int32_t *sizes = take((size_t)symbols * 4);
    int64_t *bytes = take(8);
    void *weights = take((size_t)*bytes);
    const void *given[64];
    for (int k = 0; k < inputs; ++k) given[k] = take((size_t)cases[i].input_bytes(sizes, k));
    int64_t arena_bytes = cases[i].arena_bytes(sizes);
    if (arena_bytes < 0) fail("arena_bytes", i, (int)arena_bytes);
    for (int l = 0; l < 4; ++l) {
      /* Of the very size, so that nothing behind it is touched unseen; all bits set, so that nothing counts on zeros. */
      void *arena = NULL;
      if (posix_memalign(&arena, 64, (size_t)arena_bytes) != 0) fail("memory", i, 0);
      memset(arena, 0xff, (size_t)arena_bytes);
      void *m = cases[i].make();
      int status = cases[i].init(m, weights, (size_t)*bytes, arena, (size_t)arena_bytes);
      if (status != 0) fail("init", i, status);
      status = cases[i].level(m, names[l]);
      fwrite(&status, 4, 1, stdout);
      for (int twice = 0; status == 0 && twice < 2; ++twice) {
        const int32_t *given_sizes = symbols == 0 ? NULL : sizes;
        void *copied[64];
        /* At most so many bytes; for what nobody knows before, none. */
        for (int k = 0; k < outputs; ++k) copied[k] = cases[i].output_bytes(sizes, k) < 0 ? NULL : malloc((size_t)cases[i].output_bytes(sizes, k) + 1);
        int ran = cases[i].run(m, given_sizes, given, copied);
        while (ran == -4) {
          const int64_t needed = cases[i].needed(m);
          if (needed <= arena_bytes) fail("needed", i, (int)needed);
          arena_bytes = needed;
          free(arena);
          if (posix_memalign(&arena, 64, (size_t)arena_bytes) != 0) fail("memory", i, 0);
          memset(arena, 0xff, (size_t)arena_bytes);
          if (cases[i].init(m, weights, (size_t)*bytes, arena, (size_t)arena_bytes) != 0 || cases[i].level(m, names[l]) != 0) fail("again", i, 0);
          ran = cases[i].run(m, given_sizes, given, copied);
        }
        if (ran != 0) fail("run", i, ran);
        for (int k = 0; k < outputs; ++k) {
          int64_t dims[64];
          const int rank = cases[i].dims(m, given_sizes, k, dims);
          const int64_t made = cases[i].made_bytes(m, given_sizes, k);
          void *to = malloc((size_t)made + 1);
          if (cases[i].take(m, given_sizes, k, to) != 0 || (copied[k] != NULL && memcmp(to, copied[k], (size_t)made) != 0)) fail("take", i, k);
          fwrite(dims, 8, (size_t)rank, stdout);
          fwrite(to, 1, (size_t)made, stdout);
          free(to);
          free(copied[k]);
        }
      }
      free(m);
      free(arena);
    }
    for (int k = 0; k < inputs; ++k) free((void *)(uintptr_t)given[k]);
    free(weights); free(bytes); free(sizes);
  }
  return 0;
}
`;

/** How the driver gets at what a run made, by the functions that the program's API has. */
function resultsOf(n: string, p: Program): string {
  const data = p.dataSymbols.length > 0;
  const ranks = p.outputs.map((o) => o.dims.length);
  const dim = data ? `${n}_result_dim(m, k, d)` : `${n}_output_dim(sizes, k, d)`;
  const take = data ? `return ${n}_read(m, k, to);` : `memcpy(to, ${n}_output(m, sizes, k), (size_t)${n}_output_bytes(sizes, k));\n  return 0;`;
  return `int64_t ${n}_made_bytes(void *m, const int32_t *sizes, int k);
int64_t ${n}_made_bytes(void *m, const int32_t *sizes, int k) {
  (void)m, (void)sizes;
  return ${data ? `${n}_result_bytes(m, k)` : `${n}_output_bytes(sizes, k)`};
}
int64_t ${n}_needed(void *m);
int64_t ${n}_needed(void *m) {
  (void)m;
  return ${p.room === null ? "0" : `${n}_needed_bytes(m)`};
}
int ${n}_take(void *m, const int32_t *sizes, int k, void *to);
int ${n}_take(void *m, const int32_t *sizes, int k, void *to) {
  (void)sizes;
  ${take}
}
int ${n}_dims(void *m, const int32_t *sizes, int k, int64_t *dims);
int ${n}_dims(void *m, const int32_t *sizes, int k, int64_t *dims) {
  static const int ranks[] = {${[...ranks, 0].join(", ")}};
  (void)m, (void)sizes;
  for (int d = 0; d < ranks[k]; ++d) dims[d] = ${dim};
  return ranks[k];
}
`;
}

/** Compiles all cases with the compiler and runs them; gives what they wrote. */
async function runCases(cases: readonly CProgram[], compiler: CompilerName, flags: readonly string[]): Promise<Buffer> {
  const folder = mkdtempSync(join(tmpdir(), "tilewright-c-"));
  try {
    const all = [...baseFlags, "-D_GNU_SOURCE", ...flags];
    // The headers, read once; defined is what freestanding code defines before it includes them.
    writeFileSync(
      join(folder, "all.h"),
      "#define _MM_MALLOC_H_INCLUDED 1\n#include <immintrin.h>\n#include <math.h>\n#include <string.h>\n#include <stdlib.h>\n",
    );
    await runProcess(compiler, [...all, "-x", "c-header", "all.h", "-o", compiler === "gcc" ? "all.h.gch" : "all.pch"], { cwd: folder });
    const header = compiler === "gcc" ? ["-include", "all.h"] : ["-include-pch", "all.pch"];
    const names = cases.map((_, i) => `case${i}`);
    const artifacts = cases.map((c, i) => cArtifactOf(c.compiled, names[i] as string));
    const compile = artifacts.map((a, i) => async () => {
      const name = names[i] as string;
      const counts = `const int ${name}_counts[3] = {${name.toUpperCase()}_INPUTS, ${name.toUpperCase()}_OUTPUTS, ${name.toUpperCase()}_SYMBOLS};\n`;
      const make = `void *${name}_make(void);\nvoid *${name}_make(void) {\n  return malloc(sizeof(struct ${name}));\n}\n`;
      const results = resultsOf(name, (cases[i] as CProgram).compiled.program);
      writeFileSync(join(folder, `${name}.h`), a.files["model.h"]);
      const text = a.files["model.c"].replace(`#include "model.h"`, `#include "${name}.h"`);
      writeFileSync(join(folder, `${name}.c`), `${text}\n#include <stdlib.h>\nextern const int ${name}_counts[3];\n${counts}${make}${results}`);
      await runProcess(compiler, [...all, ...header, "-c", `${name}.c`, "-o", `${name}.o`], { cwd: folder }).catch((e: Error) => {
        throw new Error(`${cases[i]?.what}: ${e.message}`);
      });
    });
    await twoAtATime(compile);
    writeFileSync(join(folder, "cases.h"), names.map((n) => `CASE(${n})\n`).join(""));
    writeFileSync(join(folder, "main.c"), driver);
    const plain = flags.filter((f) => !f.startsWith("-W"));
    await runProcess(compiler, [...baseFlags, "-D_GNU_SOURCE", ...plain, "main.c", ...names.map((n) => `${n}.o`), "-o", "main", "-lm", "-lpthread"], {
      cwd: folder,
    });
    return await runProcess(join(folder, "main"), [], { cwd: folder, env: sanitizerOptions, input: await inputsOf(cases, artifacts) });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Compiles all cases with the compiler, runs them, and gives every disagreement with what they must give. */
export async function cDisagreements(cases: readonly CCase[], compiler: CompilerName, flags: readonly string[]): Promise<string[]> {
  const wrong: string[] = [];
  for (const o of readOutputs(cases, await runCases(cases, compiler, flags))) {
    const { what, compiled, want, factor = 1 } = cases[o.index] as CCase;
    const difference = firstDifference(o.got, want[o.output] as Bounded, factor * algorithmFactor(compiled));
    if (difference !== null)
      wrong.push(`${what}, ${o.level}, run ${o.run}, output ${o.output}: ${difference}; schedules: ${[...compiled.schedules.values()].join(" ")}`);
  }
  return wrong;
}

/** What programs give at each level that runs here. */
export async function cOutputs(cases: readonly CProgram[], compiler: CompilerName, flags: readonly string[]): Promise<COutput[]> {
  return readOutputs(cases, await runCases(cases, compiler, flags));
}

/** Schedules that a batch compiles each of its programs under. */
type BatchSchedule = "default" | "empty" | "random";

/**
 * What the tests of a file ran as WASM, to be run as C, at all levels that this processor has. They are collected, since
 * starting a C compiler and a process for each would take longer than all the rest.
 */
export class CBatch implements Batch {
  private readonly schedules: readonly BatchSchedule[];
  private readonly random = seededRandom(31);
  readonly cases: CCase[] = [];
  constructor(schedules: readonly BatchSchedule[] = ["default", "empty", "random"]) {
    this.schedules = schedules;
  }
  add(compile: (o: PipelineOptions) => Compiled, inputs: readonly HostTensor[], want: readonly Bounded[], factor: number): void {
    if (compilerMissing("gcc") !== null) return;
    for (const name of this.schedules) {
      const schedule = name === "random" ? randomChooser(cMachine("avx512"), this.random) : name;
      const what = `${expect.getState().currentTestName}, ${name} schedule`;
      this.cases.push({ what, compiled: compile({ ...cOptions, schedule }), inputs, want, factor });
    }
  }
}

/** The test of a file's batch; it must come after all that fill it. The optimiser is on where it does not take too long. */
export function testBatch(batch: CBatch, optimisation: "-O0" | "-O1" = "-O1"): void {
  withCompiler("gcc", () => {
    test("all of these as C, at all levels, without warnings", async () => {
      expect(batch.cases.length).toBeGreaterThan(0);
      expect(await cDisagreements(batch.cases, "gcc", [optimisation, "-DTW_FREESTANDING", ...warningFlags])).toEqual([]);
    }, 300_000);
  });
}

function symbolsOf(c: CProgram): number[] {
  const { program: p } = c.compiled;
  const env = bindSymbols(
    p.inputs,
    c.inputs.map((t) => t.dims),
  );
  return p.symbols.map((s) => env.get(s.name) as number);
}

async function inputsOf(cases: readonly CProgram[], artifacts: readonly CArtifact[]): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for (const [i, c] of cases.entries()) {
    const a = artifacts[i] as CArtifact;
    const weights = new Uint8Array(a.manifest.weight_bytes);
    await a.writeWeights((offset, bytes) => weights.set(bytes, offset));
    const size = new Uint8Array(new BigInt64Array([BigInt(weights.length)]).buffer);
    parts.push(new Uint8Array(Int32Array.from(symbolsOf(c)).buffer), size, weights, ...c.inputs.map(hostToBytes));
  }
  return Buffer.concat(parts);
}

/** One output of one run. */
export interface COutput {
  /** Of the program. */
  readonly index: number;
  readonly level: LevelName;
  readonly run: number;
  readonly output: number;
  readonly got: HostTensor;
}

function readOutputs(cases: readonly CProgram[], out: Buffer): COutput[] {
  const outputs: COutput[] = [];
  let at = 0;
  for (const [index, c] of cases.entries()) {
    const { program: p } = c.compiled;
    for (const { name: level } of levels) {
      const status = out.readInt32LE(at);
      at += 4;
      if (status !== 0) continue;
      for (const run of [1, 2]) {
        p.outputs.forEach((o, output) => {
          const start = at;
          const dims = o.dims.map((_, d) => Number(out.readBigInt64LE(start + 8 * d)));
          at += 8 * dims.length;
          const bytes = o.dtype.bytes(sizeOf(dims));
          const got = hostFromBytes(o.dtype, dims, new Uint8Array(out.subarray(at, at + bytes)).slice());
          at += bytes;
          outputs.push({ index, level, run, output, got });
        });
      }
    }
  }
  if (at !== out.length) throw new Error(`the program wrote ${out.length} bytes, expected ${at}`);
  return outputs;
}
