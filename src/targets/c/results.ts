import { type ApiFacts, hasData, hasReport, isDynamic } from "./header.ts";
import type { Level } from "./levels.ts";
import { levelFunction } from "./program.ts";

/** What a run tells of itself: the part of the C API that only models have whose runs compute sizes, or may fail. */

/** Writes a line for every level. */
type PerLevel = (line: (l: Level) => string) => string;

/** Functions that `run` uses. */
export function toldText(f: ApiFacts, perLevel: PerLevel): string {
  if (!hasReport(f)) return "";
  const { name: n } = f;
  const up = n.toUpperCase();
  const room = f.program.faults.findIndex((x) => x.room === true);
  const failed = room < 0 ? `${up}_ERROR_DATA` : `m->report[0] == ${1 + room} ? ${up}_ERROR_ARENA : ${up}_ERROR_DATA`;
  return `
/* Takes over what the run left to tell: the fault that ended it, sizes that it computed. */
static int tw_told(struct ${n} *m, const int32_t *symbols) {
  int64_t place = 0;
  switch (m->level) {
${perLevel((l) => `    case ${l.index}: place = ${levelFunction("report", l)}(symbols); break;`)}
    default: return ${up}_ERROR_LEVEL;
  }
  memcpy(m->report, m->arena + place, sizeof m->report);
  return m->report[0] == 0 ? ${up}_OK : ${failed};
}
${isDynamic(f) ? growText(f) : ""}`;
}

/** With more room a run can be repeated: it left its inputs as they were. */
function growText(f: ApiFacts): string {
  const { name: n } = f;
  const up = n.toUpperCase();
  return `
int64_t ${n}_needed_bytes(const struct ${n} *m) {
  return m == NULL || m->report[0] != ${1 + f.program.faults.findIndex((x) => x.room === true)} ? 0 : (int64_t)m->report[1] * 64;
}

#ifndef TW_FREESTANDING
/* Makes the arena as large as the run needs, and some more, and keeps what was planned of it, the inputs among it. */
static int tw_grow(struct ${n} *m, const int32_t *symbols) {
  struct ${n} before = *m;
  const size_t needed = (size_t)${n}_needed_bytes(m);
  if (!m->owned) return ${up}_ERROR_ARENA;
  m->room = needed + needed / 4;
  m->allocated = NULL;
  m->arena_bytes = 0;
  const int status = tw_make_room(m, symbols, m->room);
  if (status < 0) {
    *m = before;
    return status;
  }
  memcpy(m->arena, before.arena, (size_t)${n}_arena_bytes(symbols));
  free(before.allocated);
  return ${up}_OK;
}
#endif
`;
}

/** Public functions. */
export function resultsText(f: ApiFacts): string {
  if (!hasReport(f)) return "";
  const { name: n } = f;
  const { faults } = f.program;
  const texts = faults.map((x) => `    ${JSON.stringify(x.text)},`).join("\n");
  const fault =
    faults.length === 0
      ? `  (void)m, (void)value;\n  return NULL;`
      : `  static const char *const texts[] = {
${texts}
  };
  if (m == NULL || m->report[0] < 1 || m->report[0] > ${faults.length}) return NULL;
  if (value != NULL) *value = m->report[1];
  return texts[m->report[0] - 1];`;
  return `
const char *${n}_fault(const struct ${n} *m, int32_t *value) {
${fault}
}
${hasData(f) ? dataText(f) : ""}`;
}

function dataText(f: ApiFacts): string {
  const { name: n } = f;
  const up = n.toUpperCase();
  const starts = [0];
  for (const x of f.program.outputs) starts.push((starts[starts.length - 1] as number) + x.dims.length);
  const check = (extra = ""): string => `  if (m == NULL || i < 0 || i >= ${up}_OUTPUTS${extra}) return ${up}_ERROR_ARGUMENT;
  if (!m->ran) return ${up}_ERROR_UNKNOWN;`;
  return `
int64_t ${n}_result_bytes(const struct ${n} *m, int i) {
${check()}
  return tw_output_bytes(m->symbols, m->report + 2, i);
}

int64_t ${n}_result_dim(const struct ${n} *m, int i, int d) {
  static const int first[] = {${starts.join(", ")}};
${check(" || d < 0 || d >= first[i + 1] - first[i]")}
  return tw_output_dim(m->symbols, m->report + 2, first[i] + d);
}

int ${n}_read(const struct ${n} *m, int i, void *to) {
  if (to == NULL) return ${up}_ERROR_ARGUMENT;
${check()}
  const int64_t bytes = tw_output_bytes(m->symbols, m->report + 2, i);
  if (bytes > 0) memcpy(to, tw_port(m, m->symbols, ${up}_INPUTS + i), (size_t)bytes);
  return ${up}_OK;
}
`;
}
