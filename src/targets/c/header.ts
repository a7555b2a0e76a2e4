import type { Port, Program } from "../../loop/ir.ts";
import type { Level } from "./levels.ts";
import { mostPoolThreads } from "./runtime.ts";
import { commentLines, commentText } from "./types.ts";

/** What the C API's text is made of. */
export interface ApiFacts {
  /** Prefix of all names, and the name of the context's type. */
  readonly name: string;
  /** The model's name as its user knows it. */
  readonly title: string;
  readonly version: string;
  readonly program: Program;
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly weightBytes: number;
  /** Widest first. */
  readonly levels: readonly Level[];
  /** The most launches that a level has. */
  readonly launches: number;
  /** Have threads anything to share? */
  readonly threads: boolean;
}

/** Has a run something to tell: sizes that it computed, or why it failed? */
export function hasReport(f: ApiFacts): boolean {
  return f.program.report !== null;
}
/** Does a run compute sizes, or where outputs lie? */
export function hasData(f: ApiFacts): boolean {
  return f.program.dataSymbols.length > 0;
}
/** Does a run place tensors as it goes? */
export function isDynamic(f: ApiFacts): boolean {
  return f.program.room !== null;
}

/** The status of a size that is only known after a run. */
export const statusUnknown = -12;

/** What a call may fail with, beside 0: its name, number, and a sentence with the way out. */
export interface Status {
  readonly name: string;
  readonly value: number;
  readonly text: string;
}

/** All statuses of a model's API. */
export function statusesOf(f: ApiFacts): Status[] {
  const { name: n } = f;
  return [
    { name: "OK", value: 0, text: "no error" },
    { name: "ERROR_ARGUMENT", value: -1, text: "an argument is NULL that must not be" },
    {
      name: "ERROR_WEIGHTS",
      value: -2,
      text: `the weights have another size than this model's ${f.weightBytes} bytes: take model.weights.bin of the same compilation as model.c`,
    },
    { name: "ERROR_ALIGNMENT", value: -3, text: "weights and arena must begin at addresses that are multiples of 64: use aligned_alloc(64, ...)" },
    {
      name: "ERROR_ARENA",
      value: -4,
      text: `the arena is too small: ${n}_arena_bytes${isDynamic(f) ? `, after a run ${n}_needed_bytes,` : ""} tells how large it must be`,
    },
    {
      name: "ERROR_SYMBOLS",
      value: -5,
      text: `a symbol is missing, out of its range or no multiple of what it must be: see the comment on symbols in the header`,
    },
    { name: "ERROR_SIZE", value: -6, text: "these symbols make a tensor of 2 GiB or more: use smaller ones" },
    { name: "ERROR_LEVEL", value: -7, text: `this processor or this build has no such level: leave the choice to ${n}_init` },
    {
      name: "ERROR_FILE",
      value: -8,
      text: `the weights' file cannot be read or has not ${f.weightBytes} bytes: give the path of model.weights.bin of the same compilation as model.c`,
    },
    { name: "ERROR_MEMORY", value: -9, text: "there is not enough memory: use smaller symbols, or fewer threads" },
    { name: "ERROR_THREADS", value: -10, text: `the number of threads must lie between 1 and ${mostPoolThreads}` },
    ...(hasReport(f)
      ? [{ name: "ERROR_DATA", value: -11, text: `a size that the run computed is not what it must be: ${n}_fault has the words` }]
      : []),
    ...(hasData(f)
      ? [{ name: "ERROR_UNKNOWN", value: statusUnknown, text: `the size is known only after a run, from ${n}_result_bytes and ${n}_result_dim` }]
      : []),
  ];
}

/** `model.h`. */
export function headerText(f: ApiFacts): string {
  const { name: n } = f;
  const up = n.toUpperCase();
  const { symbols } = f.program;
  const statuses = statusesOf(f).map((s) => `  ${up}_${s.name} = ${s.value}, /* ${s.text} */`);
  return `/*
   ${commentText(f.title)}, compiled by tilewright ${f.version}.

   Build it into a shared library, an object, or an object that needs no operating system:
     cc -std=c11 -O2 -ffp-contract=off -fPIC -shared model.c -o libmodel.so -lm -lpthread
     cc -std=c11 -O2 -ffp-contract=off -c model.c -o model.o
     cc -std=c11 -O2 -ffp-contract=off -ffreestanding -DTW_FREESTANDING -c model.c -o model.o

   What the processor has is looked up when the model starts: model.c holds code for ${f.levels.map((l) => l.name).join(", ")}.
   -DTW_PORTABLE leaves all but the portable code out.

${portsText("Inputs", f.program.inputs, f.inputNames)}
${portsText("Outputs", f.program.outputs, f.outputNames)}
${symbolsText(f)}
   Tensors are row-major. float16 and bfloat16 are their bits in uint16_t, bool is uint8_t (0 or 1), two elements of four bits lie
   in a byte, the first in its lower half.
*/
#ifndef ${up}_MODEL_H
#define ${up}_MODEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What functions give that return a status; ${n}_error has the texts. */
enum {
${statuses.join("\n")}
  ${up}_INPUTS = ${f.program.inputs.length},
  ${up}_OUTPUTS = ${f.program.outputs.length},
  ${up}_SYMBOLS = ${symbols.length}
};

/*
   A model that can run: all its state. Place it anywhere, and use as many as you like, each from one thread at a time.
   Its fields are not for you.
*/
struct ${n} {
  const unsigned char *weights;
  unsigned char *arena;
  size_t arena_bytes;
  int level;
  int threads;
  int owned;
  void *allocated;
  void *file;
  void *pool;
  unsigned char *scratch;
  size_t scratch_step;
${reportFields(f)}#ifdef TW_PROFILE
  double launch_last;
  double launch_seconds[${Math.max(1, f.launches)}];
#endif
};

/* The bytes of the weights: the size of model.weights.bin. */
size_t ${n}_weight_bytes(void);

/* The bytes of memory that a run needs beside the weights${symbols.length > 0 ? " for these symbols" : " (symbols: NULL)"}; a negative status when they are wrong. */
int64_t ${n}_arena_bytes(const int32_t *symbols);

/*
   Starts a model in memory of yours, both multiples of 64 bytes in address: weights (the bytes of model.weights.bin, only read; several
   models may share them) and an arena of at least ${n}_arena_bytes. Both must live as long as the model is used.
*/
int ${n}_init(struct ${n} *m, const void *weights, size_t weight_bytes, void *arena, size_t arena_bytes);

/* Takes the code of another level: ${f.levels.map((l) => `"${l.name}"`).join(", ")}. Places in the arena change with it. */
int ${n}_level(struct ${n} *m, const char *name);

/* The level that runs. */
const char *${n}_level_name(const struct ${n} *m);

/*
   Runs the model: copies the inputs in, computes, copies the outputs out. Where an entry is NULL (or the array is), nothing is copied:
   write inputs to ${n}_input and read outputs from ${n}_output instead. A run overwrites the inputs: write them anew before the next.
*/
int ${n}_run(struct ${n} *m, const int32_t *symbols, const void *const *inputs, void *const *outputs);

/* Where an input is read from and an output is written to, for use without a copy; NULL for a wrong number or wrong symbols. */
void *${n}_input(struct ${n} *m, const int32_t *symbols, int i);
void *${n}_output(struct ${n} *m, const int32_t *symbols, int i);

/* The bytes of an input or output, and its dimension d; negative for a wrong number or wrong symbols.${hasData(f) ? ` Of sizes that a run\n   computes the most that they can be, or ${up}_ERROR_UNKNOWN.` : ""} */
int64_t ${n}_input_bytes(const int32_t *symbols, int i);
int64_t ${n}_output_bytes(const int32_t *symbols, int i);
int64_t ${n}_input_dim(const int32_t *symbols, int i, int d);
int64_t ${n}_output_dim(const int32_t *symbols, int i, int d);

/* What a status means, and what to do about it. */
const char *${n}_error(int status);
${resultsHeader(f)}
#ifndef TW_FREESTANDING
/*
   Starts a model by itself: maps the file of weights without a copy of it, allocates the model and its arena${symbols.length > 0 ? " (when a run needs a larger one)" : ""},
   and starts a pool of so many threads, the caller among them. Results do not depend on their number.
*/
int ${n}_open(struct ${n} **out, const char *weights_path, int threads);

/* Ends a model that ${n}_open started; NULL is nothing to end. */
void ${n}_close(struct ${n} *m);

/* The threads that it runs on: 1 where ${f.threads ? "the system gives no more" : "there is not enough to do for more, as in this model"}. */
int ${n}_threads(const struct ${n} *m);

#ifdef TW_PROFILE
/* Seconds that each launch of the last run took, in order; gives their number, of which at most capacity are written. */
int ${n}_launch_times(const struct ${n} *m, double *seconds, int capacity);
#endif
#endif

#ifdef __cplusplus
}
#endif

#endif
`;
}

function reportFields(f: ApiFacts): string {
  const lines = [
    ...(hasReport(f) ? [`  int32_t report[${2 + f.program.dataSymbols.length}];`] : []),
    ...(hasData(f) ? [`  int32_t symbols[${Math.max(1, f.program.symbols.length)}];`, "  int ran;"] : []),
    ...(isDynamic(f) ? ["  size_t room;"] : []),
  ];
  return lines.map((l) => `${l}\n`).join("");
}

/** Declarations of what only models have whose runs compute sizes, or may fail. */
function resultsHeader(f: ApiFacts): string {
  const { name: n } = f;
  const up = n.toUpperCase();
  const fault = `
/* After a run that gave ${up}_ERROR_DATA: the words for it, in which {} stands for *value (value may be NULL); else NULL. */
const char *${n}_fault(const struct ${n} *m, int32_t *value);
`;
  const data = `
/*
   Of the last run, sizes that it computed: the bytes of an output, its dimension d; and a copy of the output to memory of yours.
   ${up}_ERROR_UNKNOWN before a run. ${n}_run copies outputs too: so many bytes, to memory that must be large enough.
*/
int64_t ${n}_result_bytes(const struct ${n} *m, int i);
int64_t ${n}_result_dim(const struct ${n} *m, int i, int d);
int ${n}_read(const struct ${n} *m, int i, void *to);
`;
  const dynamic = `
/*
   Tensors whose sizes nobody knows before lie above the ${n}_arena_bytes that a run needs in any case; what it finds of the arena there
   it may use. After a run that gave ${up}_ERROR_ARENA: how many bytes the arena must have for it; then start the model again in a larger
   one. A model that ${n}_open started does so itself. ${n}_output gives places only after a run.
*/
int64_t ${n}_needed_bytes(const struct ${n} *m);
`;
  return `${hasReport(f) ? fault : ""}${hasData(f) ? data : ""}${isDynamic(f) ? dynamic : ""}`;
}

function portsText(title: string, ports: readonly Port[], names: readonly string[]): string {
  const lines = ports.map((p, i) => `     ${i}: ${commentText(names[i] ?? p.name)}: ${p.dtype.name}[${commentText(p.dims.map(String).join(", "))}]`);
  return `   ${title}:\n${lines.join("\n")}`;
}

function symbolsText(f: ApiFacts): string {
  const { symbols } = f.program;
  if (symbols.length === 0) return "   Symbols: none; pass NULL.";
  const lines = symbols.map((s, i) => {
    const range = Number.isFinite(s.max) ? `from ${s.min} to ${s.max}` : `at least ${s.min}`;
    return `     symbols[${i}]: ${commentText(s.name)}, ${range}${s.multiple === 1 ? "" : `, a multiple of ${s.multiple}`}`;
  });
  const head = commentLines("Symbols, the sizes that a run is told:").map((l) => `   ${l}`);
  return [...head, ...lines].join("\n");
}
