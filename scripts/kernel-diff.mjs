// The golden-kernel diff: which generated kernels of the model suite a change touches, and what they weigh. See --help.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { modelFolder, suiteFolder, suiteNames } from "../bench/suite.mjs";
import { compareSnapshots, differs, reportOf, withoutTexts } from "./kernels/compare.mjs";
import { install, requireNode, root, runOrExit } from "./setup.mjs";

const help = `Usage: node scripts/kernel-diff.mjs [COMMIT] [options]

Compiles the model suite with this tree and with another commit (default: HEAD, so that one sees what is not committed
yet) and shows which generated kernels changed (~), appeared (+) and vanished (-), with their bytes of code. A kernel that
only got another number in its name counts as the same.

  --models a,b     models of the suite (default: all floating-point ones)
  --show KERNEL    prints the loop IR of a kernel as a unified diff, in each model that has it changed
  --write FILE     writes hashes and sizes of this tree's kernels as JSON, and compares nothing
  --against FILE   compares with such a file instead of a commit
  --exit-code      exit status 1 when there is any difference
  --help           prints this

Examples: node scripts/kernel-diff.mjs HEAD~1
          node scripts/kernel-diff.mjs --models resnet18 --show convolution_2
`;

const fileFormat = "tilewright-kernels-1";

function fail(message) {
  console.error(message);
  process.exit(2);
}

function parse() {
  const text = { type: "string" };
  const flag = { type: "boolean", default: false };
  try {
    return parseArgs({
      allowPositionals: true,
      options: { models: text, show: text, write: text, against: text, "exit-code": flag, help: flag },
    });
  } catch (e) {
    return fail(`${e.message}\n\n${help}`);
  }
}

const { values, positionals } = parse();
if (values.help) {
  console.log(help);
  process.exit(0);
}
if (positionals.length > 1 || (positionals.length > 0 && (values.against ?? values.write) !== undefined))
  fail(`one commit, --against or --write: choose one of them\n\n${help}`);
requireNode();
if (suiteFolder() === null) {
  console.log("skipped: the model suite is not there (../shared/models)");
  process.exit(0);
}
const other = values.write !== undefined ? null : values.against === undefined ? otherCommit(positionals[0] ?? "HEAD") : otherFile(values.against);
const names = values.models?.split(",").filter((m) => m !== "") ?? other?.names ?? suiteNames().filter((m) => !/_qdq$|_int8$/.test(m));
const unknown = names.filter((m) => !suiteNames().includes(m));
if (unknown.length > 0) fail(`there is no model ${unknown.join(", ")}; there are: ${suiteNames().join(", ")}`);
install();

const current = join(root, ".cache/kernel-diff");
console.error("building this tree …");
buildTree(root, current);

process.exit(await (other === null ? writeFile(values.write) : compare(other)));

async function writeFile(file) {
  const models = {};
  for (const name of names) models[name] = withoutTexts(await snapshot(current, name));
  writeFileSync(file, `${JSON.stringify({ format: fileFormat, models }, null, 1)}\n`);
  console.log(`${file}: the kernels of ${countText(names.length)}`);
  return 0;
}

async function compare(other) {
  let [different, compared] = [0, 0];
  try {
    other.build();
    for (const name of names) {
      const [before, after] = await Promise.all([other.snapshot(name), snapshot(current, name)]);
      if (before === null) {
        console.log(`${name}: not in ${values.against}`);
        continue;
      }
      compared++;
      const pairs = compareSnapshots(before, after);
      if (differs(pairs)) different++;
      console.log(reportOf(name, before, after, pairs).join("\n"));
      if (values.show !== undefined) for (const p of pairs.changed.filter((q) => [q.before.name, q.after.name].includes(values.show))) show(p);
    }
  } finally {
    other.close();
  }
  console.log(
    `\n${different === 0 ? `no kernel of ${countText(compared)} differs` : `kernels differ in ${different} of ${countText(compared)}`} (compared with ${other.label})`,
  );
  return values["exit-code"] && different > 0 ? 1 : 0;
}

function countText(n) {
  return n === 1 ? "one model" : `${n} models`;
}

function otherFile(file) {
  let content;
  try {
    content = JSON.parse(readFileSync(file, "utf8"));
  } catch (e) {
    fail(`${file}: cannot be read (${e.message})`);
  }
  if (content?.format !== fileFormat) fail(`${file}: expected a file that --write made (format ${fileFormat})`);
  return { label: file, names: Object.keys(content.models), build() {}, snapshot: async (name) => content.models[name] ?? null, close() {} };
}

/** A commit of this repository; `build` checks it out in a temporary folder. */
function otherCommit(commit) {
  const git = (...args) => spawnSync("git", args, { cwd: root, encoding: "utf8" });
  const found = git("rev-parse", "--verify", "--quiet", `${commit}^{commit}`);
  if (found.status !== 0) fail(`'${commit}' is no commit of this repository`);
  const hash = found.stdout.trim();
  const folder = mkdtempSync(join(tmpdir(), "tilewright-kernels-"));
  const tree = join(folder, "tree");
  const close = () => {
    git("worktree", "remove", "--force", tree);
    rmSync(folder, { recursive: true, force: true });
    git("worktree", "prune");
  };
  // Also when a build fails, or the user has seen enough.
  process.once("exit", close);
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(130));
  const build = () => {
    const added = git("worktree", "add", "--detach", tree, hash);
    if (added.status !== 0) fail(`commit ${commit} could not be checked out: ${added.stderr}`);
    symlinkSync(join(root, "node_modules"), join(tree, "node_modules"), "junction");
    console.error(`building ${commit} (${hash.slice(0, 10)}) …`);
    buildTree(tree, join(tree, "dist"));
  };
  return { label: `${commit}, ${hash.slice(0, 10)}`, names: null, build, snapshot: (name) => snapshot(join(tree, "dist"), name), close };
}

/** Compiles a tree's sources; whether their types are right is not asked. */
function buildTree(tree, out) {
  const tsc = [join(root, "node_modules/typescript/bin/tsc"), "-p", join(tree, "tsconfig.build.json"), "--noCheck", "--declaration", "false"];
  runOrExit(process.execPath, [...tsc, "--outDir", out, "--tsBuildInfoFile", `${out}.tsbuildinfo`], `The sources in ${tree} did not compile.`);
  if (!existsSync(join(out, "importer.js"))) fail(`${tree}: this commit is too old: it has no src/importer.ts`);
}

/** What a build generates for a model, from a process of its own. */
function snapshot(dist, name) {
  const file = join(modelFolder(name), `${name}.onnx`);
  const child = spawn(process.execPath, [join(root, "scripts/kernels/snapshot.mjs"), dist, file], { stdio: ["ignore", "pipe", "pipe"] });
  const [out, err] = [[], []];
  child.stdout.on("data", (d) => out.push(d));
  child.stderr.on("data", (d) => err.push(d));
  return new Promise((resolve) => {
    child.on("close", (status) => {
      if (status !== 0) fail(`${name} could not be compiled by ${dist}:\n${Buffer.concat(err)}`);
      resolve(JSON.parse(Buffer.concat(out).toString()));
    });
  });
}

/** Prints a changed kernel's loop IR as a unified diff. */
function show({ before, after }) {
  if (before.text === undefined) {
    console.log(`(a file holds no texts: compare with a commit to see both)\n${after.text}`);
    return;
  }
  if (before.text === after.text) {
    console.log("(the loop IR is the same; the code made from it differs)");
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), "tilewright-kernel-"));
  try {
    writeFileSync(join(folder, "before"), before.text);
    writeFileSync(join(folder, "after"), after.text);
    const colour = process.stdout.isTTY ? "always" : "never";
    const diff = spawnSync("git", ["diff", "--no-index", `--color=${colour}`, "before", "after"], { cwd: folder, encoding: "utf8" });
    // The first four lines speak of the temporary files.
    console.log(diff.stdout.split("\n").slice(4).join("\n"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
