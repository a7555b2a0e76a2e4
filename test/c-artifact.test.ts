import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { f32 } from "../src/base/dtype.ts";
import { importOnnx } from "../src/frontends/onnx/import.ts";
import { type HostTensor, hostFrom, hostFromBytes, hostToBytes } from "../src/graph/host.ts";
import { seededRandom } from "../src/schedule/random.ts";
import { boundGraph, firstDifference } from "./support/bounds.ts";
import { sanitizers, warningFlags, withCompiler } from "./support/c.ts";
import { CliFolder } from "./support/cli.ts";

/** Artifacts of target c as users build and use them. */

const digits = fileURLToPath(new URL("../examples/digits/digits.onnx", import.meta.url));

/** The build commands that a header's first comment gives. */
function commandsOf(header: string): string[][] {
  const comment = header.slice(0, header.indexOf("*/"));
  return [...comment.matchAll(/^\s+(cc -std=c11 .*)$/gm)].map((m) => (m[1] as string).split(" "));
}

/** A model of some size for threads: a product, a softmax over its rows, another product; `n` rows. */
const constant = (v: number, count: number) =>
  `hex("${Buffer.from(Float32Array.from([v]).buffer)
    .toString("hex")
    .repeat(count)}")`;
const attention = (n: string) => `graph @attention {
${n === "n" ? "  symbol n in [1, 600]\n" : ""}  input %q: f32[${n}, 64]
  %k: f32[64, 512] = constant() {dtype = f32, dims = [64, 512], data = ${constant(0.0625, 64 * 512)}}
  %s: f32[${n}, 512] = dot(%q, %k) {batchA = [], batchB = [], contractA = [1], contractB = [0]} from "scores"
  %p: f32[${n}, 512] = softmax(%s) {axis = 1} from "softmax"
  %v: f32[512, 96] = constant() {dtype = f32, dims = [512, 96], data = ${constant(0.5, 512 * 96)}}
  %y: f32[${n}, 96] = dot(%p, %v) {batchA = [], batchB = [], contractA = [1], contractB = [0]} from "values"
  output %y as "mixed"
}
`;

withCompiler("gcc", () => {
  const folder = new CliFolder();
  afterAll(() => folder.remove());
  const inFolder = (name: string) => join(folder.path, name);
  function cc(args: readonly string[], cwd: string, compiler = "gcc"): void {
    const r = spawnSync(compiler, args, { cwd, encoding: "utf8" });
    if (r.status !== 0) throw new Error(`${compiler} ${args.join(" ")}:\n${r.stderr.slice(0, 4000)}`);
  }
  async function compile(model: string, out: string, ...more: string[]): Promise<void> {
    const r = await folder.run(["compile", model, "-o", out, "--target", "c", ...more]);
    expect(r.stderr).toBe("");
    expect(r.status).toBe(0);
  }

  describe("the digits example", () => {
    const { graph } = importOnnx(new Uint8Array(readFileSync(digits)), { resolver: null, name: "digits" });
    const random = seededRandom(20);
    const inputs = graph.params.map((p) => hostFrom(p.dtype, p.dims.map(Number), () => random()));
    const want = boundGraph(graph, inputs);
    const program = `#include "model.h"
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
  struct digits *m;
  const int opened = digits_open(&m, argv[1], argc > 2 ? atoi(argv[2]) : 1);
  if (opened != DIGITS_OK) {
    fprintf(stderr, "%s\\n", digits_error(opened));
    return 1;
  }
  float image[64], logits[10];
  if (fread(image, sizeof image, 1, stdin) != 1) return 2;
  const void *inputs[DIGITS_INPUTS] = {image};
  void *outputs[DIGITS_OUTPUTS] = {logits};
  if (argc > 3 && digits_level(m, argv[3]) != DIGITS_OK) return 3;
  for (int twice = 0; twice < 2; ++twice)
    if (digits_run(m, NULL, inputs, outputs) != DIGITS_OK) return 4;
  fwrite(logits, sizeof logits, 1, stdout);
  fprintf(stderr, "%s %d", digits_level_name(m), (int)digits_output_dim(NULL, 0, 1));
  digits_close(m);
  return 0;
}
`;
    function check(out: Buffer): void {
      const got: HostTensor = hostFromBytes(f32, [1, 10], new Uint8Array(out).slice());
      expect(firstDifference(got, want[0] as (typeof want)[0], 4)).toBe(null);
    }
    const image = hostToBytes(inputs[0] as HostTensor);

    beforeAll(async () => {
      await compile(digits, "digits");
      writeFileSync(inFolder("digits/use.c"), program);
    });

    test("its commands build it, as a library and as objects", () => {
      const commands = commandsOf(readFileSync(inFolder("digits/model.h"), "utf8"));
      expect(commands.length).toBe(3);
      for (const [, ...args] of commands) cc([...args, ...warningFlags], inFolder("digits"));
      // The last of them is for no operating system at all.
      const missing = execFileSync("nm", ["-u", inFolder("digits/model.o")], { encoding: "utf8" });
      const names = [...missing.matchAll(/U (\S+)/g)].map((m) => m[1]);
      const allowed = /^(mem(cpy|set|move)|(sqrt|floor|ceil|trunc|rint|fma)f?|_GLOBAL_OFFSET_TABLE_)$/;
      expect(names.filter((n) => !allowed.test(n as string))).toEqual([]);
      // The library, as a program links it.
      cc(["-std=c11", "-Wall", "-Wextra", "-Werror", "use.c", "-L.", "-lmodel", "-Wl,-rpath,$ORIGIN", "-o", "use"], inFolder("digits"));
      check(execFileSync(inFolder("digits/use"), [inFolder("digits/model.weights.bin")], { input: image }));
    });

    test("the programs of docs/c.md build by its commands, and print the same", () => {
      const page = readFileSync(fileURLToPath(new URL("../docs/c.md", import.meta.url)), "utf8");
      const programs = (language: string) => [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "gms"))].map((m) => m[1] as string);
      const commands = [...page.matchAll(/^\$ cc (.*)$/gm)].map((m) => (m[1] as string).split(" "));
      const [hosted = [], freestanding = []] = commands;
      expect(commands.length).toBe(2);
      const [main = "", classify = ""] = programs("c");
      writeFileSync(inFolder("digits/main.c"), main);
      cc([...hosted, ...warningFlags], inFolder("digits"));
      const printed = execFileSync(inFolder("digits/classify"), { cwd: inFolder("digits"), encoding: "utf8" });
      const zeros = boundGraph(graph, [hostFrom(f32, [1, 1, 8, 8], () => 0)])[0]?.value.data ?? [];
      const lines = [...printed.matchAll(/^(\d): (-?[\d.]+)$/gm)].map((m) => Number(m[2]));
      expect(lines.length).toBe(10);
      lines.forEach((v, i) => expect(v).toBeCloseTo(Number(zeros[i]), 2));

      writeFileSync(inFolder("digits/classify.c"), classify);
      cc([...freestanding, ...warningFlags], inFolder("digits"));
      const caller = `#include <stdio.h>
int classify(const float *image, float *logits);
int main(void) {
  const float image[64] = {0};
  float logits[10];
  const int status = classify(image, logits);
  for (int i = 0; i < 10; ++i) printf("%d: %.3f\\n", i, (double)logits[i]);
  return status;
}
`;
      writeFileSync(inFolder("digits/caller.c"), caller);
      cc(["-std=c11", "caller.c", "classify.o", "model.o", "-o", "embedded", "-lm"], inFolder("digits"));
      expect(execFileSync(inFolder("digits/embedded"), { encoding: "utf8" })).toBe(printed);

      const [python = ""] = programs("python");
      writeFileSync(inFolder("digits/use.py"), python);
      if (spawnSync("python3", ["--version"]).status !== 0) console.log("not tried: the Python program of docs/c.md (there is no python3)");
      else expect(execFileSync("python3", ["use.py"], { cwd: inFolder("digits"), encoding: "utf8" })).toBe(printed);
    });

    test("every level that this processor has gives the same within rounding; sanitizers find nothing", () => {
      cc(["-std=c11", "-O1", ...sanitizers, ...warningFlags, "use.c", "model.c", "-o", "use-checked", "-lm", "-lpthread"], inFolder("digits"));
      const ran: string[] = [];
      for (const level of ["avx512", "avx2", "sse42", "portable"]) {
        const r = spawnSync(inFolder("digits/use-checked"), [inFolder("digits/model.weights.bin"), "3", level], { input: image });
        if (r.status === 3) continue;
        expect(r.stderr.toString()).toBe(`${level} 10`);
        expect(r.status).toBe(0);
        check(r.stdout);
        ran.push(level);
      }
      expect(ran).toContain("portable");
    });

    test("what is wrong is told in a sentence", () => {
      const r = spawnSync(inFolder("digits/use-checked"), [inFolder("digits/model.h")], { input: image, encoding: "utf8" });
      expect(r.status).toBe(1);
      expect(r.stderr).toMatch(/weights' file cannot be read or has not \d+ bytes: give the path of model.weights.bin/);
    });

    test("the header is C++ too", () => {
      const main = `#include "model.h"
#include <new>
#include <vector>
int main() {
  static_assert(DIGITS_OK == 0, "");
  std::vector<unsigned char> memory(static_cast<size_t>(digits_arena_bytes(nullptr)) + 64);
  digits m;
  const int status = digits_init(&m, nullptr, 1, memory.data(), memory.size());
  return status == DIGITS_ERROR_ARGUMENT && digits_error(status) != nullptr ? 0 : 1;
}
`;
      writeFileSync(inFolder("digits/main.cpp"), main);
      cc(["-std=c11", "-O1", "-c", "model.c", "-o", "plain.o"], inFolder("digits"));
      cc(
        ["-std=c++17", "-Wall", "-Wextra", "-pedantic", "-Werror", "main.cpp", "plain.o", "-o", "main", "-lm", "-lpthread"],
        inFolder("digits"),
        "g++",
      );
      execFileSync(inFolder("digits/main"));
    });

    test("--cpu limits the levels, TW_PORTABLE leaves all vectors out", async () => {
      await compile(digits, "small", "--cpu", "x86-64-v2");
      const manifest = JSON.parse(readFileSync(inFolder("small/model.json"), "utf8")) as { levels: string[]; target: string };
      expect(manifest).toMatchObject({ target: "c", levels: ["sse42", "portable"] });
      writeFileSync(inFolder("small/use.c"), program);
      cc(["-std=c11", "-pedantic", "-O1", "-DTW_PORTABLE", ...warningFlags, "use.c", "model.c", "-o", "use", "-lm", "-lpthread"], inFolder("small"));
      const r = spawnSync(inFolder("small/use"), [inFolder("small/model.weights.bin")], { input: image });
      expect(r.stderr.toString()).toBe("portable 10");
      check(r.stdout);
      for (const [cpu, why] of [
        ["z80", "unknown processor 'z80'"],
        ["toString", "unknown processor 'toString'"],
      ] as const) {
        const bad = await folder.run(["compile", digits, "-o", "bad", "--target", "c", "--cpu", cpu]);
        expect(bad).toMatchObject({ status: 2, stderr: expect.stringContaining(why) as string });
      }
    });
  });

  test("ir prints the code", async () => {
    const r = await folder.run(["ir", digits, "--stage", "code", "--target", "c", "--cpu", "portable"]);
    expect(r.status).toBe(0);
    expect(r.stdout).toMatch(/TW_KERNEL void features_features_0_Conv_portable\(const tw_byte \*t0,/);
    expect(r.stdout).not.toContain("immintrin");
  });

  test("what C code cannot do is refused", async () => {
    const large = folder.file(
      "large.tw",
      `graph @large {
  input %x: f32[30000, 20000]
  %y: f32[30000, 20000] = exp(%x)
  output %y as "y"
}
`,
    );
    const r = await folder.run(["compile", large, "-o", "large", "--target", "c"]);
    expect(r).toMatchObject({ status: 2, stderr: expect.stringContaining("less than 2 GiB each") as string });
    for (const [option, why] of [
      [["--shard", "1MiB"], "--shard is for --target wasm"],
      [["--features", "simd"], "for C choose levels with --cpu"],
      [["--max-memory", "1KiB"], "more than the limit"],
    ] as const)
      expect(await folder.run(["compile", digits, "-o", "no", "--target", "c", ...option])).toMatchObject({
        status: 2,
        stderr: expect.stringContaining(why) as string,
      });
    expect(await folder.run(["compile", digits, "-o", "no", "--cpu", "native"])).toMatchObject({ status: 2 });
    expect(folder.list().filter((f) => f === "no" || f === "large")).toEqual([]);
  });

  describe("threads and symbols", () => {
    const program = `#include "model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static void fail(const char *what, int status) {
  fprintf(stderr, "%s: %d %s\\n", what, status, attention_error(status));
  exit(1);
}
int main(int argc, char **argv) {
  const int threads[] = {1, 2, 3, 7};
  float *first = NULL;
  for (int t = 0; t < 4; ++t) {
    struct attention *m, *other;
    int status = attention_open(&m, argv[1], threads[t]);
    if (status != 0) fail("open", status);
    if ((status = attention_open(&other, argv[1], 2)) != 0) fail("open another", status);
    for (int k = 2; k < argc; ++k) {
      const int32_t n = atoi(argv[k]);
      const int32_t *symbols = ATTENTION_SYMBOLS == 0 ? NULL : &n;
      const size_t rows = (size_t)n;
      float *q = malloc(rows * 64 * sizeof *q), *y = malloc(rows * 96 * sizeof *y), *z = malloc(rows * 96 * sizeof *y);
      for (size_t i = 0; i < rows * 64; ++i) q[i] = (float)(i % 37) / 16 - 1;
      const void *inputs[] = {q};
      void *outputs[] = {y}, *others[] = {z};
      if (attention_output_bytes(symbols, 0) != (int64_t)(rows * 96 * sizeof *y)) fail("bytes", 0);
      if ((status = attention_run(m, symbols, inputs, outputs)) != 0) fail("run", status);
      if ((status = attention_run(other, symbols, inputs, others)) != 0) fail("run another", status);
      if (memcmp(y, z, rows * 96 * sizeof *y) != 0) fail("contexts differ", 0);
      void *place = attention_input(m, symbols, 0);
      memcpy(place, q, rows * 64 * sizeof *q);
      if ((status = attention_run(m, symbols, NULL, NULL)) != 0) fail("run in place", status);
      if (memcmp(attention_output(m, symbols, 0), y, rows * 96 * sizeof *y) != 0) fail("in place differs", 0);
      if (k == 2) {
        if (first == NULL) first = y;
        else if (memcmp(first, y, rows * 96 * sizeof *y) != 0) fail("threads differ", threads[t]);
      }
      /* A softmax times a constant. */
      for (size_t i = 0; i < rows * 96; ++i)
        if (!(y[i] > 0.4999f && y[i] < 0.5001f)) fail("value", (int)i);
      free(q);
      if (first != y) free(y);
      free(z);
    }
    if (ATTENTION_SYMBOLS > 0) {
      const int32_t wrong[] = {0, 601, -5, INT32_MAX};
      for (int i = 0; i < 4; ++i)
        if (attention_run(m, &wrong[i], NULL, NULL) != ATTENTION_ERROR_SYMBOLS || attention_arena_bytes(&wrong[i]) != ATTENTION_ERROR_SYMBOLS) fail("symbols", i);
      if (attention_run(m, NULL, NULL, NULL) != ATTENTION_ERROR_SYMBOLS) fail("no symbols", 0);
    }
    attention_close(m);
    attention_close(other);
  }
  free(first);
  return 0;
}
`;
    test.each([
      { rows: "300", runs: ["300"] },
      { rows: "n", runs: ["300", "1", "17", "600", "5"] },
    ])(
      "rows $rows",
      async ({ rows, runs }) => {
        const out = `attention-${rows}`;
        await compile(folder.file(`${out}.tw`, attention(rows)), out, "--threads", "2");
        writeFileSync(inFolder(`${out}/use.c`), program);
        const manifest = JSON.parse(readFileSync(inFolder(`${out}/model.json`), "utf8")) as { prefix: string; shared_launches: number };
        expect(manifest.shared_launches).toBeGreaterThan(0);
        const { prefix } = manifest;
        expect(prefix).toMatch(/^attention_/);
        const named = program
          .replaceAll("attention_", `${prefix}_`)
          .replaceAll("struct attention ", `struct ${prefix} `)
          .replaceAll("ATTENTION_", `${prefix.toUpperCase()}_`);
        writeFileSync(inFolder(`${out}/use.c`), named);
        for (const extra of [["-fsanitize=address,undefined", "-fno-sanitize-recover=all"], ["-fsanitize=thread"]]) {
          cc(["-std=c11", "-O1", "-g1", ...extra, ...warningFlags, "use.c", "model.c", "-o", "use", "-lm", "-lpthread"], inFolder(out));
          execFileSync(inFolder(`${out}/use`), [inFolder(`${out}/model.weights.bin`), ...runs], { stdio: ["ignore", "pipe", "pipe"] });
        }
      },
      120_000,
    );
  });
});
