import { expect, test } from "vitest";
import { TilewrightError } from "../src/base/errors.ts";
import { compileGraph } from "../src/compile.ts";
import { graphOps } from "../src/graph/registry.ts";
import { printGraph } from "../src/graph/print.ts";
import { type Random, randomChooser, seededRandom } from "../src/schedule/random.ts";
import { wasmMachine } from "../src/targets/wasm/machine.ts";
import { exampleCase } from "./support/executions.ts";
import { printAgain } from "./support/steps.ts";

/** Texts of all three IRs, at every step of the pipeline. */
function sampleTexts(random: Random): string[] {
  const out: string[] = [];
  for (const def of graphOps) {
    const [example] = def.examples;
    if (example === undefined) continue;
    const { graph } = exampleCase(def, example, random);
    out.push(printGraph(graph));
    compileGraph(graph, { schedule: randomChooser(wasmMachine, random), listeners: [(e) => out.push(e.text())] });
  }
  return [...new Set(out)].filter((t) => /^(graph|tensor|program) /.test(t));
}

const tokens = /\s+|%[\w.]+|@[\w.]+|\d+(?:\.\d*)?(?:e[+-]?\d+)?|\w+|"[^"]*"|./g;
const replacements = [
  "0",
  "-1",
  "1e99",
  "99999999999",
  "nan",
  "inf",
  "%x",
  "%p0",
  "i0",
  "f32",
  "i64",
  "bool",
  "u4",
  "f32x4",
  "(",
  ")",
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  "in",
  "red",
  "scan",
  "n",
  "mod",
  "cast",
  "ramp",
  "toString",
  "__proto__",
  "constructor",
  '"\\u"',
  "@k",
  "let",
  "from",
];

/** One to three tokens are dropped, doubled, exchanged or replaced. */
function mutate(text: string, random: Random): string {
  const parts = text.match(tokens) ?? [];
  const at = () => Math.floor(random() * parts.length);
  for (let n = 1 + Math.floor(random() * 3); n > 0; n--) {
    const i = at();
    const kind = random();
    if (kind < 0.25) parts.splice(i, 1);
    else if (kind < 0.4) parts.splice(i, 0, parts[i] as string);
    else if (kind < 0.7) parts[i] = parts[at()] as string;
    else parts[i] = replacements[Math.floor(random() * replacements.length)] as string;
  }
  return parts.join("");
}

test("texts with random mistakes are refused with an error of ours, or mean something", () => {
  const random = seededRandom(20);
  const texts = sampleTexts(random);
  const crashes: string[] = [];
  let refused = 0;
  for (let i = 0; i < 1500; i++) {
    const text = mutate(texts[Math.floor(random() * texts.length)] as string, random);
    try {
      const printed = printAgain(text);
      if (printAgain(printed) !== printed) crashes.push(`does not read back to itself:\n${printed}`);
    } catch (e) {
      refused++;
      if (!(e instanceof TilewrightError) || e.name === "InternalError")
        crashes.push(`${(e as Error).stack?.split("\n").slice(0, 6).join("\n")}\n${text}`);
    }
  }
  expect(crashes.slice(0, 3)).toEqual([]);
  expect(refused).toBeGreaterThan(750);
});
