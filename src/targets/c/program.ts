import type { Dim } from "../../base/dim.ts";
import { InternalError, UnsupportedError } from "../../base/errors.ts";
import { type Names, Printer } from "../../base/text.ts";
import type { Kernel, Launch, Port, Program, Stmt } from "../../loop/ir.ts";
import type { Expr, Variable } from "../../scalar/expr.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { hostExpressions, mapMain } from "../host.ts";
import { known, launchesOf, mayShare, mostScratch, scratchLayout } from "../launches.ts";
import { addressParams } from "./addresses.ts";
import { castTo } from "./render.ts";
import { type Level, levels } from "./levels.ts";
import type { Prelude } from "./prelude.ts";
import { mostSharedArgs } from "./runtime.ts";
import { type KernelSignature, FunctionWriter, writeKernel } from "./statements.ts";
import { commentLines } from "./types.ts";

/** A program as it is for one level. */
export interface LevelProgram {
  readonly level: Level;
  readonly program: Program;
}

/** A single buffer stays below this, and so do the weights and an arena of known size: positions inside of them are int32_t. */
const mostBytes = 2 ** 31;

/** @throws UnsupportedError `buffer` for memory of known size that positions of 32 bits do not reach the end of */
export function checkBuffers(p: Program): void {
  // Sizes up to 4 GiB are kept modulo 2^32.
  const unsigned = (e: Expr): number => (known(e) ?? 0) >>> 0;
  const last = p.weightSlots[p.weightSlots.length - 1];
  const sized = [
    ...(p.placements ?? []).map((b) => ({ name: `buffer ${b.name}`, bytes: unsigned(b.bytes) })),
    { name: "the arena", bytes: unsigned(p.arenaBytes) },
    { name: "the weights", bytes: last === undefined ? 0 : last.offset + last.bytes },
  ];
  const large = sized.filter((b) => b.bytes >= mostBytes);
  if (large.length > 0)
    throw new UnsupportedError("buffer", "C code reaches memory of less than 2 GiB each; these are larger, compile with smaller shapes:", [
      ...new Set(large.map((b) => `${b.name}: ${b.bytes} bytes`)),
    ]);
}

/** The launches that threads share. */
export function sharedLaunches(p: Program): Launch[] {
  return launchesOf(p).filter((s) => isShared(p, s));
}

function isShared(p: Program, s: Launch): boolean {
  return mayShare(p, s) && s.args.length <= mostSharedArgs;
}

/** The most scratch memory that a thread needs in a shared launch. */
export function threadBytes(sc: Scalars, p: Program): Expr {
  return mostScratch(sc, sharedLaunches(p));
}

/** Sizes are never negative: their divisions need no correction. */
function sizeExpression(sc: Scalars, e: Expr): Expr {
  const truncating = sc.rebuild([e], (x, args) => (x.op === "floordiv" ? sc.op("div", args) : x.op === "mod" ? sc.op("rem", args) : null))[0] as Expr;
  return sc.decompose(truncating);
}

/** Bytes of so many elements of a port. */
export function portBytes(sc: Scalars, p: Pick<Port, "dtype">, elements: Dim): Expr {
  const n = sc.dim(elements);
  const { bits } = p.dtype;
  if (bits >= 8) return sc.mul(n, sc.int(bits / 8));
  return sc.floordiv(sc.add(sc.mul(n, sc.int(bits)), sc.int(7)), sc.int(8));
}

/** What the code of a level is made with. */
export interface LevelContext {
  readonly sc: Scalars;
  /** The C name of the context's type. */
  readonly name: string;
  readonly prelude: Prelude;
  /** Names of the file's functions. */
  readonly names: Names;
  /** Does some level have launches that threads share? */
  readonly threads: boolean;
  /** How each kernel was scheduled, to be written above it. */
  readonly schedules: ReadonlyMap<Kernel, string>;
}

/** The code of one level, in the pieces that stand in different places of the file. */
export interface LevelCode {
  readonly kernels: string;
  /** Tasks of shared launches, main, sizes. */
  readonly program: string;
  /** C names of the kernels. */
  readonly kernelNames: ReadonlyMap<Kernel, string>;
}

/** Writes kernels and main of a level; the first one's main tells what its launches stand for. */
export function writeLevel(c: LevelContext, { level, program: source }: LevelProgram, isFirst: boolean): LevelCode {
  const program = mapMain(source, hostExpressions(c.sc, source));
  const launches = launchesOf(program);
  const main = new Printer();
  const roots = [program.arena, program.weights];
  const isAddress = new FunctionWriter(main, level, c.prelude, program.main, roots, { wide: true }).facts.isAddress;
  const written = writeKernels(c, level, program, launches, isAddress);
  const w = new MainWriter(c, level, program, main, written, isFirst);
  w.write();
  return { kernels: written.text, program: textOf(main), kernelNames: written.names };
}

interface WrittenKernels {
  readonly text: string;
  readonly names: ReadonlyMap<Kernel, string>;
  readonly signatures: ReadonlyMap<Kernel, KernelSignature>;
}

/** Writes the kernels that are launched; those that come out alike are one function. */
function writeKernels(c: LevelContext, level: Level, p: Program, launches: readonly Launch[], isAddress: (e: Expr) => boolean): WrittenKernels {
  const names = new Map<Kernel, string>();
  const signatures = new Map<Kernel, KernelSignature>();
  const functions = new Map<string, { readonly name: string; readonly kernels: Kernel[] }>();
  for (const k of p.kernels) {
    const own = launches.filter((l) => l.kernel === k);
    if (own.length === 0) continue;
    const out = new Printer();
    signatures.set(k, writeKernel(out, k, nameMark, level, c.prelude, addressParams(k, own, isAddress)));
    const text = out.toString();
    const same = functions.get(text);
    const name = same?.name ?? c.names.fresh(`${k.name}_${level.name}`);
    if (same === undefined) functions.set(text, { name, kernels: [k] });
    else same.kernels.push(k);
    names.set(k, name);
  }
  const texts = [...functions].map(([text, { name, kernels }]) => {
    const comment = new Printer();
    const origins = launches.filter((l) => kernels.includes(l.kernel)).flatMap((l) => l.origin);
    writeComment(comment, [[...new Set(origins)].join(", "), c.schedules.get(kernels[0] as Kernel) ?? ""]);
    return `${comment}${text.replace(nameMark, name)}`.replace(/^\n/, "");
  });
  return { text: texts.join("\n"), names, signatures };
}

/** Stands for a function's name until it has one; no identifier of C. */
const nameMark = "@";

const textOf = (p: Printer): string => p.toString().replace(/\n+$/, "\n");

function writeComment(out: Printer, parts: readonly string[]): void {
  const lines = parts.filter((p) => p !== "").flatMap((p) => commentLines(p));
  lines.forEach((l, i) => out.line(`${i === 0 ? "/* " : "   "}${l}${i === lines.length - 1 ? " */" : ""}`));
}

/** Functions that each level has; `report` only where a run has something to tell. */
export const levelFunctions = ["run", "place", "arena_bytes", "thread_bytes", "report"] as const;
/** The name of one of them. */
export function levelFunction(which: (typeof levelFunctions)[number], level: Level): string {
  return `tw_${which}_${level.name}`;
}

/** Writes tasks, main and sizes of one level. */
class MainWriter {
  private readonly c: LevelContext;
  private readonly level: Level;
  private readonly program: Program;
  private readonly out: Printer;
  private readonly kernelNames: ReadonlyMap<Kernel, string>;
  private readonly signatures: ReadonlyMap<Kernel, KernelSignature>;
  /** Tasks of kernels that threads may share, by the kernel's name. */
  private readonly tasks = new Map<string, string>();
  private readonly isFirst: boolean;
  private launched = 0;
  /** What the launch before stands for. */
  private origin = "";

  constructor(c: LevelContext, level: Level, program: Program, out: Printer, { names, signatures }: WrittenKernels, isFirst: boolean) {
    this.c = c;
    this.isFirst = isFirst;
    this.level = level;
    this.program = program;
    this.out = out;
    this.kernelNames = names;
    this.signatures = signatures;
  }

  write(): void {
    const { program: p, out } = this;
    const shared = sharedLaunches(p);
    if (shared.length > 0) this.writeTasks(new Set(shared.map((s) => s.kernel)));
    this.writeMain();
    writeSizes(this.c, this.level, p, out);
  }

  /** For each kernel that threads may share: a call of it with its arguments in an array. */
  private writeTasks(kernels: ReadonlySet<Kernel>): void {
    for (const k of kernels) {
      const kernel = this.kernelNames.get(k) as string;
      if (this.tasks.has(kernel)) continue;
      const task = this.c.names.fresh(`task_${kernel}`);
      this.tasks.set(kernel, task);
      this.writeTask(task, kernel, usedOf(this.signature(k)));
    }
  }

  private writeTask(task: string, kernel: string, kinds: readonly (keyof typeof field)[]): void {
    const { out } = this;
    const fields = kinds.map((p, i) => `args[${i}].${field[p]}`);
    out.block(`static void ${task}(const union tw_arg *args, int32_t begin, int32_t end)`, () => {
      if (fields.length === 0) out.line("(void)args;");
      out.line(`${kernel}(${[...fields, "begin", "end"].join(", ")});`);
    });
    out.line("");
  }

  /** Which arguments of the function are memory of each thread's own. */
  private ownScratch(s: Launch): number[] {
    const { params } = this.signature(s.kernel);
    return s.scratch.filter((x) => params[x.arg] !== "unused").map((x) => usedOf({ params: params.slice(0, x.arg) }).length);
  }

  private signature(k: Kernel): KernelSignature {
    const s = this.signatures.get(k);
    if (s === undefined) throw new InternalError("c", `kernel '${k.name}' is not part of the program`);
    return s;
  }

  private writeMain(): void {
    const { program: p, out, level } = this;
    const w = this.writer(p.main, [p.arena, p.weights]);
    w.launch = (s) => this.launch(w, s);
    w.report = p.report;
    out.block(`static void ${levelFunction("run", level)}(struct ${this.c.name} *m, const int32_t *symbols)`, () => {
      this.givenMemory(w, p.arena, "tw_byte *", "m->arena");
      this.givenMemory(w, p.weights, "const tw_byte *", "m->weights");
      givenSymbols(w, p, out);
      if (p.room !== null) {
        const room = w.given(p.room);
        if (w.facts.live.has(p.room)) out.line(`const int64_t ${room} = (int64_t)(m->room / 64);`);
      }
      if (p.main.length === 0) out.line("(void)m;");
      w.block(p.main);
    });
    out.line("");
  }
  /** A writer for code of main's kind, with names that no function of the file has. */
  private writer(body: readonly Stmt[], roots: readonly Variable[]): FunctionWriter {
    const names = this.c.names.child();
    for (const n of ["m", "symbols", "data", "port", "args", "scratch", "offsets"]) names.fresh(n);
    return new FunctionWriter(this.out, this.level, this.c.prelude, body, roots, { wide: true, names });
  }

  private givenMemory(w: FunctionWriter, v: Variable, type: string, value: string): void {
    const name = w.given(v);
    if (w.facts.live.has(v)) this.out.line(`${type}${name} = ${value};`);
  }

  private launch(w: FunctionWriter, s: Launch): void {
    const { out, program: p } = this;
    const origin = s.origin.join(", ");
    if (this.isFirst && origin !== "" && origin !== this.origin) writeComment(out, [origin]);
    this.origin = origin;
    const kinds = this.signature(s.kernel).params;
    const args = s.args.flatMap((a, i) => (kinds[i] === "unused" ? [] : [this.argument(w, a)]));
    const count = this.int32(w, s.count);
    const kernel = this.kernelNames.get(s.kernel) as string;
    if (isShared(p, s)) this.share(w, s, args, count);
    else out.line(`${kernel}(${[...args, "0", count].join(", ")});`);
    out.line(`tw_launched(m, ${this.launched++});`);
  }

  private int32(w: FunctionWriter, e: Expr): string {
    if (e.constant !== null) return w.text(e);
    return castTo("int32_t", w.expressions.expr(e, "wide")).text;
  }
  private bytes(w: FunctionWriter, e: Expr): string {
    return e.constant !== null ? w.text(e) : `(size_t)(${w.text(e)})`;
  }
  private argument(w: FunctionWriter, e: Expr): string {
    return w.facts.isAddress(e) ? w.text(e) : this.int32(w, e);
  }

  /** A launch that threads share where there are several, and enough to do. */
  private share(w: FunctionWriter, s: Launch, args: readonly string[], count: string): void {
    const { sc } = this.c;
    const { params } = this.signature(s.kernel);
    const kinds = usedOf({ params });
    const layout = scratchLayout(sc, s).places;
    const places = s.scratch.flatMap((x, i) => (params[x.arg] === "unused" ? [] : [this.bytes(w, sizeExpression(sc, layout[i] as Expr))]));
    const own = this.ownScratch(s);
    const values = args.map((a, i) => `{.${field[kinds[i] ?? "size"]} = ${a}}`);
    const parts = [
      "m",
      this.tasks.get(this.kernelNames.get(s.kernel) as string) as string,
      `(const union tw_arg[]){${values.length === 0 ? "{.i = 0}" : values.join(", ")}}`,
      String(values.length),
      ...(own.length === 0
        ? ["NULL", "0", "NULL"]
        : [`(const int[]){${own.join(", ")}}`, String(own.length), `(const size_t[]){${places.join(", ")}}`]),
      count,
      this.int32(w, s.grain),
      s.row === undefined ? "0" : this.int32(w, sizeExpression(sc, s.row)),
      String(known(s.count) === null ? (s.threadsFrom ?? 0) : 0),
    ];
    this.out.line(`tw_launch(${parts.join(", ")});`);
  }
}

/** Fields of an argument in an array. */
const field = { address: "c", written: "p", size: "i" } as const;
/** The parameters that the function has. */
function usedOf(s: KernelSignature): (keyof typeof field)[] {
  return s.params.filter((p) => p !== "unused");
}

/** Declares the symbols that are used; `data`: also the sizes that main computes, which the function is given. */
function givenSymbols(w: FunctionWriter, p: Program, out: Printer, data = false): void {
  const given = (variables: readonly Variable[], from: string): void => {
    variables.forEach((v, i) => {
      const name = w.given(v);
      if (w.facts.live.has(v)) out.line(`const int64_t ${name} = ${from}[${i}];`);
    });
    if (!variables.some((v) => w.facts.live.has(v))) out.line(`(void)${from};`);
  };
  given(p.symbolVariables, "symbols");
  if (data)
    given(
      p.dataSymbols.map((d) => d.variable),
      "data",
    );
}

/** Parameters of functions of what a run leaves: the symbols, and where there are some the sizes that main computed. */
export function sizeParams(p: Program): string {
  return p.dataSymbols.length === 0 ? "const int32_t *symbols" : "const int32_t *symbols, const int32_t *data";
}

/** Functions of the symbols: places of inputs and outputs, sizes of the arena and of a thread's scratch memory. */
function writeSizes(c: LevelContext, level: Level, p: Program, out: Printer): void {
  const { sc } = c;
  const fromArena = (e: Expr): Expr => sc.substituteAll([e], new Map([[p.arena, sc.int(0)]]), new Map())[0] as Expr;
  const places = [...p.inputs, ...p.outputs].map((x) => fromArena(x.address));
  const hasData = p.dataSymbols.length > 0;
  writeSwitch(c, p, out, `static int64_t ${levelFunction("place", level)}(${sizeParams(p)}, int port)`, "port", places, hasData);
  if (p.report !== null) writeSize(c, p, out, `static int64_t ${levelFunction("report", level)}(const int32_t *symbols)`, fromArena(p.report));
  writeSize(c, p, out, `static int64_t ${levelFunction("arena_bytes", level)}(const int32_t *symbols)`, p.arenaBytes);
  if (c.threads) {
    out.line("#ifndef TW_FREESTANDING");
    writeSize(c, p, out, `static int64_t ${levelFunction("thread_bytes", level)}(const int32_t *symbols)`, threadBytes(sc, p));
    out.line("#endif");
  }
}

/** A writer of sizes, whose symbols have been declared. */
function sizeWriter(c: LevelContext, p: Program, out: Printer, values: readonly Expr[], data = false): FunctionWriter {
  const names = c.names.child();
  for (const n of ["symbols", "data", "port", "dim"]) names.fresh(n);
  const used = values.map((value): Stmt => ({ kind: "if", condition: value, then: [], otherwise: [] }));
  const w = new FunctionWriter(out, levels[levels.length - 1] as Level, c.prelude, used, [], { wide: true, names });
  givenSymbols(w, p, out, data);
  return w;
}

function writeSize(c: LevelContext, p: Program, out: Printer, head: string, size: Expr): void {
  const value = sizeExpression(c.sc, size);
  out.block(head, () => {
    const w = sizeWriter(c, p, out, [value]);
    out.line(`return ${w.text(value)};`);
  });
  out.line("");
}

/** A function that gives one of several sizes, -1 for another number; `data`: it is given the sizes that main computes. */
export function writeSwitch(c: LevelContext, p: Program, out: Printer, head: string, which: string, sizes: readonly Expr[], data = false): void {
  const expression = hostExpressions(c.sc, p);
  const values = sizes.map(expression);
  out.block(head, () => {
    const w = sizeWriter(c, p, out, values, data);
    out.block(`switch (${which})`, () => {
      values.forEach((v, i) => out.line(`case ${i}: return ${w.text(v)};`));
      out.line("default: return -1;");
    });
  });
  out.line("");
}

/** Is some buffer of these symbols too large? In double, which does not overflow. */
export function writeSizeCheck(c: LevelContext, programs: readonly Program[], out: Printer, head: string): void {
  const tests = new Set<string>();
  for (const p of programs) {
    const order = new Map(p.symbolVariables.map((v, i) => [v, i]));
    for (const b of p.placements ?? [])
      if (known(b.bytes) === null) tests.add(`${doubleText(sizeExpression(c.sc, b.bytes), order)} < ${mostBytes}.0`);
  }
  out.block(head, () => {
    if (tests.size === 0) out.line("(void)symbols;");
    for (const t of tests) out.line(`if (!(${t})) return 0;`);
    out.line("return 1;");
  });
  out.line("");
}

/** A size in floating point; every operator in parentheses. */
function doubleText(e: Expr, symbols: ReadonlyMap<Variable, number>): string {
  const [a = "", b = ""] = e.args.map((x) => doubleText(x, symbols));
  switch (e.op) {
    case "const":
      return `${Number(e.constant)}.0`;
    case "var":
      return `(double)symbols[${symbols.get(e.attr as Variable)}]`;
    case "add":
      return `(${a} + ${b})`;
    case "sub":
      return `(${a} - ${b})`;
    case "mul":
      return `(${a} * ${b})`;
    case "div":
      return `floor(${a} / ${b})`;
    case "rem":
      return `(${a} - floor(${a} / ${b}) * ${b})`;
    case "max":
      return `(${a} > ${b} ? ${a} : ${b})`;
    case "min":
      return `(${a} < ${b} ? ${a} : ${b})`;
    default:
      throw new InternalError("c", `a size has the op '${e.op}'`);
  }
}
