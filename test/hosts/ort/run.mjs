// Runs the same programs with onnxruntime-node, onnxruntime-web and tilewright/ort, in Node and on a page, and
// @huggingface/transformers with and without it; compares what they saw, checks types against onnxruntime-common's, and prints a table.
// Argument: tilewright's built folder, instead of dist. Exit status 1: something differs. scripts/test-ort.mjs installs and builds before.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { browserMissing, seenByTransformers, seenOnPages } from "./browser.mjs";
import { difference } from "./compare.mjs";
import { writeModels } from "./models.mjs";
import { programs as pictures } from "./pictures.mjs";
import { programs } from "./programs.mjs";
import { writeTinyModels } from "./tiny.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = resolve(here, "../../..");
const dist = resolve(process.argv[2] ?? join(root, "dist"));
const ours = join(dist, "node/ort.js");
const peers = ["onnxruntime-node", "onnxruntime-web"];

/** What a script of this folder prints last, as JSON. */
function seenBy(script, args, cwd) {
  const r = spawnSync(process.execPath, [join(here, script), ...args], { encoding: "utf8", cwd, timeout: 300_000, maxBuffer: 2 ** 27 });
  const line = r.stdout.trimEnd().split("\n").at(-1) ?? "";
  try {
    return JSON.parse(line);
  } catch {
    throw new Error(`${script} ${args[0]} did not run to its end (${r.error?.message ?? `status ${r.status}`}):\n${r.stdout}${r.stderr}`);
  }
}

function verdict(title, mine, theirs, { peer, onPage = false }) {
  const { peers: only = peers, onPage: there = true } = programs[title] ?? {};
  if (!only.includes(peer) || (onPage && !there)) return "–";
  if (mine.error !== undefined) return `fails: ${mine.error}`;
  if (theirs.error !== undefined) return `${peer} fails: ${theirs.error.split("\n")[0]}`;
  const d = difference(mine.value, theirs.value);
  return d === null ? "same" : `differs at ${d}`;
}

/** Prints a row; gives 1 where something is not the same. */
function row(title, width, verdicts) {
  const bad = verdicts.filter((v) => v !== "same" && v !== "–");
  console.log(`${title.padEnd(width)}  ${verdicts.map((v) => (bad.includes(v) ? "NOT THE SAME" : v).padEnd(19)).join("  ")}`.trimEnd());
  for (const b of bad) console.log(`  ${b}`);
  return bad.length === 0 ? 0 : 1;
}

async function comparePrograms(folder) {
  writeModels(folder);
  const inNode = seenBy("child.mjs", [ours, folder], folder);
  const columns = peers.map((peer) => ({ peer, name: `as ${peer}`, mine: inNode, theirs: seenBy("child.mjs", [peer, folder], folder) }));
  if (browserMissing === null) columns.push({ peer: "onnxruntime-web", onPage: true, name: "same, on a page", ...(await seenOnPages(dist, folder)) });
  else console.log(`no column for a page: ${browserMissing}`);
  const titles = Object.keys({ ...programs, ...(browserMissing === null ? pictures : {}) });
  const width = Math.max(...titles.map((t) => t.length));
  console.log(`${"program, with tilewright/ort".padEnd(width)}  ${columns.map((c) => c.name.padEnd(19)).join("  ")}`.trimEnd());
  let failed = 0;
  // Programs about pictures are for pages.
  const cell = (t, c) => (c.mine[t] === undefined && c.theirs[t] === undefined ? "–" : verdict(t, c.mine[t], c.theirs[t], c));
  for (const t of titles)
    failed += row(
      t,
      width,
      columns.map((c) => cell(t, c)),
    );
  console.log(`${titles.length - failed} of ${titles.length} programs see the same.\n`);
  return failed;
}

async function compareTransformers(folder) {
  const tiny = join(folder, "tiny");
  writeTinyModels(tiny);
  const expected = seenBy("transformers.mjs", ["as it is", "", tiny], here);
  const ways = [
    ["in place of the package onnxruntime-node", () => seenBy("transformers.mjs", [ours, "package", tiny], here)],
    ["as the runtime that the host brings", () => seenBy("transformers.mjs", [ours, "symbol", tiny], here)],
  ];
  if (browserMissing === null) ways.push(["bundled in place of onnxruntime-web, on a page", () => seenByTransformers(dist, folder)]);
  const parts = Object.keys(expected);
  const width = Math.max(...ways.map(([title]) => title.length));
  console.log(`${"transformers, with tilewright/ort".padEnd(width)}  ${parts.map((p) => p.padEnd(19)).join("  ")}`.trimEnd());
  let failed = 0;
  for (const [title, run] of ways) {
    const seen = await run();
    const verdicts = parts.map((p) => difference(seen[p] ?? seen.error, expected[p]));
    failed += row(
      title,
      width,
      verdicts.map((d) => (d === null ? "same" : `differs at ${d}`)),
    );
  }
  console.log("");
  return failed;
}

function checkTypes() {
  const r = spawnSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", here], { encoding: "utf8" });
  console.log(`types of onnxruntime-common and of tilewright/ort: ${r.status === 0 ? "stand for one another" : `do not\n${r.stdout}${r.stderr}`}`);
  return r.status === 0 ? 0 : 1;
}

const folder = mkdtempSync(join(tmpdir(), "tilewright-ort-"));
try {
  const failed = (await comparePrograms(folder)) + (await compareTransformers(folder)) + checkTypes();
  process.exitCode = failed === 0 ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
