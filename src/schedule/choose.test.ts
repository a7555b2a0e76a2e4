import { expect, it } from "vitest";
import { Reader } from "../base/text.ts";
import { Scalars } from "../scalar/scalars.ts";
import { simplifyBook } from "../scalar/rules/simplify.ts";
import { levelMachine } from "../targets/c/machine.ts";
import type { Kernel } from "../tensor/ir.ts";
import { parseTensor } from "../tensor/parse.ts";
import { defaultChooser } from "./choose.ts";
import { collapseAxes, linearizeKernel } from "./linearize.ts";
import type { Pack } from "./schedule.ts";

const product = (to: string, a: string, b: string): string => `
    stage @${to} [i0: 1024, i1: 1024, red r0: 1024] {
      acc acc[i0, i1]: f32 init 0.0 lift %${a}[i0, r0] * %${b}[r0, i1] combine acc + acc'
      %${to}[i0, i1] = acc
    }`;

/** The packs of a kernel of these products of matrices given at run time. */
function packsOf(...products: readonly (readonly [string, string, string])[]): readonly Pack[] {
  const sc = new Scalars(simplifyBook);
  const f = parseTensor(
    new Reader(`tensor @products {
  ${["a", "b", "c", "d"].map((n) => `input %${n}: f32[1024, 1024]`).join("\n  ")}
  ${products.map(([to]) => `temp %${to}: f32[1024, 1024]`).join("\n  ")}
  kernel @k {${products.map((p) => product(...p)).join("")}
  }
  output ${products.map(([to]) => `%${to}`).join(", ")}
}`),
    sc,
  );
  const k = collapseAxes(sc, linearizeKernel(sc, f, f.kernels[0] as Kernel));
  return defaultChooser(levelMachine("avx512"), () => false)(sc, k).schedule.packs;
}

it("packs columns and rows of every contraction of a kernel as it does those of one alone", () => {
  const tiles = (packs: readonly Pack[]) => packs.map((p) => `${p.axis}:${p.size}`);
  const alone = packsOf(["x", "a", "b"]);
  expect(alone.map((p) => p.axis).sort()).toEqual(["i0", "i1"]);
  const both = packsOf(["x", "a", "b"], ["y", "c", "d"]);
  for (const stage of [0, 1]) expect(tiles(both.filter((p) => p.stage === stage)), `stage ${stage}`).toEqual(tiles(alone));
});
