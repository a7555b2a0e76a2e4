import { expect, it } from "vitest";
import { f32 } from "../base/dtype.ts";
import { compileGraph } from "../compile.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { hostFrom } from "../graph/host.ts";
import type { GraphFunction } from "../graph/ir.ts";
import { emitModule } from "../targets/wasm/module.ts";
import { wasmMachine } from "../targets/wasm/machine.ts";
import { type Chooser, applySchedule, defaultChooser } from "./choose.ts";
import { randomChooser, seededRandom } from "./random.ts";
import { parseSchedule, printSchedule } from "./schedule.ts";

/** A contraction with a constant operand, which is packed, an epilogue, and a row-wise chain. */
function sample(): GraphFunction {
  const g = new GraphBuilder();
  const x = g.param("x", { dtype: f32, dims: [13, 20] });
  const w = g.host(
    hostFrom(f32, [20, 37], (i) => Math.sin(i)),
    "w",
  );
  const y = g.one("dot", [x, w], { batchA: [], batchB: [], contractA: [1], contractB: [0] });
  return g.finish("sample", [], [g.one("softmax", [g.one("tanh", [y])], { axis: 1 })]);
}

function bytesUnder(schedule: Chooser): Uint8Array {
  const { sc, program } = compileGraph(sample(), { schedule });
  return emitModule(sc, [{ program, prefix: "" }], { relaxed: false, shared: false, weightBytes: 4096 });
}

const choosers: readonly (readonly [string, () => Chooser])[] = [
  ["the default", () => defaultChooser(wasmMachine, (t) => t.data !== null)],
  ...[1, 2, 3, 4].map((seed) => [`random ${seed}`, () => randomChooser(wasmMachine, seededRandom(seed))] as const),
];

it.each(choosers)("%s: a printed schedule, replayed, gives identical bytes", (_, make) => {
  const printed: string[] = [];
  const choose = make();
  const first = bytesUnder((sc, k) => {
    const chosen = choose(sc, k);
    printed.push(printSchedule(chosen.schedule));
    return chosen;
  });
  let next = 0;
  const again = bytesUnder((sc, k) => applySchedule(sc, wasmMachine, k, parseSchedule(printed[next++] as string)));
  expect(next).toBe(printed.length);
  expect(again).toEqual(first);
});

it("refuses what is no schedule", () => {
  for (const text of [
    "",
    "{}",
    "[1]",
    '{"stages": {"s": {"loops": [{"axis": "i", "size": 0, "kind": "serial"}], "tails": {}}}, "packs": [], "joined": false, "specialize": false}',
  ]) {
    expect(() => parseSchedule(text)).toThrow(/schedule/);
  }
});
