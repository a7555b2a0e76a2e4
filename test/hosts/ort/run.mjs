// Runs the same programs with onnxruntime-node, onnxruntime-web and tilewright/ort, compares what they saw, and prints a table.
// Argument: the module that is `tilewright/ort`, instead of the package's own in dist. Exit status 1: something differs.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeModels } from "./models.mjs";
import { programs } from "./programs.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const ours = process.argv[2] ?? "tilewright/ort";
const peers = ["onnxruntime-node", "onnxruntime-web"];
/** Floats may differ by the order in which sums are taken: by that of the largest of an array, relative. */
const tolerance = 1e-5;

function install() {
  if (existsSync(join(here, "node_modules", "onnxruntime-node"))) return;
  console.log("installing the packages of test/hosts/ort …");
  const r = spawnSync("npm", ["ci", "--no-audit", "--no-fund"], { cwd: here, stdio: "inherit" });
  if (r.status !== 0) throw new Error("npm ci failed in test/hosts/ort");
}

/** What the programs saw with a package. */
function seenWith(name, folder) {
  const r = spawnSync(process.execPath, [join(here, "child.mjs"), name, folder], {
    encoding: "utf8",
    cwd: folder,
    timeout: 300_000,
    maxBuffer: 2 ** 27,
  });
  const line = r.stdout.trimEnd().split("\n").at(-1) ?? "";
  try {
    return JSON.parse(line);
  } catch {
    throw new Error(`the programs did not run with ${name} (${r.error?.message ?? `status ${r.status}`}):\n${r.stdout}${r.stderr}`);
  }
}

/** Where two values differ; null where they do not. */
function difference(a, b, at = "") {
  if (typeof a === "number" && typeof b === "number")
    return a === b || Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b)) ? null : `${at}: ${a}, expected ${b}`;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null)
    return a === b ? null : `${at}: ${JSON.stringify(a)}, expected ${JSON.stringify(b)}`;
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])];
  for (const k of keys) {
    const d = k in a && k in b ? difference(a[k], b[k], `${at}.${k}`) : `${at}.${k}: ${k in b ? "is missing" : "was not expected"}`;
    if (d !== null) return d;
  }
  return null;
}

function verdict(title, mine, theirs, peer) {
  const only = programs[title].peers;
  if (only !== undefined && !only.includes(peer)) return "–";
  if (mine.error !== undefined) return `fails: ${mine.error}`;
  if (theirs.error !== undefined) return `${peer} fails: ${theirs.error.split("\n")[0]}`;
  const d = difference(mine.value, theirs.value);
  return d === null ? "same" : `differs at ${d}`;
}

install();
const folder = mkdtempSync(join(tmpdir(), "tilewright-ort-"));
mkdirSync(folder, { recursive: true });
let failed = 0;
try {
  writeModels(folder);
  const mine = seenWith(ours, folder);
  const theirs = Object.fromEntries(peers.map((p) => [p, seenWith(p, folder)]));
  const width = Math.max(...Object.keys(programs).map((t) => t.length));
  console.log(`${"program".padEnd(width)}  ${peers.map((p) => `as ${p}`.padEnd(20)).join("  ")}`);
  for (const title of Object.keys(programs)) {
    const verdicts = peers.map((p) => verdict(title, mine[title], theirs[p][title], p));
    const bad = verdicts.filter((v) => v !== "same" && v !== "–");
    failed += bad.length === 0 ? 0 : 1;
    console.log(`${title.padEnd(width)}  ${verdicts.map((v) => (v === "same" || v === "–" ? v : "NOT THE SAME").padEnd(20)).join("  ")}`.trimEnd());
    for (const b of bad) console.log(`  ${b}`);
  }
  console.log(`${Object.keys(programs).length - failed} of ${Object.keys(programs).length} programs see the same.`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(failed === 0 ? 0 : 1);
