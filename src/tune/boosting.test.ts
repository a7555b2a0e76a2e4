import { expect, it } from "vitest";
import { type Random, seededRandom } from "../schedule/random.ts";
import { BoostedTrees, type Sample } from "./boosting.ts";
import { modelledColumn } from "./features.ts";
import { RankModel } from "./rank.ts";

/** A made-up machine: loads cost, more than nine accumulators spill, and most columns say nothing. */
function synthetic(random: Random, columns: number): Sample {
  const row = Array.from({ length: columns }, () => Math.round(random() * 16));
  const [loads = 0, accumulators = 0, , trips = 0] = row;
  const target = 0.1 * loads + (accumulators > 9 ? 1.5 : 0) - 0.02 * trips * (loads > 8 ? 1 : 0);
  return { row, target };
}

/** Share of pairs that a prediction puts in the right order. */
function pairsRight(samples: readonly Sample[], predict: (row: readonly number[]) => number): number {
  let [right, all] = [0, 0];
  for (const a of samples)
    for (const b of samples) {
      if (a.target >= b.target) continue;
      all++;
      if (predict(a.row) < predict(b.row)) right++;
    }
  return right / all;
}

it("ranks what it has not seen, the better the more it was given", () => {
  const random = seededRandom(3);
  const test = Array.from({ length: 80 }, () => synthetic(random, 20));
  const train = Array.from({ length: 400 }, () => synthetic(random, 20));
  const by = (n: number) => {
    const model = new BoostedTrees(train.slice(0, n));
    return pairsRight(test, (r) => model.predict(r));
  };
  expect(by(0)).toBe(0);
  expect(by(40)).toBeGreaterThan(0.75);
  expect(by(400)).toBeGreaterThan(0.92);
});

it("gives the mean where there is nothing to split", () => {
  const same = [1, 2, 3, 6].map((target) => ({ row: [5, 5], target }));
  expect(new BoostedTrees(same).predict([5, 5])).toBe(3);
  expect(new BoostedTrees([{ row: [1], target: 7 }]).predict([2])).toBe(7);
});

it("is deterministic", () => {
  const random = seededRandom(8);
  const samples = Array.from({ length: 60 }, () => synthetic(random, 8));
  const row = samples[3]?.row ?? [];
  expect(new BoostedTrees(samples).predict(row)).toBe(new BoostedTrees(samples).predict(row));
});

it("the model that learns starts as the machine's own, and turns to what was measured", () => {
  const random = seededRandom(4);
  const width = modelledColumn + 1;
  const samples = Array.from({ length: 300 }, () => {
    const s = synthetic(random, width);
    // What the machine's model says is misleading here.
    return { row: s.row.with(modelledColumn, -s.target), target: s.target };
  });
  const model = new RankModel();
  const test = samples.slice(200);
  expect(pairsRight(test, (r) => model.predict(r))).toBe(0);
  for (const s of samples.slice(0, 200)) model.add(s.row, 2 ** s.target);
  expect(pairsRight(test, (r) => model.predict(r))).toBeGreaterThan(0.9);
});
