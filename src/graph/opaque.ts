/**
 * The ops that lower to opaque steps (tensor IR's `Opaque`), and why no stage says what they do. The list is to stay short:
 * passes cannot look into such steps. A test compares it with what the ops make of their examples.
 */
export const opaqueOps: Readonly<Record<string, string>> = {
  argsort: "which elements are compared follows from the comparisons before",
  argsort_rows: "which rows are compared follows from the comparisons before",
  cumulative: "along the innermost axis each element waits for the one before, so that a scan of whole stages would have one element each",
  positions_where: "where an element goes follows from how many went before",
  suppress_overlaps: "which boxes are compared follows from those that were kept",
  walk_trees: "which node comes next follows from the comparison at the one before",
};
