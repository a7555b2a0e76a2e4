// `npm test`: installs if needed, builds, runs every test. Arguments are handed to vitest: `npm test -- src/scalar`.
// The last line is `tests: N passed, N failed, N skipped`; the exit status is 0 only if none failed.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build, install, requireNode, root } from "./setup.mjs";

// Whatever ends this process, the last line says how it went.
let counts = { passed: 0, failed: 1, skipped: 0 };
process.on("exit", () => console.log(`tests: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`));

requireNode();
install();
build();

const folder = mkdtempSync(join(tmpdir(), "tilewright-test-"));
const file = join(folder, "results.json");
const vitest = [
  join(root, "node_modules/vitest/vitest.mjs"),
  "run",
  "--reporter=default",
  "--reporter=json",
  `--outputFile.json=${file}`,
  ...process.argv.slice(2),
];
const run = spawnSync(process.execPath, vitest, { cwd: root, stdio: "inherit" });

try {
  counts = countResults(JSON.parse(readFileSync(file, "utf8")));
} catch {
  console.error(`no test results were written (vitest ended with status ${run.status ?? run.signal})`);
}
rmSync(folder, { recursive: true, force: true });
// Errors outside of tests (an unhandled rejection) have no result of their own.
if (run.status !== 0 && counts.failed === 0) counts.failed = 1;
if (counts.passed === 0 && counts.failed === 0) {
  console.error("no test ran");
  counts.failed = 1;
}
process.exit(counts.failed === 0 ? 0 : 1);

/** Counts tests, and files that failed before any of their tests ran. */
function countResults(report) {
  const broken = report.testResults.filter((t) => t.status === "failed" && t.assertionResults.every((a) => a.status !== "failed")).length;
  return { passed: report.numPassedTests, failed: report.numFailedTests + broken, skipped: report.numPendingTests + report.numTodoTests };
}
