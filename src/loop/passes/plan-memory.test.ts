import { describe, expect, test } from "vitest";
import { runInInterpreter } from "../../../test/support/run.ts";
import { Reader } from "../../base/text.ts";
import { i32 } from "../../base/dtype.ts";
import { type HostTensor, hostFrom } from "../../graph/host.ts";
import { importSource } from "../../importer.ts";
import { compileSource } from "../../load.ts";
import { simplifyBook } from "../../scalar/rules/simplify.ts";
import { Scalars } from "../../scalar/scalars.ts";
import { seededRandom } from "../../schedule/random.ts";
import type { Program } from "../ir.ts";
import { parseProgram } from "../parse.ts";
import { verifyProgram } from "../verify.ts";
import { planMemory } from "./plan-memory.ts";

const kernels = `
  kernel @first(param %a: i32, out param %y: i32) over [begin, end) {
    for i in [begin, end) {
      %y[i] = %a[i] * 3 + i
    }
  }
  kernel @add(param %a: i32, param %b: i32, out param %y: i32) over [begin, end) {
    for i in [begin, end) {
      %y[i] = %a[i] * 5 + %b[i]
    }
  }`;

function plan(text: string): Program {
  const sc = new Scalars(simplifyBook);
  const p = parseProgram(new Reader(text, "plan.tw"), sc);
  verifyProgram(p);
  const planned = planMemory(sc, p);
  verifyProgram(planned, { forbidden: ["allocation"] });
  return planned;
}

describe("lives in branches and loops", () => {
  /** The places of allocations of 64 bytes each, as numbers of them. */
  const places = (names: string, main: string, output = "y"): Record<string, number> => {
    const allocs = names.split(" ").map((n) => `  alloc %${n} as ${n} bytes 64\n`);
    const p = plan(`program @p {
  memory weights, arena bytes 0
${allocs.join("")}  input %x: i32[16] at x
  output %y: i32[16] at ${output}${kernels}
  main {
    uses param %c: i32
${main}
  }
}`);
    expect(p.arenaBytes.constant).not.toBeNull();
    return Object.fromEntries((p.placements ?? []).map((b) => [b.name, Number(b.offset.constant) / 64]));
  };
  const launch = (from: string, to: string): string => `launch @first(${from}, ${to}) over [0, 16) grain 16\n`;

  test("what a kernel is given is not below the arena's start, if it counts from before a tensor", () => {
    expect(places("x y", launch("x + -250", "y"))).toEqual({ x: 4, y: 5 });
    expect(places("x a y", `if %c{x, 0} > 0 { ${launch("x", "y")} } else { ${launch("x", "a")} ${launch("a + -60", "y")} }`)).toMatchObject({
      x: 0,
    });
  });
  test("what one branch uses, the other may use too", () => {
    const p = places(
      "x a b y",
      `if %c{x, 0} > 0 {
        ${launch("x", "a")} ${launch("a", "y")}
      } else {
        ${launch("x", "b")} ${launch("b", "y")}
      }`,
    );
    expect(p.a).toBe(p.b);
    expect(new Set([p.x, p.a, p.y]).size).toBe(3);
  });
  test("in a branch statements follow one another", () => {
    const p = places("x a b y", `if %c{x, 0} > 0 { ${launch("x", "a")} ${launch("a", "b")} ${launch("b", "y")} } else { ${launch("x", "y")} }`);
    expect(p.y).toBe(p.a);
  });
  const loop = (body: string): string => `let t: i32 = 0
    while t < 3 {
      ${body}
      t = t + 1
    }
    `;
  test("what a turn writes and then reads is its own", () => {
    const p = places("x a b c y", `${loop(`${launch("x", "a")} ${launch("a", "b")} ${launch("b", "c")} ${launch("c", "b")}`)} ${launch("x", "y")}`);
    expect(p.c).toBe(p.a);
  });
  test("what comes from outside lives through the loop", () => {
    const p = places("x a b c y", `${launch("x", "a")} ${loop(`${launch("a", "b")} ${launch("b", "c")}`)} ${launch("x", "y")}`);
    expect(new Set([p.a, p.b, p.c]).size).toBe(3);
  });
  test("so does what a later turn reads before it writes", () => {
    const p = places("x a b c y", `${loop(`${launch("a", "b")} ${launch("b", "c")} ${launch("c", "a")}`)} ${launch("x", "y")}`);
    expect(p.a).not.toBe(p.b);
    expect(p.a).not.toBe(p.c);
  });
  test("and what is read after the loop", () => {
    const p = places("x a b c y", `${loop(`${launch("x", "b")} ${launch("b", "c")} ${launch("c", "a")}`)} ${launch("a", "y")}`);
    expect(p.a).not.toBe(p.b);
  });
  test("and what its condition reads", () => {
    const p = places("x a b y", `${launch("x", "a")} while %c{a, 0} > 0 { ${launch("x", "b")} ${launch("x", "a")} } ${launch("x", "y")}`);
    expect(p.a).not.toBe(p.b);
  });
  test("an inner loop is part of the outer one's turn", () => {
    const inner = `for i in [0, 2) { ${launch("a", "b")} ${launch("b", "c")} }`;
    const p = places("x a b c d y", `${loop(`${launch("x", "a")} ${inner} ${launch("x", "d")} ${launch("d", "y")}`)}`);
    expect(new Set([p.a, p.b, p.c]).size).toBe(3);
    expect([p.a, p.b, p.c]).toContain(p.d);
  });
});

/** A main at random, of branches and loops, with every buffer written before it is read; what it computes ends in `y`. */
class RandomMain {
  private readonly random: () => number;
  readonly buffers = ["x", "y"];
  private variables = 0;
  constructor(seed: number) {
    this.random = seededRandom(seed);
  }
  private below(n: number): number {
    return Math.floor(n * this.random());
  }
  private one(list: readonly string[]): string {
    return list[this.below(list.length)] as string;
  }
  private fresh(): string {
    this.buffers.push(`b${this.buffers.length}`);
    return this.buffers[this.buffers.length - 1] as string;
  }
  private add(known: readonly string[], to: string): string {
    const [a, b] = [this.one(known), this.one(known)];
    return `launch @add(${a}, ${b}, ${to}) over [0, k) grain 2 inplace (${to}, ${a === b ? a : this.one([a, b])})`;
  }

  /** Statements after which one more buffer is known. */
  private step(known: string[], depth: number): string[] {
    const kind = depth >= 3 ? 0 : this.below(5);
    const made = this.fresh();
    if (kind < 3) {
      const line = this.add(known, made);
      known.push(made);
      return [line];
    }
    const inner = () => {
      const own = [...known];
      const lines = this.steps(own, depth + 1, 1 + this.below(4));
      return { own, lines };
    };
    if (kind === 3) {
      const [then, otherwise] = [inner(), inner()];
      const lines = [
        `if %v{${this.one(known)}, 0} > 7 {`,
        ...then.lines,
        this.add(then.own, made),
        "} else {",
        ...otherwise.lines,
        this.add(otherwise.own, made),
        "}",
      ];
      known.push(made);
      return lines;
    }
    // A state, which the turns read and write, and what the last turn left besides.
    const [turn, left] = [`t${this.variables++}`, this.fresh()];
    const start = this.add(known, made);
    const first = this.add(known, left);
    const own = [...known, made];
    const body = this.steps(own, depth + 1, 1 + this.below(4));
    const end = [this.add(own, left), this.add([...own, made], made)];
    known.push(made, left);
    const head = `while ${turn} < ${1 + this.below(3)} {`;
    return [start, first, `let ${turn}: i32 = 0`, head, ...body, ...end, `${turn} = ${turn} + 1`, "}"];
  }
  private steps(known: string[], depth: number, n: number): string[] {
    return Array.from({ length: n }, () => this.step(known, depth)).flat();
  }
  text(): string {
    const known = ["x"];
    return [...this.steps(known, 0, 6), this.add(known.slice(-3), "y")].join("\n");
  }
  /** Declarations: each buffer at a place of its own, or left to planning, some with sizes that main computes. */
  program(main: string, planned: boolean): string {
    const declared = this.buffers.map((b, i) => {
      const dynamic = b !== "x" && i % 3 === 1;
      return planned ? `alloc %${b} as ${b} bytes ${dynamic ? "k * 4 dynamic" : "12"}` : "";
    });
    const places = planned ? [] : this.buffers.map((b, i) => `let ${b}: i32 min 0 = arena + ${64 * i + 128}`);
    const at = (b: string): string => (planned ? b : `arena + ${64 * this.buffers.indexOf(b) + 128}`);
    return `program @random {
  symbol k in [0, inf] data
  memory weights, arena bytes ${planned ? 0 : 64 * this.buffers.length + 128}
  ${planned ? "room room\n  alloc %report as report bytes 12\n  alloc %n as n bytes 4\n" : ""}${declared.filter((d) => d !== "").join("\n  ")}
  report ${planned ? "report" : "arena"}
  input %x: i32[3] at ${at("x")}
  input %n: i32[1] at ${planned ? "n" : "arena + 64"}
  output %y: i32[k] at ${at("y")}${kernels}
  main {
    uses param %r: i32
    uses param %v: i32
    %r{${planned ? "report" : "arena"}, 0} = 0
    let k: i32 = %v{${planned ? "n" : "arena + 64"}, 0}
    %r{${planned ? "report" : "arena"}, 8} = k
    ${places.join("\n    ")}
${main}
  }
}
`;
  }
}

describe("programs at random compute the same as with every buffer at a place of its own", () => {
  const tensor = (...values: readonly number[]): HostTensor => hostFrom(i32, [values.length], (i) => values[i] as number);
  const run = async (text: string): Promise<readonly (readonly number[])[]> => {
    const c = compileSource(importSource(new TextEncoder().encode(text), { name: "random" }));
    const outputs = await runInInterpreter(c, [tensor(2, -3, 11), tensor(3)]);
    return outputs.map((o) => [...o.data].map(Number));
  };
  test.each(Array.from({ length: 40 }, (_, i) => i + 1))("seed %i", async (seed) => {
    const random = new RandomMain(seed);
    const main = random.text();
    expect(await run(random.program(main, true))).toEqual(await run(random.program(main, false).replace(/ inplace( \([^)]*\))+/g, "")));
  });
});
