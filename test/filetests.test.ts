import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { CBatch, testBatch } from "./support/c.ts";
import { blessFiletest, findFiletests, readFiletest, runFiletest } from "./support/filetest.ts";

const folder = fileURLToPath(new URL("../filetests", import.meta.url));
const batch = new CBatch();
const bless = process.env["BLESS"] === "1";

test.each(findFiletests(folder))("%s", async (path) => {
  const t = readFiletest(folder, path);
  const made = await runFiletest(t, batch);
  if (made === null) return;
  if (bless) blessFiletest(folder, t, made);
  else expect(made, "BLESS=1 rewrites expectations").toBe(t.expected);
});

testBatch(batch);
