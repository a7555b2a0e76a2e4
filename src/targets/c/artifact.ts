import { hashText } from "../../base/hash.ts";
import type { Kernel } from "../../loop/ir.ts";
import type { CManifest } from "../../runtime/model.ts";
import { known, launchesOf } from "../launches.ts";
import { type ArtifactSource, describeProgram } from "../manifest.ts";
import { type WeightSink, weightBytes, writeWeights } from "../wasm/weights.ts";
import { apiText } from "./api.ts";
import { type ApiFacts, headerText } from "./header.ts";
import { type Level, levels } from "./levels.ts";
import { attributesOf } from "./prelude-vector.ts";
import { Prelude } from "./prelude.ts";
import { type LevelCode, type LevelContext, type LevelProgram, checkBuffers, sharedLaunches, writeLevel } from "./program.ts";
import { featureMacros, hostedRuntime, levelDetection } from "./runtime.ts";
import { cIdentifier, cNames, commentText } from "./types.ts";

/** What C is made of: the program for each level, widest first; `program` is the first one's. */
export interface CArtifactInput extends ArtifactSource {
  readonly levels: readonly LevelProgram[];
  /** How each kernel was scheduled, in words, to be written above it. */
  readonly schedules: ReadonlyMap<Kernel, string>;
}

/** A model compiled to C, before it is written. */
export interface CArtifact {
  readonly manifest: CManifest;
  readonly files: { readonly "model.c": string; readonly "model.h": string };
  /** Computes the weights. */
  readonly writeWeights: (sink: WeightSink, signal?: AbortSignal) => Promise<void>;
}

/** Emits the C code. @throws UnsupportedError `buffer` when a tensor has 2 GiB or more */
export function makeCArtifact(a: CArtifactInput): CArtifact {
  const { program, sc } = a;
  const order = [...a.levels].sort((x, y) => y.level.index - x.level.index);
  for (const { program: p } of order) checkBuffers(p);
  const threads = order.some(({ program: p }) => sharedLaunches(p).length > 0);
  const facts: ApiFacts = {
    name: cIdentifier(a.name),
    title: a.name,
    version: a.version,
    program,
    inputNames: a.inputNames,
    outputNames: a.outputNames,
    weightBytes: weightBytes(program),
    levels: order.map((l) => l.level),
    launches: Math.max(...order.map((l) => launchesOf(l.program).length)),
    threads,
  };
  const context: LevelContext = { sc, name: facts.name, prelude: new Prelude(), names: cNames(), threads, schedules: a.schedules };
  const code = order.map((l, i): [Level, LevelCode] => [l.level, writeLevel(context, l, i === 0)]);
  const api = apiText(facts, context, order);
  const files = { "model.c": codeText(facts, context, code, api), "model.h": headerText(facts) };
  const sizes = order.map((l) => known(l.program.arenaBytes));
  const manifest: CManifest = {
    ...describeProgram(a),
    id: hashText(files["model.h"] + files["model.c"]),
    target: "c",
    prefix: facts.name,
    levels: facts.levels.map((l) => l.name),
    shared_launches: sharedLaunches(program).length,
    weight_bytes: facts.weightBytes,
    arena_bytes: sizes.some((s) => s === null) ? null : Math.max(64, ...sizes.map(Number)),
    files: Object.entries(files).map(([file, text]) => ({ file, bytes: new TextEncoder().encode(text).length })),
  };
  return { manifest, files, writeWeights: (sink, signal) => writeWeights(sc, program, a.weights, a.prepare, sink, signal) };
}

/** `model.c`: what kernels use, the kernels of all levels, what the system gives, their mains, and the API. */
function codeText(f: ApiFacts, c: LevelContext, code: readonly (readonly [Level, LevelCode])[], api: string): string {
  const wide = code.filter(([l]) => l.target !== null);
  const portable = code.filter(([l]) => l.target === null);
  const only = (which: keyof Pick<LevelCode, "kernels" | "program">): string => {
    const guarded = wide.map(([, x]) => x[which]).join("\n");
    return [...(guarded === "" ? [] : [`#ifdef TW_X86\n${guarded}#endif\n`]), ...portable.map(([, x]) => x[which])]
      .filter((t) => t !== "")
      .join("\n");
  };
  return [
    `/* ${commentText(f.title)}, compiled by tilewright ${f.version}. How to build and use it: model.h. */\n${featureMacros}`,
    `#include "model.h"\n#include <math.h>\n#include <string.h>\n`,
    endianCheck,
    vectorSetup(
      c,
      wide.map(([l]) => l),
    ),
    byteType,
    c.prelude.scalarText(),
    kernelAttributes(code.map(([l]) => l)),
    only("kernels"),
    levelDetection,
    hostedParts(f),
    `/* Notes how long a launch took, for ${f.name}_launch_times. */
static inline void tw_launched(struct ${f.name} *m, int launch) {
#ifdef TW_PROFILE
  const double now = tw_clock();
  m->launch_seconds[launch] += now - m->launch_last;
  m->launch_last = now;
#else
  (void)m;
  (void)launch;
#endif
}
`,
    f.threads ? launchText(f.name) : "",
    only("program"),
    api,
  ]
    .filter((t) => t !== "")
    .join("\n");
}

const endianCheck = `#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "model.weights.bin is for little-endian processors"
#endif
`;

const byteType = `/* Memory: kernels are given places, and read and write values at bytes from there. */
typedef unsigned char tw_byte;
`;

/** How a launch runs that threads may share. */
function launchText(name: string): string {
  return `#ifdef TW_FREESTANDING
union tw_arg {
  unsigned char *p;
  const unsigned char *c;
  int32_t i;
};
typedef void (*tw_task)(const union tw_arg *args, int32_t begin, int32_t end);
#endif
/* Runs a task over [0, count): in pieces of grain iterations where threads share it (tw_share), which needs at least so many. */
static void tw_launch(struct ${name} *m, tw_task task, const union tw_arg *args, int n_args, const int *scratch_arg, int n_scratch,
                      const size_t *scratch_offset, int32_t count, int32_t grain, int32_t row, int32_t least) {
#ifdef TW_FREESTANDING
  (void)m, (void)n_args, (void)scratch_arg, (void)n_scratch, (void)scratch_offset, (void)grain, (void)row, (void)least;
#else
  if (m->threads > 1 && count >= least) {
    tw_share((struct tw_pool *)m->pool, task, args, n_args, scratch_arg, n_scratch, m->scratch, m->scratch_step, scratch_offset, count, grain,
             row);
    return;
  }
#endif
  task(args, 0, count);
}
`;
}

/** Headers, types and functions of the code with vectors. */
function vectorSetup(c: LevelContext, wide: readonly Level[]): string {
  if (wide.length === 0) return "";
  const text = c.prelude.vectorText();
  return `/* Vectors: for compilers that know GCC's, on x86-64. */
#if defined(__GNUC__) && defined(__x86_64__) && !defined(TW_PORTABLE)
#define TW_X86 1
#ifdef TW_FREESTANDING
/* GCC's header would include stdlib.h. */
#define _MM_MALLOC_H_INCLUDED 1
#endif
#include <immintrin.h>
${attributesOf(text)}${text}#endif
`;
}

/** What stands before kernels: they are functions of their own, so that profilers tell them apart. */
function kernelAttributes(used: readonly Level[]): string {
  const has = new Set(used.map((l) => l.name));
  const lines = levels
    .filter((l) => has.has(l.name) && l.target !== null)
    .map((l) => `#define TW_KERNEL_${l.name.toUpperCase()} static __attribute__((noinline, target("${l.target}")))\n`);
  return `#ifdef __GNUC__
#define TW_KERNEL static __attribute__((noinline))
#else
#define TW_KERNEL static
#endif
${lines.length === 0 ? "" : `#ifdef TW_X86\n${lines.join("")}#endif\n`}`;
}

/** Threads where there is something to share; the clock else only for profiling. */
function hostedParts(f: ApiFacts): string {
  const parts = hostedRuntime({ pool: f.threads, files: true, clock: false });
  const clock = f.threads ? "" : `#ifdef TW_PROFILE\n${hostedRuntime({ pool: false, files: false, clock: true })}#endif\n`;
  return `#ifndef TW_FREESTANDING\n${parts}${clock}#endif\n`;
}
