import { readFileSync } from "node:fs";

/** Four launches of one kernel over counts that differ; row i of y is the sum of x[0 … i], by way of scratch memory. */
export const rowsText = readFileSync(new URL("./rows.tw", import.meta.url), "utf8");
