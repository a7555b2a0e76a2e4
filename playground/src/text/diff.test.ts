import { expect, test } from "vitest";
import { compareTexts } from "./diff.ts";

const lines = (n: number) => Array.from({ length: n }, (_, i) => `line ${i}`);

test("what changed is shown with what stands around it; the rest is a gap", () => {
  const before = lines(100);
  const after = [...before];
  after.splice(50, 1, "new", "newer");
  const c = compareTexts(before.join("\n"), after.join("\n"));
  expect(c?.text.split("\n")).toEqual([
    "⋯ 47 unchanged lines",
    "line 47",
    "line 48",
    "line 49",
    "line 50",
    "new",
    "newer",
    "line 51",
    "line 52",
    "line 53",
    "⋯ 46 unchanged lines",
  ]);
  expect([...(c?.marks ?? [])]).toEqual([
    [0, "gap"],
    [4, "removed"],
    [5, "added"],
    [6, "added"],
    [10, "gap"],
  ]);
  expect([c?.added, c?.removed]).toEqual([2, 1]);
});

test("a gap is never shown instead of a single line", () => {
  const before = lines(9);
  const after = ["first", ...before.slice(1, 8), "last"];
  const c = compareTexts(before.join("\n"), after.join("\n"));
  expect(c?.text).not.toContain("⋯");
});

test("equal texts are one gap, and every mark is of a line that is there", () => {
  const c = compareTexts(lines(40).join("\n"), lines(40).join("\n"));
  expect(c?.text).toBe("⋯ 40 unchanged lines");
  expect(Math.max(...(c?.marks.keys() ?? []))).toBeLessThan(c?.text.split("\n").length ?? 0);
});
