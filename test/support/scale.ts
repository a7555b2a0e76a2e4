import { beforeAll, describe, expect, test } from "vitest";
import { type GraphKind, inputOf } from "../../bench/graphs.ts";
import { f32 } from "../../src/base/dtype.ts";
import { compileGraph } from "../../src/compile.ts";
import { hostFrom } from "../../src/graph/host.ts";
import { interpretGraph } from "../../src/graph/interpret.ts";
import type { GraphFunction } from "../../src/graph/ir.ts";
import { artifactOf, startArtifact } from "../../src/load.ts";

function cpu(): number {
  const u = process.cpuUsage();
  return (u.user + u.system) / 1000;
}

/** Without verifiers, which a user does not run; they have no part in how time grows. */
function compileTimed(f: GraphFunction) {
  const start = cpu();
  const compiled = compileGraph(f, { verify: false });
  const artifact = artifactOf(compiled, { name: f.name, sourceHash: "", inputNames: ["x"], outputNames: ["y"] }, [{ relaxed: false }]);
  return { artifact, perNode: (cpu() - start) / f.ops.length };
}

const [small, large] = [1000, 40_000];
/** How much more time a node of the large graph may take. */
const growth = 1.5;

/** Tests that graphs of these kinds compile, run right, and that compile time per node hardly grows with the number of nodes. */
export function testScale(kinds: readonly GraphKind[]): void {
  describe(`graphs of ${small} to ${large} nodes`, () => {
    beforeAll(() => {
      // The engine optimises the compiler itself on these.
      for (const k of kinds) compileTimed(k.build(300));
    });

    test.each(kinds.map((k) => [k.name, k] as const))("%s: runs right", async (_, kind) => {
      const f = kind.build(small);
      const input = inputOf(f);
      const model = await startArtifact(compileTimed(f).artifact);
      const { y } = await model.run({ x: input });
      model.dispose();
      const dims = f.params[0]?.dims.map(Number) ?? [];
      const [want] = interpretGraph(f, [hostFrom(f32, dims, (i) => input[i] ?? 0)]);
      for (const column of [0, 5, 15]) {
        expect(y?.data[column]).toBeCloseTo(Number(want?.data[column]), 3);
        if (kind.expected !== undefined) expect(y?.data[column]).toBeCloseTo(kind.expected(small, column), 3);
      }
    });

    test.each(kinds.map((k) => [k.name, k] as const))(
      `%s: time per node of ${large} is at most ${growth} times that of ${small}`,
      { timeout: 300_000 },
      (_, kind) => {
        const least = () => Math.min(...[0, 1, 2].map(() => compileTimed(kind.build(small)).perNode));
        // Others use this machine too, so one bad measurement is no proof.
        const ratios: number[] = [];
        do ratios.push(compileTimed(kind.build(large)).perNode / least());
        while (Math.min(...ratios) > growth && ratios.length < 2);
        expect(Math.min(...ratios), `CPU time per node of ${large} by that of ${small}: ${ratios}`).toBeLessThanOrEqual(growth);
      },
    );
  });
}
