// Checks import directions and cycles (.dependency-cruiser.cjs), and that every source file was really looked at.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const bin = fileURLToPath(new URL("../node_modules/dependency-cruiser/bin/dependency-cruise.mjs", import.meta.url));
const run = spawnSync(process.execPath, [bin, "src", "--config", ".dependency-cruiser.cjs", "--output-type", "json"], {
  cwd: root,
  encoding: "utf8",
  maxBuffer: 1 << 28,
});
if (run.error !== undefined || !run.stdout.startsWith("{")) {
  console.error(`imports: dependency-cruiser did not run: ${run.error?.message ?? run.stderr}`);
  process.exit(1);
}

const report = JSON.parse(run.stdout);
const inspected = new Set(report.modules.map((m) => m.source).filter((s) => s.startsWith("src/")));
const sources = readdirSync(new URL("../src", import.meta.url), { recursive: true, withFileTypes: true })
  .filter((e) => e.isFile() && e.name.endsWith(".ts"))
  .map((e) => `${e.parentPath.slice(root.length)}/${e.name}`.replaceAll("\\", "/"));
const missed = sources.filter((s) => !inspected.has(s));
const edges = report.modules.reduce((n, m) => n + m.dependencies.length, 0);

const { violations } = report.summary;
for (const v of violations) {
  const rule = report.summary.ruleSetUsed.forbidden.find((r) => r.name === v.rule.name);
  const way = v.cycle === undefined ? v.to : v.cycle.map((c) => c.name ?? c).join(" -> ");
  console.error(`${v.from} -> ${way}\n  ${v.rule.name}: ${rule?.comment ?? ""}`);
}
for (const s of missed) console.error(`${s} was not inspected`);
if (inspected.size === 0 || edges === 0) console.error("imports: nothing was inspected");
console.log(`imports: ${inspected.size} modules and ${edges} imports inspected, ${violations.length} violations`);
process.exit(violations.length === 0 && missed.length === 0 && inspected.size > 0 && edges > 0 ? 0 : 1);
