import { UserError } from "../base/errors.ts";
import type { Capabilities } from "../base/machine.ts";
import type { Tensor } from "../tensor/ir.ts";
import { type Chooser, applySchedule, constantsFrom } from "./choose.ts";
import { identifyKernel } from "./kernel-key.ts";
import { type PortableSchedule, fromPortable, inOrder } from "./portable.ts";
import { algorithms, printSchedule } from "./schedule.ts";

/**
 * Schedules that were found by measuring, by kernel and machine. The text form is JSON with one entry a paragraph, sorted,
 * so that a change of one entry is a change of a few lines; it holds nothing that changes from run to run by itself.
 */
export interface ScheduleDatabase {
  readonly entries: readonly DatabaseEntry[];
  /** Orders of dims in memory; absent where none was found. */
  readonly layouts?: readonly LayoutEntry[];
}

export interface DatabaseEntry {
  /** `identifyKernel`'s key. */
  readonly kernel: string;
  /** Target, engine and processor that it was measured on. */
  readonly machine: string;
  /** Where it came from and its axes; for people, never compared. */
  readonly what: string;
  readonly schedule: PortableSchedule;
  /** Milliseconds of one launch under this schedule and under the default one, measured in turns. */
  readonly ms: number;
  readonly default_ms: number;
  /** Schedules that were measured until then. */
  readonly trials: number;
}

/** In which order the dims of a group of tensors lie in memory that pointwise stages tie together. */
export interface LayoutEntry {
  /** `layoutGroups`' key. */
  readonly group: string;
  readonly machine: string;
  /** What the group's tensors stand for and their dims; for people, never compared. */
  readonly what: string;
  /** Dims, outermost first. */
  readonly order: readonly number[];
  /** Milliseconds of all kernels that the order changes, with it and with the order that it took the place of, measured in turns. */
  readonly ms: number;
  readonly default_ms: number;
  /** Orders of this group that were measured until then. */
  readonly trials: number;
}

/** A database as the compiler uses it: with the machine that code is made for. */
export interface TunedSchedules {
  readonly database: ScheduleDatabase;
  /** The id of the machine that this process runs on, with or without relaxed SIMD, for a number of threads. */
  readonly machine: (relaxed: boolean, threads: number) => string;
  /** Is told of entries that do not fit. */
  readonly note?: (text: string) => void;
}

const databaseFormat = "tilewright-schedules";
/** The first version had no layouts; a database without any is still written as one. */
const formatVersions = { plain: 1, layouts: 2 } as const;
/** A database of more bytes than this is none. */
const largestText = 1 << 28;

export const emptyDatabase: ScheduleDatabase = { entries: [] };

/** The database's text; `parseDatabase` reads it back. */
export function printDatabase(db: ScheduleDatabase): string {
  const sorted = [...db.entries].sort((a, b) => compare(a.kernel, b.kernel) || compare(a.machine, b.machine));
  const entry = (e: DatabaseEntry) =>
    [
      `    "kernel": ${JSON.stringify(e.kernel)}, "machine": ${JSON.stringify(e.machine)}`,
      `    "what": ${JSON.stringify(e.what)}`,
      `    "ms": ${e.ms}, "default_ms": ${e.default_ms}, "trials": ${e.trials}`,
      `    "schedule": ${printSchedule(e.schedule)}`,
    ].join(",\n");
  const layout = (e: LayoutEntry) =>
    [
      `    "group": ${JSON.stringify(e.group)}, "machine": ${JSON.stringify(e.machine)}`,
      `    "what": ${JSON.stringify(e.what)}`,
      `    "ms": ${e.ms}, "default_ms": ${e.default_ms}, "trials": ${e.trials}`,
      `    "order": ${JSON.stringify(e.order)}`,
    ].join(",\n");
  const list = (texts: readonly string[]) => (texts.length === 0 ? "[]" : `[\n${texts.map((t) => `  {\n${t}\n  }`).join(",\n")}\n  ]`);
  const layouts = [...(db.layouts ?? [])].sort((a, b) => compare(a.group, b.group) || compare(a.machine, b.machine));
  const version = layouts.length === 0 ? formatVersions.plain : formatVersions.layouts;
  const tail = layouts.length === 0 ? "" : `,\n  "layouts": ${list(layouts.map(layout))}`;
  return `{\n  "format": "${databaseFormat}",\n  "version": ${version},\n  "entries": ${list(sorted.map(entry))}${tail}\n}\n`;
}
const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

/**
 * Reads a database. `name` is what messages call it.
 * @throws UserError `database`, naming the entry, when it is malformed or has two entries for one kernel (or group) and machine
 */
export function parseDatabase(text: string, name = "the database"): ScheduleDatabase {
  const fail = (what: string): never => {
    throw new UserError("database", `${name}: ${what}`);
  };
  if (text.length > largestText) fail(`it has ${text.length} characters; a database has at most ${largestText}`);
  let v: unknown;
  try {
    v = JSON.parse(text);
  } catch (e) {
    return fail(`it is no JSON (${(e as Error).message}); give a file that 'tilewright tune' wrote, or a new name`);
  }
  const top = new Checker(v, "the file", fail);
  if (top.field("format").value !== databaseFormat)
    fail(`it is no database of schedules (its format is ${shown(top.field("format").value)}, expected "${databaseFormat}")`);
  const version = top.field("version").value;
  if (version !== formatVersions.plain && version !== formatVersions.layouts)
    fail(`its version is ${shown(version)}; this tilewright reads versions ${formatVersions.plain} and ${formatVersions.layouts}`);
  const hasLayouts = version === formatVersions.layouts;
  top.only(["format", "version", "entries", ...(hasLayouts ? ["layouts"] : [])]);
  const all = <T extends { readonly machine: string; readonly what: string }>(
    field: string,
    read: (c: Checker) => T,
    keyOf: (e: T) => string,
  ): T[] => {
    const seen = new Set<string>();
    const called = field === "entries" ? "entry" : "layout";
    return top
      .field(field)
      .items()
      .map((c, i) => {
        const e = read(c.called(`${called} ${i + 1}`));
        const id = `${keyOf(e)} ${e.machine}`;
        if (seen.has(id)) fail(`${called} ${i + 1} (${e.what}): a second one for ${keyOf(e)} on this machine; delete one`);
        seen.add(id);
        return e;
      });
  };
  const entries = all("entries", readEntry, (e) => `kernel ${e.kernel}`);
  return hasLayouts ? { entries, layouts: all("layouts", readLayout, (e) => `group ${e.group}`) } : { entries };
}

/** What entries of both kinds tell besides. */
function readMeasured(e: Checker): Pick<DatabaseEntry, "machine" | "what" | "ms" | "default_ms" | "trials"> {
  return {
    machine: e.field("machine").text(/./, "a machine"),
    what: e.field("what").text(/^/, "a text"),
    ms: e.field("ms").number("a time", (n) => n > 0),
    default_ms: e.field("default_ms").number("a time", (n) => n > 0),
    trials: e.field("trials").number("a count", (n) => Number.isInteger(n) && n >= 0),
  };
}

function readLayout(c: Checker): LayoutEntry {
  const group = c.field("group").text(/^[0-9a-f]{16}$/, "16 hex digits");
  const e = c.called(`${c.at} (group ${group})`);
  e.only(["group", "machine", "what", "ms", "default_ms", "trials", "order"]);
  return { group, ...readMeasured(e), order: readOrderOf(e.field("order")) };
}

/** Checks an order of dims that was read from a file. `fail` is told what is wrong, and throws. */
export function readOrder(value: unknown, fail: (what: string) => never): readonly number[] {
  return readOrderOf(new Checker(value, "order", fail));
}

const mostDims = 64;
function readOrderOf(c: Checker): readonly number[] {
  const what = "the numbers of all dims, each once, outermost first, such as [0,2,3,1]";
  const items = c.items();
  if (items.length > mostDims) c.fail(what);
  const order = items.map((d) => d.number("the number of a dim", (n) => Number.isInteger(n) && n >= 0 && n < items.length));
  return new Set(order).size === order.length ? order : c.fail(what);
}

function readEntry(c: Checker): DatabaseEntry {
  const kernel = c.field("kernel").text(/^[0-9a-f]{16}$/, "16 hex digits");
  const e = c.called(`${c.at} (kernel ${kernel})`);
  e.only(["kernel", "machine", "what", "ms", "default_ms", "trials", "schedule"]);
  return { kernel, ...readMeasured(e), schedule: readPortable(e.field("schedule")) };
}

const kinds: readonly string[] = ["serial", "unrolled", "vector"];
const tailNames: readonly string[] = ["overlap", "peel", "mask"];
const isSize = (n: number) => Number.isInteger(n) && n >= 1 && n < 2 ** 31;
const axisPattern = /^[prs]\d{1,4}$/;

/** Checks a schedule in portable form that was read from a file. `fail` is told what is wrong, and throws. */
export function readPortableSchedule(value: unknown, fail: (what: string) => never): PortableSchedule {
  return readPortable(new Checker(value, "schedule", fail));
}

function readPortable(c: Checker): PortableSchedule {
  c.only(["algorithm", "stages", "packs", "joined", "specialize"]);
  const algorithm = c.field("algorithm").oneOf(algorithms);
  const stages = c
    .field("stages")
    .entries(/^\d{1,4}$/, "a position")
    .map(([n, s]) => {
      s.only(["loops", "tails"]);
      const loops = s
        .field("loops")
        .items()
        .map((l) => {
          l.only(["axis", "size", "kind", "split"]);
          const split = l.field("split").value;
          if (split !== undefined && typeof split !== "boolean") l.field("split").fail("true or false");
          return {
            axis: l.field("axis").text(axisPattern, "an axis such as p0 or r2"),
            size: l.field("size").number("a size of at least 1", isSize),
            kind: l.field("kind").oneOf(kinds) as "serial" | "unrolled" | "vector",
            ...(split === undefined ? {} : { split: split as boolean }),
          };
        });
      const tails = s
        .field("tails")
        .entries(axisPattern, "an axis")
        .map(([a, t]) => [a, t.oneOf(tailNames)] as const);
      return [n, { loops, tails: Object.fromEntries(tails) as Record<string, "overlap" | "peel" | "mask"> }] as const;
    });
  const packs = c
    .field("packs")
    .items()
    .map((p) => {
      p.only(["stage", "operand", "axis", "size"]);
      return {
        stage: p.field("stage").number("the position of a stage", (n) => Number.isInteger(n) && n >= 0),
        operand: p.field("operand").number("the number of an operand", (n) => Number.isInteger(n) && n >= 0),
        axis: p.field("axis").text(axisPattern, "an axis such as p0"),
        size: p.field("size").number("a size of at least 1", isSize),
      };
    });
  const flag = (name: string): boolean => {
    const f = c.field(name);
    return typeof f.value === "boolean" ? f.value : f.fail("true or false");
  };
  return inOrder({ algorithm, stages: Object.fromEntries(stages), packs, joined: flag("joined"), specialize: flag("specialize") });
}

const shown = (v: unknown): string => (v === undefined ? "missing" : (JSON.stringify(v) ?? String(v)).slice(0, 60));

/** A value of the file with the way to it, for messages. */
class Checker {
  readonly value: unknown;
  readonly at: string;
  private readonly report: (what: string) => never;
  constructor(value: unknown, at: string, report: (what: string) => never) {
    this.value = value;
    this.at = at;
    this.report = report;
  }
  called(at: string): Checker {
    return new Checker(this.value, at, this.report);
  }
  fail(expected: string): never {
    return this.report(`${this.at}: expected ${expected}, got ${shown(this.value)}`);
  }
  private object(): Readonly<Record<string, unknown>> {
    if (typeof this.value !== "object" || this.value === null || Array.isArray(this.value)) return this.fail("an object");
    return this.value as Readonly<Record<string, unknown>>;
  }
  field(name: string): Checker {
    const o = this.object();
    return new Checker(Object.hasOwn(o, name) ? o[name] : undefined, this.at === "the file" ? `'${name}'` : `${this.at}, '${name}'`, this.report);
  }
  only(names: readonly string[]): void {
    const extra = Object.keys(this.object()).find((n) => !names.includes(n));
    if (extra !== undefined) this.report(`${this.at}: unknown field '${extra}'; there are: ${names.join(", ")}`);
  }
  items(): Checker[] {
    if (!Array.isArray(this.value)) return this.fail("a list");
    return (this.value as readonly unknown[]).map((v, i) => new Checker(v, `${this.at}[${i}]`, this.report));
  }
  entries(key: RegExp, what: string): [string, Checker][] {
    return Object.entries(this.object()).map(([n, v]) => {
      if (!key.test(n)) this.report(`${this.at}: expected ${what}, got '${n.slice(0, 40)}'`);
      return [n, new Checker(v, `${this.at}['${n}']`, this.report)];
    });
  }
  text(pattern: RegExp, what: string): string {
    return typeof this.value === "string" && pattern.test(this.value) ? this.value : this.fail(what);
  }
  number(what: string, holds: (n: number) => boolean): number {
    return typeof this.value === "number" && Number.isFinite(this.value) && holds(this.value) ? this.value : this.fail(what);
  }
  oneOf<T extends string>(list: readonly T[]): T {
    return list.find((x) => x === this.value) ?? this.fail(`one of ${list.join(", ")}`);
  }
}

/** The database with an entry added, in the place of an older one for that kernel and machine. */
export function withEntry(db: ScheduleDatabase, e: DatabaseEntry): ScheduleDatabase {
  return { ...db, entries: [...db.entries.filter((o) => o.kernel !== e.kernel || o.machine !== e.machine), e] };
}

/** The database with a layout added, in the place of an older one for that group and machine. */
export function withLayout(db: ScheduleDatabase, e: LayoutEntry): ScheduleDatabase {
  return { ...db, layouts: [...(db.layouts ?? []).filter((o) => o.group !== e.group || o.machine !== e.machine), e] };
}

/** The orders of dims that hold on a machine, by group. */
export function layoutOrders(db: ScheduleDatabase, machineId: string): ReadonlyMap<string, readonly number[]> {
  return new Map((db.layouts ?? []).filter((e) => e.machine === machineId).map((e) => [e.group, e.order]));
}

/**
 * The id under which a database is asked. What was measured with that number of threads comes first; where nothing was, what one
 * thread found is taken.
 */
export function machineIdFor({ database, machine }: TunedSchedules, relaxed: boolean, threads: number): string {
  const own = machine(relaxed, threads);
  const has = [...database.entries, ...(database.layouts ?? [])].some((e) => e.machine === own);
  return has ? own : machine(relaxed, 1);
}

export interface DatabaseChooserOptions {
  readonly machine: Capabilities;
  /** Which entries count. */
  readonly machineId: string;
  readonly isConstant: (t: Tensor) => boolean;
  /** No algorithm that changes the arithmetic: entries with one do not count. */
  readonly exact?: boolean;
  readonly note?: (text: string) => void;
}

/** Takes the schedules of a database where it has them, and those of another chooser else. An entry that does not fit is left out, with a note. */
export function databaseChooser(inner: Chooser, db: ScheduleDatabase, options: DatabaseChooserOptions): Chooser {
  const entries = new Map(db.entries.filter((e) => e.machine === options.machineId).map((e) => [e.kernel, e]));
  if (entries.size === 0) return inner;
  const constants = constantsFrom(options.isConstant);
  return (sc, k) => {
    constants.note(k);
    const found = entries.get(identifyKernel(sc, k, constants.has).key);
    if (found === undefined || (options.exact === true && found.schedule.algorithm !== "direct")) return inner(sc, k);
    const fitted = fromPortable(sc, options.machine, k, found.schedule);
    if (fitted.schedule !== null) return applySchedule(sc, options.machine, k, fitted.schedule);
    options.note?.(`the database's schedule for kernel ${found.kernel} (${found.what}) does not fit and is left out: ${fitted.why}`);
    entries.delete(found.kernel);
    return inner(sc, k);
  };
}
