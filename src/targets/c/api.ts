import { productOf, upperBound } from "../../base/dim.ts";
import { InternalError } from "../../base/errors.ts";
import { Printer } from "../../base/text.ts";
import type { Program } from "../../loop/ir.ts";
import { type ApiFacts, hasData, hasReport, isDynamic, statusUnknown, statusesOf } from "./header.ts";
import { type LevelContext, type LevelProgram, levelFunction, portBytes, sizeParams, writeSizeCheck, writeSwitch } from "./program.ts";
import { resultsText, toldText } from "./results.ts";
import { mostPoolThreads } from "./runtime.ts";

/** The functions of `model.h`, which follow the code of all levels. */
export function apiText(f: ApiFacts, c: LevelContext, programs: readonly LevelProgram[]): string {
  return [sizesText(f, c, programs), levelsText(f), placesText(f), runText(f), hostedText(f)].join("\n");
}

type LevelLine = (l: ApiFacts["levels"][number]) => string;

/** A line for every level, those with instructions of their own only where the compiler has them. */
function perLevel(f: ApiFacts, line: LevelLine): string {
  const wide = f.levels.filter((l) => l.target !== null).map(line);
  const rest = f.levels.filter((l) => l.target === null).map(line);
  return [...(wide.length > 0 ? ["#ifdef TW_X86", ...wide, "#endif"] : []), ...rest].join("\n");
}

/** Sizes that are the same for all levels, and the check of symbols. */
function sizesText(f: ApiFacts, c: LevelContext, programs: readonly LevelProgram[]): string {
  const [first] = programs;
  if (first === undefined) throw new InternalError("c", "an artifact has no level");
  const { program: p } = first;
  const out = new Printer();
  const { sc } = c;
  const ports = [...p.inputs, ...p.outputs];
  // Of sizes that a run computes the most that they can be.
  const unknown = sc.int(statusUnknown);
  const most = ports.map((x) => upperBound(productOf(x.dims)));
  const bytes = ports.map((x, i) => (most[i] == null ? unknown : portBytes(sc, x, most[i])));
  writeSwitch(c, p, out, "static int64_t tw_port_bytes(const int32_t *symbols, int port)", "port", bytes);
  const bounds = ports.flatMap((x) => x.dims.map(upperBound));
  const dims = bounds.map((d) => (d === null ? unknown : sc.dim(d)));
  writeSwitch(c, p, out, "static int64_t tw_dim(const int32_t *symbols, int dim)", "dim", dims);
  if (p.dataSymbols.length > 0) writeResultSizes(c, p, out);
  const all = programs.map((x) => x.program);
  if (p.symbols.length > 0) writeSizeCheck(c, all, out, "static int tw_sizes_fit(const int32_t *symbols)");
  writeSymbolCheck(f, out);
  const starts = [0];
  for (const x of ports) starts.push((starts[starts.length - 1] as number) + x.dims.length);
  const up = f.name.toUpperCase();
  return `${out}
static int64_t tw_port_dim(const int32_t *symbols, int port, int d) {
  static const int first[] = {${starts.join(", ")}};
  if (port < 0 || port >= ${up}_INPUTS + ${up}_OUTPUTS || d < 0 || d >= first[port + 1] - first[port]) return ${up}_ERROR_ARGUMENT;
  const int status = tw_check_symbols(symbols);
  return status < 0 ? status : tw_dim(symbols, first[port] + d);
}

static int64_t tw_checked_bytes(const int32_t *symbols, int i, int ports, int first) {
  const int status = tw_check_symbols(symbols);
  if (status < 0) return status;
  return i < 0 || i >= ports ? ${up}_ERROR_ARGUMENT : tw_port_bytes(symbols, first + i);
}

int64_t ${f.name}_input_bytes(const int32_t *symbols, int i) {
  return tw_checked_bytes(symbols, i, ${up}_INPUTS, 0);
}

int64_t ${f.name}_output_bytes(const int32_t *symbols, int i) {
  return tw_checked_bytes(symbols, i, ${up}_OUTPUTS, ${up}_INPUTS);
}

int64_t ${f.name}_input_dim(const int32_t *symbols, int i, int d) {
  return i < 0 || i >= ${up}_INPUTS ? ${up}_ERROR_ARGUMENT : tw_port_dim(symbols, i, d);
}

int64_t ${f.name}_output_dim(const int32_t *symbols, int i, int d) {
  return i < 0 || i >= ${up}_OUTPUTS ? ${up}_ERROR_ARGUMENT : tw_port_dim(symbols, ${up}_INPUTS + i, d);
}
`;
}

/** Sizes of outputs as a run computed them. */
function writeResultSizes(c: LevelContext, p: Program, out: Printer): void {
  const { sc } = c;
  const bytes = p.outputs.map((x) => portBytes(sc, x, productOf(x.dims)));
  writeSwitch(c, p, out, `static int64_t tw_output_bytes(${sizeParams(p)}, int output)`, "output", bytes, true);
  const dims = p.outputs.flatMap((x) => x.dims.map((d) => sc.dim(d)));
  writeSwitch(c, p, out, `static int64_t tw_output_dim(${sizeParams(p)}, int dim)`, "dim", dims, true);
}

function writeSymbolCheck(f: ApiFacts, out: Printer): void {
  const up = f.name.toUpperCase();
  const { symbols } = f.program;
  out.line("/* Are the symbols what they must be? */");
  out.block("static int tw_check_symbols(const int32_t *symbols)", () => {
    if (symbols.length === 0) {
      out.line("(void)symbols;");
      out.line(`return ${up}_OK;`);
      return;
    }
    out.line(`if (symbols == NULL) return ${up}_ERROR_SYMBOLS;`);
    symbols.forEach((s, i) => {
      const at = `symbols[${i}]`;
      const most = Number.isFinite(s.max) && s.max < 2 ** 31 ? [`${at} > ${s.max}`] : [];
      const multiple = s.multiple === 1 ? [] : [`${at} % ${s.multiple} != 0`];
      out.line(`if (${[`${at} < ${s.min}`, ...most, ...multiple].join(" || ")}) return ${up}_ERROR_SYMBOLS;`);
    });
    out.line(`return tw_sizes_fit(symbols) ? ${up}_OK : ${up}_ERROR_SIZE;`);
  });
}

function levelsText(f: ApiFacts): string {
  const { name: n } = f;
  const up = n.toUpperCase();
  const one: LevelLine = (l) => `  {"${l.name}", ${l.index}},`;
  return `/* The levels that this build has, widest first. */
static const struct {
  const char *name;
  int index;
} tw_levels[] = {
${perLevel(f, one)}
};
enum { TW_LEVELS = sizeof tw_levels / sizeof tw_levels[0] };

const char *${n}_level_name(const struct ${n} *m) {
  for (int i = 0; i < TW_LEVELS; ++i)
    if (tw_levels[i].index == m->level) return tw_levels[i].name;
  return "none";
}

int ${n}_level(struct ${n} *m, const char *name) {
  if (m == NULL || name == NULL) return ${up}_ERROR_ARGUMENT;
  for (int i = 0; i < TW_LEVELS; ++i) {
    const char *have = tw_levels[i].name;
    size_t k = 0;
    while (have[k] != 0 && have[k] == name[k]) ++k;
    if (have[k] != 0 || name[k] != 0 || tw_levels[i].index > tw_cpu_level()) continue;
    m->level = tw_levels[i].index;
    return ${up}_OK;
  }
  return ${up}_ERROR_LEVEL;
}

/* The widest level that both processor and build have. */
static int tw_best_level(void) {
  const int most = tw_cpu_level();
  for (int i = 0; i < TW_LEVELS; ++i)
    if (tw_levels[i].index <= most) return tw_levels[i].index;
  return -1;
}
`;
}

function placesText(f: ApiFacts): string {
  const { name: n } = f;
  const up = n.toUpperCase();
  const [params, args] = [sizeParams(f.program), hasData(f) ? "symbols, data" : "symbols"];
  const place: LevelLine = (l) => `    case ${l.index}: return ${levelFunction("place", l)}(${args}, port);`;
  const size: LevelLine = (l) => `  bytes = tw_larger(bytes, ${levelFunction("arena_bytes", l)}(symbols));`;
  return `static int64_t tw_place(int level, ${params}, int port) {
  switch (level) {
${perLevel(f, place)}
    default: return -1;
  }
}

static int64_t tw_larger(int64_t a, int64_t b) {
  return a > b ? a : b;
}

size_t ${n}_weight_bytes(void) {
  return ${f.weightBytes}u;
}

int64_t ${n}_arena_bytes(const int32_t *symbols) {
  const int status = tw_check_symbols(symbols);
  if (status < 0) return status;
  int64_t bytes = 64;
${perLevel(f, size)}
  return bytes;
}

int ${n}_init(struct ${n} *m, const void *weights, size_t weight_bytes, void *arena, size_t arena_bytes) {
  if (m == NULL || arena == NULL || (weights == NULL && weight_bytes > 0)) return ${up}_ERROR_ARGUMENT;
  if (weight_bytes != ${n}_weight_bytes()) return ${up}_ERROR_WEIGHTS;
  if ((uintptr_t)weights % 64 != 0 || (uintptr_t)arena % 64 != 0) return ${up}_ERROR_ALIGNMENT;
${f.program.symbols.length > 0 ? "" : `  if (arena_bytes < (size_t)${n}_arena_bytes(NULL)) return ${up}_ERROR_ARENA;\n`}  memset(m, 0, sizeof *m);
  m->weights = (const unsigned char *)weights;
  m->arena = (unsigned char *)arena;
  m->arena_bytes = arena_bytes;
  m->level = tw_best_level();
  m->threads = 1;
  return m->level < 0 ? ${up}_ERROR_LEVEL : ${up}_OK;
}
`;
}

function runText(f: ApiFacts): string {
  const { name: n } = f;
  const up = n.toUpperCase();
  const run: LevelLine = (l) => `    case ${l.index}: ${levelFunction("run", l)}(m, symbols); break;`;
  const dynamic = isDynamic(f);
  const bytes = dynamic ? "m->room" : "(size_t)bytes";
  return `#ifndef TW_FREESTANDING
static int tw_make_room(struct ${n} *m, const int32_t *symbols, size_t bytes);
#endif

/* Checks the symbols, and that the arena is large enough for them. */
static int tw_ready(struct ${n} *m, const int32_t *symbols) {
  if (m == NULL) return ${up}_ERROR_ARGUMENT;
  const int64_t bytes = ${n}_arena_bytes(symbols);
  if (bytes < 0) return (int)bytes;
${dynamic ? roomText(up) : ""}#ifndef TW_FREESTANDING
  if (m->owned) return tw_make_room(m, symbols, ${bytes});
#endif
  return (uint64_t)bytes > m->arena_bytes ? ${up}_ERROR_ARENA : ${up}_OK;
}

static unsigned char *tw_port(${hasData(f) ? "const " : ""}struct ${n} *m, const int32_t *symbols, int port) {
  return m->arena + tw_place(m->level, symbols${hasData(f) ? ", m->report + 2" : ""}, port);
}
${toldText(f, (line) => perLevel(f, line))}
void *${n}_input(struct ${n} *m, const int32_t *symbols, int i) {
  if (i < 0 || i >= ${up}_INPUTS || tw_ready(m, symbols) < 0) return NULL;
  return tw_port(m, symbols, i);
}

void *${n}_output(struct ${n} *m, const int32_t *symbols, int i) {
  if (i < 0 || i >= ${up}_OUTPUTS || ${dynamic ? "!m->ran || " : ""}tw_ready(m, symbols) < 0) return NULL;
  return tw_port(m, symbols, ${up}_INPUTS + i);
}

/* Computes, once the inputs are in their places. */
static int tw_run(struct ${n} *m, const int32_t *symbols) {
#ifdef TW_PROFILE
  memset(m->launch_seconds, 0, sizeof m->launch_seconds);
  m->launch_last = tw_clock();
#endif
  switch (m->level) {
${perLevel(f, run)}
    default: return ${up}_ERROR_LEVEL;
  }
  return ${hasReport(f) ? "tw_told(m, symbols)" : `${up}_OK`};
}

int ${n}_run(struct ${n} *m, const int32_t *symbols, const void *const *inputs, void *const *outputs) {
  int status = tw_ready(m, symbols);
  if (status < 0) return status;
  for (int i = 0; inputs != NULL && i < ${up}_INPUTS; ++i) {
    unsigned char *place = tw_port(m, symbols, i);
    if (inputs[i] != NULL && inputs[i] != place) memcpy(place, inputs[i], (size_t)tw_port_bytes(symbols, i));
  }
${callText(f)}  for (int i = 0; outputs != NULL && i < ${up}_OUTPUTS; ++i) {
    const unsigned char *place = tw_port(m, symbols, ${up}_INPUTS + i);
    if (outputs[i] != NULL && outputs[i] != place) memcpy(outputs[i], place, (size_t)${hasData(f) ? "tw_output_bytes(symbols, m->report + 2, i)" : `tw_port_bytes(symbols, ${up}_INPUTS + i)`});
  }
  return ${up}_OK;
}
${resultsText(f)}
const char *${n}_error(int status) {
  switch (status) {
${statusesOf(f)
  .map((s) => `    case ${up}_${s.name}: return ${JSON.stringify(s.text)};`)
  .join("\n")}
    default: return "an unknown status: it comes from another library";
  }
}
`;
}

/** How much of the arena a run may use that places tensors as it goes. */
function roomText(up: string): string {
  return `  m->room = m->owned ? (size_t)tw_larger((int64_t)m->room, bytes + ${firstRoom}) : m->arena_bytes;
  if (m->room < (size_t)bytes) return ${up}_ERROR_ARENA;
`;
}

/** What a run begins with beyond the planned part of the arena. */
const firstRoom = 1 << 18;

/** The run itself; one that needs more room is repeated where the arena can grow. */
function callText(f: ApiFacts): string {
  const up = f.name.toUpperCase();
  const again = `#ifndef TW_FREESTANDING
  while (status == ${up}_ERROR_ARENA) {
    status = tw_grow(m, symbols);
    if (status < 0) return status;
    status = tw_run(m, symbols);
  }
#endif
`;
  const remember = f.program.symbols.length === 0 ? "" : "  memcpy(m->symbols, symbols, sizeof m->symbols);\n";
  return `${hasData(f) ? "  m->ran = 0;\n" : ""}  status = tw_run(m, symbols);
${isDynamic(f) ? again : ""}  if (status < 0) return status;
${hasData(f) ? `${remember}  m->ran = 1;\n` : ""}`;
}

/** Start and end with memory, files and threads of the system. */
function hostedText(f: ApiFacts): string {
  const { name: n } = f;
  const up = n.toUpperCase();
  return `#ifndef TW_FREESTANDING
${f.threads ? threadBytesText(f) : ""}/* Makes the arena at least so large, and the threads' own memory behind it; what was in it is gone then. */
static int tw_make_room(struct ${n} *m, const int32_t *symbols, size_t bytes) {
${f.threads ? "  const size_t step = m->threads > 1 ? tw_thread_bytes(symbols) : 0;\n" : "  (void)symbols;\n  const size_t step = 0;\n"}  const size_t scratch = step * (size_t)m->threads;
  bytes = (bytes + 63) / 64 * 64;
  if (bytes + scratch > m->arena_bytes) {
    if (bytes + scratch > SIZE_MAX - 64) return ${up}_ERROR_MEMORY;
    unsigned char *memory = (unsigned char *)malloc(bytes + scratch + 63);
    if (memory == NULL) return ${up}_ERROR_MEMORY;
    free(m->allocated);
    m->allocated = memory;
    m->arena = memory + (64 - (uintptr_t)memory % 64) % 64;
    m->arena_bytes = bytes + scratch;
  }
  m->scratch = m->arena + bytes;
  m->scratch_step = step;
  return ${up}_OK;
}

int ${n}_open(struct ${n} **out, const char *weights_path, int threads) {
  if (out == NULL) return ${up}_ERROR_ARGUMENT;
  *out = NULL;
  if (weights_path == NULL && ${n}_weight_bytes() > 0) return ${up}_ERROR_ARGUMENT;
  if (threads < 1 || threads > ${mostPoolThreads}) return ${up}_ERROR_THREADS;
  const int level = tw_best_level();
  if (level < 0) return ${up}_ERROR_LEVEL;
  struct ${n} *m = (struct ${n} *)calloc(1, sizeof *m);
  if (m == NULL) return ${up}_ERROR_MEMORY;
  m->level = level;
  m->threads = 1;
  m->weights = tw_map(weights_path, ${n}_weight_bytes(), &m->file);
  m->owned = 1;
  int status = m->weights == NULL ? ${up}_ERROR_FILE : ${up}_OK;
${
  f.threads
    ? `  if (status == ${up}_OK && threads > 1) {
    m->pool = tw_pool_start(threads);
    m->threads = m->pool == NULL ? 1 : threads;
  }
`
    : ""
}${f.program.symbols.length > 0 ? "" : `  if (status == ${up}_OK) status = tw_ready(m, NULL);\n`}  if (status < 0) {
    ${n}_close(m);
    return status;
  }
  *out = m;
  return ${up}_OK;
}

void ${n}_close(struct ${n} *m) {
  if (m == NULL) return;
${f.threads ? "  if (m->pool != NULL) tw_pool_stop((struct tw_pool *)m->pool);\n" : ""}  tw_unmap(m->file, ${n}_weight_bytes());
  free(m->allocated);
  free(m);
}

int ${n}_threads(const struct ${n} *m) {
  return m->threads;
}

#ifdef TW_PROFILE
int ${n}_launch_times(const struct ${n} *m, double *seconds, int capacity) {
  for (int i = 0; i < ${f.launches} && i < capacity; ++i) seconds[i] = m->launch_seconds[i];
  return ${f.launches};
}
#endif
#endif
`;
}

function threadBytesText(f: ApiFacts): string {
  return `/* A thread's own memory in a launch that threads share. */
static size_t tw_thread_bytes(const int32_t *symbols) {
  int64_t bytes = 0;
${perLevel(f, (l) => `  bytes = tw_larger(bytes, ${levelFunction("thread_bytes", l)}(symbols));`)}
  return (size_t)bytes;
}

`;
}
