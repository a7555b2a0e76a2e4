import { describe, expect, test } from "vitest";
import { f16, i16, u32 } from "../../base/dtype.ts";
import { GraphBuilder } from "../builder.ts";
import { hostFrom } from "../host.ts";
import { interpretGraph } from "../interpret.ts";

describe("random_bits", () => {
  test.each([
    // The vectors that are published with the generator's Random123 library, for the counter (0, 0).
    { key: [0, 0], words: [0x6b200159, 0x99ba4efe] },
  ])("gives the published words under the key $key", ({ key, words }) => {
    const g = new GraphBuilder();
    const results = [0, 1].map((word) => g.one("random_bits", [], { dims: [1], key, word }));
    const out = interpretGraph(g.finish("f", [], results), []);
    expect(out.map((t) => t.data[0])).toEqual(words);
    expect(out[0]?.dtype).toBe(u32);
  });

  test("its words look random: bits are balanced, elements, words and keys differ", () => {
    const g = new GraphBuilder();
    const n = 4096;
    const results = [0, 1].flatMap((word) => [1, 2].map((k) => g.one("random_bits", [], { dims: [n], key: [k, 0], word })));
    const out = interpretGraph(g.finish("f", [], results), []);
    for (const t of out) {
      for (let bit = 0; bit < 32; bit++) {
        const ones = Array.from(t.data, Number).reduce((sum, v) => sum + ((v >>> bit) & 1), 0);
        // Six deviations of a binomial distribution.
        expect(Math.abs(ones - n / 2)).toBeLessThan(6 * Math.sqrt(n / 4));
      }
    }
    expect(new Set(out.flatMap((t) => Array.from(t.data, Number))).size).toBeGreaterThan(4 * n - 8);
  });
});

describe("bitcast", () => {
  test("keeps the bits", () => {
    const g = new GraphBuilder();
    const x = g.param("x", { dtype: f16, dims: [4] });
    const bits = g.one("bitcast", [x], { dtype: i16 });
    const back = g.one("bitcast", [bits], { dtype: f16 });
    const values = [1, -2, 0.5, 65504];
    const [a, b] = interpretGraph(g.finish("f", [], [bits, back]), [hostFrom(f16, [4], (i) => values[i] as number)]);
    expect(Array.from(a?.data ?? [], Number)).toEqual([0x3c00, 0xc000 - 0x10000, 0x3800, 0x7bff]);
    expect(Array.from(b?.data ?? [], Number)).toEqual(values);
  });
});
