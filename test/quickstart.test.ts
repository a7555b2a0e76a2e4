import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
// `npm test` builds first; run alone, without a build, there is nothing to start.
const built = existsSync(join(root, "dist/cli.js"));
if (!built) console.log("skipped: the quick start (dist/ is not built; `npm run build` does that)");

test.skipIf(!built)("the quick start compiles the example and recognises its pictures", () => {
  const out = mkdtempSync(join(tmpdir(), "tilewright-quickstart-"));
  try {
    const text = execFileSync(process.execPath, [join(root, "scripts/quickstart.mjs"), "--built", "--out", out], { cwd: root, encoding: "utf8" });
    const rows = text.split("\n").filter((l) => /^ {2}\d-[a-z]\.png /.test(l));
    expect(rows).toHaveLength(20);
    // The reference runtime recognises all 20; the least sure one (6-b) at 44.6 %.
    for (const r of rows) expect(r, r).toMatch(/^ {2}(\d)-[a-z]\.png +\1 +\d+\.\d %$/);
    expect(rows.find((r) => r.includes("6-b.png"))).toMatch(/ 44\.6 %$/);
    expect(text).toContain("20 of 20 right.");
    expect(readdirSync(out)).toEqual(expect.arrayContaining(["model.js", "model.d.ts", "model.json", "model.wasm", "model.weights.bin"]));
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
});
