import { expect, test } from "vitest";
import { type CProgram, cMachine, cOutputs, warningFlags, withCompiler } from "../../../test/support/c.ts";
import {
  type ScalarCase,
  choicesFor,
  constantsOf,
  core,
  evaluate,
  expectedOf,
  machineTypes,
  operandTypes,
  operands,
  resultType,
  text,
} from "../../../test/support/scalar-cases.ts";
import { valuesOf } from "../../../test/support/values.ts";
import { arrayOf, f32, u8 } from "../../base/dtype.ts";
import type { Num } from "../../base/numeric.ts";
import { Buffer, type For, type Kernel, type Launch, type Program, type Stmt } from "../../loop/ir.ts";
import { kernelPasses } from "../../loop/passes/pipeline.ts";
import { hostToBytes } from "../../graph/host.ts";
import type { Expr } from "../../scalar/expr.ts";
import { simplifyBook } from "../../scalar/rules/simplify.ts";
import { Scalars } from "../../scalar/scalars.ts";
import type { LevelName } from "./levels.ts";

/** Every core op on every dtype, and against constants. Float remainders are made of other ops. */
function opCases(): ScalarCase[] {
  return core.flatMap((name) =>
    machineTypes.flatMap((d): ScalarCase[] => {
      const types = operandTypes(name, d);
      if (types === null || (name === "rem" && d.isFloat)) return [];
      const out = resultType(name, types);
      // Of zeros of both signs either is the smaller.
      const either = (w: readonly Num[]): readonly Num[] => ((name === "min" || name === "max") && w[0] === 0 ? [0, -0] : w);
      const expected = (values: readonly Num[]) => either(expectedOf(name, values, types, out));
      const whole = { name: `${name}.${d}`, types, out, columns: operands(...choicesFor(types)), make: makerOf(name), expected };
      if (types.length !== 2) return [whole];
      const [first, second] = choicesFor(types) as [readonly Num[], readonly Num[]];
      const constants = constantsOf(second).map(
        (constant): ScalarCase => ({
          name: `${name}.${d}(., ${text(constant)})`,
          types: types.slice(0, 1),
          out,
          columns: operands(first),
          make: (sc, x) => sc.op(name, [x as Expr, sc.const(constant, d)]),
          expected: ([v]) => either([evaluate(name, [v as Num, constant], types, out)]),
        }),
      );
      return [whole, ...constants];
    }),
  );
}
const makerOf =
  (name: (typeof core)[number]): ScalarCase["make"] =>
  (sc, ...args) =>
    sc.op(name, args);

function conversionCases(): ScalarCase[] {
  return machineTypes.flatMap((from) =>
    machineTypes.flatMap((to): ScalarCase[] => {
      const common = { types: [from], out: to, columns: operands(valuesOf(from)) };
      const cast: ScalarCase = {
        ...common,
        name: `cast.${to}.${from}`,
        make: (sc, x) => sc.cast(to, x as Expr),
        expected: ([v]) => [evaluate("cast", [v as Num], [from], to)],
      };
      if (from.bits !== to.bits || from.kind === "bool" || to.kind === "bool") return [cast];
      const bitcast: ScalarCase = {
        ...common,
        name: `bitcast.${to}.${from}`,
        make: (sc, x) => sc.bitcast(to, x as Expr),
        expected: ([v]) => [evaluate("bitcast", [v as Num], [from], to)],
      };
      return [cast, bitcast];
    }),
  );
}

/** Truth values that stay in vectors. */
function logicCases(): ScalarCase[] {
  return machineTypes
    .filter((d) => d.bits === 32)
    .flatMap((d): ScalarCase[] => {
      const columns = operands(valuesOf(d), valuesOf(d));
      const truths = (a: Num | undefined, b: Num | undefined): [boolean, boolean] => [(a as Num) < (b as Num), (a as Num) >= 1];
      return [
        {
          name: `logic.${d}`,
          types: [d, d],
          out: f32,
          columns,
          make: (sc, a, b) => {
            const [x, y] = [sc.op("lt", [a as Expr, b as Expr]), sc.op("ge", [a as Expr, sc.const(1, d)])];
            const both = sc.op("or", [sc.op("xor", [x, y]), sc.op("not", [sc.and(x, y)])]);
            return sc.cast(f32, sc.op("eq", [both, sc.min(x, y)]));
          },
          expected: ([a, b]) => {
            const [x, y] = truths(a, b);
            return [(x !== y || !(x && y)) === (x && y) ? 1 : 0];
          },
        },
        {
          name: `select.${d}`,
          types: [d, d],
          out: d,
          columns,
          make: (sc, a, b) => {
            const [x, y] = [sc.op("lt", [a as Expr, b as Expr]), sc.op("ge", [a as Expr, sc.const(1, d)])];
            return sc.select(sc.op("ne", [x, sc.max(x, y)]), sc.op("neg", [a as Expr]), b as Expr);
          },
          expected: ([a, b]) => {
            const [x, y] = truths(a, b);
            return [x !== (x || y) ? evaluate("neg", [a as Num], [d], d) : (b as Num)];
          },
        },
      ];
    });
}

/** Columns as long as whole vectors of every level. */
function padded(c: ScalarCase): ScalarCase {
  const n = c.columns[0]?.length ?? 0;
  const rows = Math.ceil(n / 16) * 16;
  return { ...c, columns: c.columns.map((x) => Array.from({ length: rows }, (_, i) => x[i % n] as Num)) };
}

const aligned = (n: number): number => Math.ceil(n / 64) * 64;

/** All cases as one program of a kernel for each: from one input of bytes to one output of bytes. */
class Bundle {
  private readonly sc = new Scalars(simplifyBook);
  private readonly cases: readonly ScalarCase[];
  private readonly inputAt: number[][] = [];
  private readonly outputAt: number[] = [];
  private inputBytes = 0;
  private outputBytes = 0;

  constructor(cases: readonly ScalarCase[]) {
    this.cases = cases;
    for (const c of cases) {
      const rows = c.columns[0]?.length ?? 0;
      this.inputAt.push(
        c.types.map((t) => {
          const at = this.inputBytes;
          this.inputBytes += aligned(t.bytes(rows));
          return at;
        }),
      );
      this.outputAt.push(this.outputBytes);
      this.outputBytes += aligned(c.out.bytes(rows));
    }
  }

  program(level: LevelName, lanes: number): Program {
    const { sc } = this;
    const [arena, weights] = [sc.variable("arena", undefined, { min: 0 }), sc.variable("weights", undefined, { min: 0 })];
    const at = (offset: number): Expr => sc.add(sc.var(arena), sc.int(offset));
    const main = this.cases.map((c, i): Launch => {
      const kernel = kernelPasses.reduce((k, p) => p.run(sc, k, cMachine(level)), this.kernel(c, lanes));
      const args = [...(this.inputAt[i] as number[]), this.inputBytes + (this.outputAt[i] as number)].map(at);
      const count = sc.int((c.columns[0]?.length ?? 0) / lanes);
      return { kind: "launch", kernel, args, count, grain: sc.int(64), threadsFrom: null, scratch: [], origin: [c.name], inPlace: [] };
    });
    return {
      name: "scalars",
      symbols: [],
      symbolVariables: [],
      kernels: main.map((l) => l.kernel),
      arena,
      weights,
      main,
      allocations: [],
      arenaBytes: sc.int(this.inputBytes + this.outputBytes),
      weightSlots: [],
      dataSymbols: [],
      report: null,
      faults: [],
      room: null,
      inputs: [{ name: "in", dtype: u8, dims: [this.inputBytes], address: at(0) }],
      outputs: [{ name: "out", dtype: u8, dims: [this.outputBytes], address: at(this.inputBytes) }],
    };
  }

  private kernel(c: ScalarCase, lanes: number): Kernel {
    const { sc } = this;
    const buffers = c.types.map((t, i) => new Buffer(sc.freshId(), `in${i}`, t, "param", null));
    const out = new Buffer(sc.freshId(), "out", c.out, "param", null);
    const [begin, end, i] = ["begin", "end", "i"].map((n) => sc.variable(n, undefined, { min: 0 })) as [never, never, never];
    const lane = sc.variable("lane", undefined, { extent: sc.int(lanes) });
    const index = lanes === 1 ? sc.var(i) : sc.add(sc.mul(sc.var(i), sc.int(lanes)), sc.var(lane));
    const store: Stmt = { kind: "store", buffer: out, index, value: c.make(sc, ...buffers.map((b) => sc.load(b, [index]))) };
    const vector: For = { kind: "for", variable: lane, begin: sc.int(0), end: sc.int(lanes), loop: "vector", body: [store] };
    const body: For = { kind: "for", variable: i, begin: sc.var(begin), end: sc.var(end), loop: "serial", body: [lanes === 1 ? store : vector] };
    return { name: c.name, params: [...buffers, out], begin, end, body: [body], writes: new Set([out]) };
  }

  run(levels: readonly (readonly [LevelName, number])[]): CProgram {
    const programs = levels.map(([level, lanes]) => ({ machine: cMachine(level), program: this.program(level, lanes) }));
    const bytes = new Uint8Array(this.inputBytes);
    this.cases.forEach((c, i) => {
      c.types.forEach((t, k) => {
        const data = new (arrayOf(t))((c.columns[k] as Num[]).length) as unknown as { [row: number]: Num; readonly buffer: ArrayBuffer };
        (c.columns[k] as Num[]).forEach((v, row) => {
          data[row] = v;
        });
        bytes.set(new Uint8Array(data.buffer), (this.inputAt[i] as number[])[k] as number);
      });
    });
    const compiled = { sc: this.sc, program: programs[0]?.program as Program, levels: programs, weights: [], prepare: [], schedules: new Map() };
    return { what: "scalar ops", compiled, inputs: [{ dtype: u8, dims: [bytes.length], data: bytes as never }] };
  }

  /** The first wrong row of each case. */
  faults(got: Uint8Array): string[] {
    return this.cases.flatMap((c, i) => {
      const rows = c.columns[0]?.length ?? 0;
      const at = this.outputAt[i] as number;
      const values = new (arrayOf(c.out))(got.slice(at, at + c.out.bytes(rows)).buffer, 0, rows);
      for (let row = 0; row < rows; row++) {
        const operandsOf = c.columns.map((x) => x[row] as Num);
        const wanted = c.expected(operandsOf);
        const v = values[row] as Num;
        if (!wanted.some((w) => Object.is(w, v)) && !isFused(c, operandsOf, v))
          return [`${c.name}(${operandsOf.map(text)}) gave ${text(v)}, expected ${wanted.map(text)}`];
      }
      return [];
    });
  }
}

/** A multiply-add of f64 with one rounding is within one of the terms' last places of that with two. */
function isFused(c: ScalarCase, values: readonly Num[], got: Num): boolean {
  if (c.name !== "fma.f64") return false;
  const [x, y, z] = values.map(Number) as [number, number, number];
  const [want, most] = [x * y + z, Math.max(Math.abs(x * y), Math.abs(z))];
  return Math.abs(Number(got) - want) <= most * 2 ** -52 || (Math.abs(want) === Number.POSITIVE_INFINITY && Math.abs(Number(got)) > 1e308);
}

const allCases = (): ScalarCase[] => [...opCases(), ...conversionCases(), ...logicCases()].map(padded);

/** Has the case a form in vectors? Their elements have 32 bits, or are truth values. */
const hasVectors = (c: ScalarCase): boolean => [...c.types, c.out].every((d) => d.bits === 32 || d.kind === "bool");

withCompiler("gcc", () => {
  test("every core op on every dtype, in scalars and in vectors of every width", async () => {
    const all = allCases();
    const scalars = new Bundle(all);
    const vectors = new Bundle(all.filter(hasVectors));
    const programs = [
      { bundle: scalars, run: scalars.run([["portable", 1]]) },
      { bundle: vectors, run: vectors.run([["avx512", 16]]) },
      { bundle: vectors, run: vectors.run([["avx2", 8]]) },
      { bundle: vectors, run: vectors.run([["sse42", 4]]) },
      // Vectors narrower than the level's.
      { bundle: vectors, run: vectors.run([["avx512", 8]]) },
      { bundle: vectors, run: vectors.run([["avx512", 4]]) },
      { bundle: vectors, run: vectors.run([["avx2", 4]]) },
    ];
    const outputs = await cOutputs(
      programs.map((p) => p.run),
      "gcc",
      ["-O1", ...warningFlags],
    );
    const faults = outputs.flatMap((o) => programs[o.index]?.bundle.faults(hostToBytes(o.got)).map((f) => `${o.level} of program ${o.index}: ${f}`));
    expect(faults).toEqual([]);
    expect(outputs.some((o) => o.level === "portable")).toBe(true);
  }, 300_000);
});
