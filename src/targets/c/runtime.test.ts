import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { featureMacros, hostedRuntime, levelDetection } from "./runtime.ts";

const compilers = ["gcc", "clang"].filter((c) => spawnSync(c, ["--version"]).status === 0);
if (compilers.length === 0) console.log("skipped: the C runtime (neither gcc nor clang is installed)");
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "tilewright-runtime-"));
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

const warnings = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wpedantic", "-Werror"];
const all = hostedRuntime({ pool: true, files: true, clock: true });

/** Compiles a program of the runtime and a `main`; gives its file. */
function build(compiler: string, name: string, text: string, flags: readonly string[] = []): string {
  const file = path.join(folder, `${name}-${compiler}`);
  fs.writeFileSync(`${file}.c`, text);
  execFileSync(compiler, ["-std=c11", "-O2", "-g", ...warnings, ...flags, "-pthread", `${file}.c`, "-o", file], { stdio: "pipe" });
  return file;
}
/** Runs a program; gives what it printed. It must end with status 0. */
function run(file: string, args: readonly string[] = []): string {
  const r = spawnSync(file, args, { encoding: "utf8", timeout: 60_000 });
  if (r.status !== 0) throw new Error(`${file} ended with ${r.status ?? r.signal}:\n${r.stdout}${r.stderr}`);
  return r.stdout;
}

/**
 * Two leaders with a pool each, started and stopped again and again. Every launch writes count elements in pieces; each task
 * checks its bounds and leaves a mark in its thread's scratch, which must be its own for the time of the call.
 */
const stress = `${featureMacros}${all}
#include <stdio.h>
#include <string.h>

enum { most_count = 257 };

static void fill(const union tw_arg *args, int32_t begin, int32_t end) {
  for (int32_t i = begin; i < end; i++) {
    int32_t value;
    memcpy(&value, args[0].c + 4 * i, 4);
    value = value * 3 + args[2].i;
    memcpy(args[1].p + 4 * i, &value, 4);
  }
}

static void fill_by_scratch(const union tw_arg *args, int32_t begin, int32_t end) {
  for (int32_t i = begin; i < end; i++) memcpy(args[3].p + 4 * (i - begin), args[0].c + 4 * i, 4);
  for (int32_t i = begin; i < end; i++) {
    int32_t value;
    memcpy(&value, args[3].p + 4 * (i - begin), 4);
    value = value * 3 + args[2].i;
    memcpy(args[1].p + 4 * i, &value, 4);
  }
}

struct leader {
  int threads;
  int wrong;
};

static int launches(struct tw_pool *pool, int rounds) {
  static const int scratch_arg[1] = {3};
  static const size_t scratch_offset[1] = {64};
  static const size_t step = 64 + 4 * most_count + 60;
  int32_t in[most_count], out[most_count];
  unsigned char *scratch = (unsigned char *)malloc(8 * step);
  int wrong = 0;
  for (int32_t i = 0; i < most_count; i++) in[i] = i * i;
  for (int round = 0; round < rounds; round++) {
    int32_t row = round % 8, grain = 1 + round % 5;
    int32_t count = row == 0 ? round % (most_count + 1) : round % (most_count / row + 1) * row;
    const union tw_arg args[4] = {{.c = (const unsigned char *)in}, {.p = (unsigned char *)out}, {.i = round}, {.p = NULL}};
    memset(out, 0xff, sizeof out);
    if (round % 2 == 0) tw_share(pool, fill, args, 4, NULL, 0, NULL, 0, NULL, count, grain, row);
    else tw_share(pool, fill_by_scratch, args, 4, scratch_arg, 1, scratch, step, scratch_offset, count, grain, row);
    for (int32_t i = 0; i < most_count; i++) wrong += out[i] != (i < count ? i * i * 3 + round : -1);
  }
  free(scratch);
  return wrong;
}

static void *lead(void *given) {
  struct leader *l = (struct leader *)given;
  for (int i = 0; i < 3; i++) {
    struct tw_pool *pool = tw_pool_start(l->threads);
    if ((pool == NULL) != (l->threads < 2)) l->wrong += 1000000;
    l->wrong += launches(pool, ROUNDS);
    if (i == 1 && pool != NULL) {
      /* Long enough for all workers to fall asleep. */
      struct timespec pause = {0, 3000000};
      nanosleep(&pause, NULL);
      l->wrong += launches(pool, 20);
    }
    tw_pool_stop(pool);
  }
  return NULL;
}

int main(void) {
  static const int threads[4] = {1, 2, 3, 7};
  int wrong = 0;
  for (int i = 0; i < 4; i++) {
    struct leader leaders[2] = {{threads[i], 0}, {threads[(i + 1) % 4], 0}};
    pthread_t other;
    if (pthread_create(&other, NULL, lead, &leaders[1]) != 0) return 3;
    lead(&leaders[0]);
    pthread_join(other, NULL);
    wrong += leaders[0].wrong + leaders[1].wrong;
  }
  void *handle;
  tw_unmap(NULL, 0);
  if (tw_map("/does/not/exist", 4, &handle) != NULL || tw_clock() < 0.0) return 4;
  printf("%d wrong\\n", wrong);
  return wrong != 0;
}
`;

describe.each(compilers)("the C runtime, %s", (compiler) => {
  test("threads give what one thread gives, whether they wait by futex or by condition variable", () => {
    for (const [name, flags] of [
      ["futex", []],
      ["condition", ["-DTW_NO_FUTEX"]],
      ["no-spin", ["-DTW_SPIN_SECONDS=0.0"]],
    ] as const)
      expect(run(build(compiler, `stress-${name}`, stress, ["-DROUNDS=1000", ...flags])), name).toBe("0 wrong\n");
  });

  test.each([["-fsanitize=thread"], ["-fsanitize=address,undefined"]])("%s finds nothing", (sanitizer) => {
    for (const [name, flags] of [
      ["futex", []],
      ["condition", ["-DTW_NO_FUTEX", "-DTW_SPIN_SECONDS=0.0"]],
    ] as const) {
      const flagged = ["-DROUNDS=400", sanitizer, "-fno-sanitize-recover=all", ...flags];
      expect(run(build(compiler, `sanitized-${name}`, stress, flagged))).toBe("0 wrong\n");
    }
  });

  test("each part compiles without the others", () => {
    const parts = {
      pool: "(void)tw_share; (void)tw_pool_start; (void)tw_pool_stop;",
      files: "(void)tw_map; (void)tw_unmap;",
      clock: "(void)tw_clock;",
    };
    for (const part of ["pool", "files", "clock"] as const) {
      const own = hostedRuntime({ pool: part === "pool", files: part === "files", clock: part === "clock" });
      run(build(compiler, `part-${part}`, `${featureMacros}${own}int main(void) { ${parts[part]} return 0; }\n`));
    }
    // Where there is no POSIX.
    const elsewhere = all.replace("#define TW_POSIX 1", "");
    const text = `${featureMacros}${elsewhere}
static void one(const union tw_arg *args, int32_t begin, int32_t end) { *args[0].p = (unsigned char)(end - begin); }
int main(int argc, char **argv) {
  unsigned char sum = 0;
  union tw_arg args[1] = {{.p = &sum}};
  void *handle;
  struct tw_pool *pool = tw_pool_start(4);
  tw_share(pool, one, args, 1, NULL, 0, NULL, 0, NULL, 9, 2, 0);
  tw_pool_stop(pool);
  const unsigned char *file = argc > 1 ? tw_map(argv[1], 3, &handle) : NULL;
  if (file != NULL) sum = (unsigned char)(sum + file[2] - 'c');
  int right = pool == NULL && sum == 9 && file != NULL && (uintptr_t)file % 64 == 0 && tw_map(argv[1], 4, &handle) == NULL
    && tw_map(argv[1], 2, &handle) == NULL && tw_clock() > 0.0;
  tw_unmap((void *)NULL, 0);
  return right ? 0 : 1;
}
`;
    const data = path.join(folder, "abc");
    fs.writeFileSync(data, "abc");
    const program = build(compiler, "elsewhere", text);
    expect(run(program, [data])).toBe("");
  });

  test("a file is mapped only if it is a file of that size", () => {
    const text = `${featureMacros}${hostedRuntime({ pool: false, files: true, clock: false })}
#include <stdio.h>
int main(int argc, char **argv) {
  void *handle;
  for (int i = 1; i < argc; i++) {
    const unsigned char *p = tw_map(argv[i], 3, &handle);
    puts(p == NULL ? "none" : (uintptr_t)p % 64 == 0 && p[0] == 'a' && p[2] == 'c' ? "mapped" : "wrong");
    if (p != NULL) tw_unmap(handle, 3);
  }
  return tw_map("", 0, &handle) == NULL || handle != NULL;
}
`;
    const program = build(compiler, "files", text);
    const put = (name: string, content: string): string => {
      fs.writeFileSync(path.join(folder, name), content);
      return path.join(folder, name);
    };
    expect(run(program, [put("three", "abc"), put("four", "abcd"), put("two", "ab"), folder, path.join(folder, "missing")])).toBe(
      "mapped\nnone\nnone\nnone\nnone\n",
    );
  });

  test("the level agrees with what the system says of the processor", () => {
    const program = build(compiler, "level", `${levelDetection}#include <stdio.h>\nint main(void) { printf("%d", tw_cpu_level()); return 0; }\n`);
    const level = Number(run(program));
    if (process.arch !== "x64" || !fs.existsSync("/proc/cpuinfo")) return;
    const flags = new Set((/^flags\s*:\s*(.*)$/m.exec(fs.readFileSync("/proc/cpuinfo", "utf8"))?.[1] ?? "").split(" "));
    const has = (...names: string[]): boolean => names.every((n) => flags.has(n));
    const expected = !has("sse4_2", "popcnt")
      ? 0
      : !has("avx2", "fma", "f16c", "bmi1", "bmi2")
        ? 1
        : has("avx512f", "avx512dq", "avx512bw", "avx512vl")
          ? 3
          : 2;
    expect(level).toBe(expected);
  });

  test("level detection is freestanding, also for other processors", () => {
    const file = path.join(folder, `free-${compiler}`);
    fs.writeFileSync(`${file}.c`, `${levelDetection}int level(void);\nint level(void) { return tw_cpu_level(); }\n`);
    const targets =
      compiler === "clang" ? [[], ["--target=aarch64-none-elf"], ["--target=riscv64-none-elf"], ["--target=i386-none-elf"]] : [[], ["-m32"]];
    for (const target of targets)
      execFileSync(compiler, ["-std=c11", "-O2", "-ffreestanding", ...warnings, ...target, "-c", `${file}.c`, "-o", `${file}.o`], { stdio: "pipe" });
  });
});
