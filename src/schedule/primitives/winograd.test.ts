import { describe, expect, it } from "vitest";
import { f32 } from "../../base/dtype.ts";
import { compileGraph } from "../../compile.ts";
import { GraphBuilder } from "../../graph/builder.ts";
import { hostFrom } from "../../graph/host.ts";
import { wasmMachine } from "../../targets/wasm/machine.ts";
import { blockBytes, defaultChooser } from "../choose.ts";
import { parseSchedule } from "../schedule.ts";
import { errorFactor, minimalAlgorithms, minimalFilter } from "./winograd.ts";

interface Shape {
  readonly channels: number;
  readonly features: number;
  readonly taps: number;
  readonly stride: number;
  readonly groups: number;
}

/** A convolution of 16 × 16 points, channels last, without padding. */
function convolution({ channels, features, taps, stride, groups }: Shape) {
  const g = new GraphBuilder();
  const x = g.param("x", { dtype: f32, dims: [1, 16, 16, channels] });
  const w = g.host(
    hostFrom(f32, [features, channels / groups, taps, taps], (i) => Math.sin(i)),
    "w",
  );
  const attrs = {
    strides: [stride, stride],
    pads: [
      [0, 0],
      [0, 0],
    ] as [number, number][],
    dilation: [1, 1],
    inputDilation: [1, 1],
    groups,
    xDims: [0, 3, 1, 2],
    wDims: [0, 1, 2, 3],
    resultDims: [0, 3, 1, 2],
  };
  return g.finish("net", [], [g.one("convolution", [x, w], attrs)]);
}

/** How many of the kernels of a function an algorithm of this file applies to. */
function applicable(s: Shape): number {
  const choose = defaultChooser(wasmMachine, (t) => t.data !== null, { exact: true });
  let found = 0;
  compileGraph(convolution(s), {
    schedule: (sc, k) => {
      if (minimalAlgorithms.some((a) => minimalFilter(sc, k, a, blockBytes(wasmMachine)) !== null)) found++;
      return choose(sc, k);
    },
  });
  return found;
}

/** The algorithms that the default schedules choose. */
function chosen(s: Shape, exact: boolean): string[] {
  const c = compileGraph(convolution(s), { exact });
  return [...new Set([...c.schedules.values()].map((t) => parseSchedule(t).algorithm))].filter((a) => a !== "direct");
}

const usual: Shape = { channels: 64, features: 64, taps: 3, stride: 1, groups: 1 };

describe("minimal filtering", () => {
  it("states by how much the error bound grows", () => {
    // Largest Σ |A| · (Σ|G|) · (Σ|B|) of a row of A: 8 for F(2, 3), 48 for F(4, 3); over three taps, in two dims.
    expect(errorFactor("winograd-2", 2)).toBe(Math.ceil(64 / 9));
    expect(errorFactor("winograd-4", 2)).toBe(Math.ceil(48 ** 2 / 9));
    expect(errorFactor("winograd-2", 1)).toBe(3);
  });

  it("applies to windows of three taps in steps of one, with channels to sum over", () => {
    for (const groups of [1, 4]) expect(applicable({ ...usual, groups })).toBe(1);
    for (const other of [
      { ...usual, stride: 2 },
      { ...usual, taps: 5 },
      { ...usual, taps: 1 },
      { ...usual, groups: 64 },
    ])
      expect(applicable(other), JSON.stringify(other)).toBe(0);
  });

  it("is chosen where it pays, and never under --exact", () => {
    expect(chosen(usual, false).length).toBeGreaterThan(0);
    expect(chosen({ ...usual, channels: 1, features: 4 }, false)).toEqual([]);
    expect(chosen(usual, true)).toEqual([]);
  });
});
