import { BoostedTrees, type Sample } from "./boosting.ts";
import { modelledColumn } from "./features.ts";

/** Samples that the trees are fitted to: the latest. */
const mostSamples = 2000;
/** Below this many samples the machine's own model is all there is. */
const leastSamples = 16;
/** Fitted anew after this many samples. */
const refitAfter = 12;

/**
 * The cost model that learns while tuning: predicts the logarithm of a schedule's time relative to the default's. It is
 * one for all kernels of a model, for what spills in one spills in the next; rows hold differences to the default for that.
 */
export class RankModel {
  private readonly samples: Sample[] = [];
  private trees: BoostedTrees | null = null;
  private unfitted = 0;

  add(row: readonly number[], ratio: number): void {
    this.samples.push({ row, target: Math.log2(ratio) });
    if (this.samples.length > mostSamples) this.samples.shift();
    this.unfitted++;
  }

  /** The smaller, the faster. */
  predict(row: readonly number[]): number {
    if (this.samples.length < leastSamples) return row[modelledColumn] ?? 0;
    if (this.trees === null || this.unfitted >= refitAfter) {
      this.trees = new BoostedTrees(this.samples);
      this.unfitted = 0;
    }
    return this.trees.predict(row);
  }
}
