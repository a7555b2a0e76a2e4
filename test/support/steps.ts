import { Reader } from "../../src/base/text.ts";
import type { PipelineOptions } from "../../src/compile.ts";
import { parseGraph } from "../../src/graph/parse.ts";
import { printGraph } from "../../src/graph/print.ts";
import { verifyGraph } from "../../src/graph/verify.ts";
import { parseProgram } from "../../src/loop/parse.ts";
import { printProgram } from "../../src/loop/print.ts";
import { type LoopForm, verifyProgram } from "../../src/loop/verify.ts";
import { simplifyBook } from "../../src/scalar/rules/simplify.ts";
import { Scalars } from "../../src/scalar/scalars.ts";
import { parseTensor } from "../../src/tensor/parse.ts";
import { printTensor } from "../../src/tensor/print.ts";
import { verifyTensor } from "../../src/tensor/verify.ts";

/** What each pass on loop IR makes disappear, for good. */
const gone: Readonly<Record<string, readonly LoopForm[]>> = {
  "unpack-bits": ["packed buffer"],
  "unpack-floats": ["narrow float"],
  "decompose-ops": ["derived op", "floor division"],
  "vectorize-loops": ["vector loop"],
  "unroll-loops": ["unrolled loop"],
  "promote-registers": ["register buffer"],
  "lower-addresses": ["indexed access"],
  "plan-memory": ["allocation"],
};

/** Reads the functions of a text, of any level by their first keyword, verifies them, and prints them again. */
export function printAgain(text: string, forbidden: readonly LoopForm[] = []): string {
  const r = new Reader(text, "step.tw");
  let out = "";
  while (r.peek().kind !== "end") out += printNext(r, forbidden);
  return out;
}

function printNext(r: Reader, forbidden: readonly LoopForm[]): string {
  const sc = new Scalars(simplifyBook);
  if (r.is("graph")) {
    const f = parseGraph(r);
    verifyGraph(f);
    return printGraph(f);
  }
  if (r.is("tensor")) {
    const f = parseTensor(r, sc);
    verifyTensor(f);
    return printTensor(f);
  }
  const p = parseProgram(r, sc);
  verifyProgram(p, { forbidden });
  return printProgram(p);
}

/** A pipeline listener's findings: every step whose text does not read back to itself, or does not verify. */
export function stepChecker(): { readonly options: PipelineOptions; readonly faults: string[] } {
  const faults: string[] = [];
  const forbidden: LoopForm[] = [];
  return {
    faults,
    options: {
      listeners: [
        (e) => {
          forbidden.push(...(gone[e.step] ?? []));
          const text = e.text();
          if (!/^(graph|tensor|program) /.test(text) || text.includes("elided(")) return;
          try {
            const again = printAgain(text, forbidden);
            if (again !== text) faults.push(`${e.stage}/${e.step}: ${firstDifference(text, again)}`);
          } catch (error) {
            faults.push(`${e.stage}/${e.step}: ${(error as Error).message}`);
          }
        },
      ],
    },
  };
}

function firstDifference(a: string, b: string): string {
  const [x, y] = [a.split("\n"), b.split("\n")];
  const i = x.findIndex((l, k) => l !== y[k]);
  return `line ${i + 1}:\n  ${x[i]}\n  ${y[i]}`;
}
