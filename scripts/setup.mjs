// What the two commands of the README share: make a fresh clone ready to run.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));

/** Ends the process with a message unless this Node is new enough. */
export function requireNode() {
  if (process.getBuiltinModule !== undefined) return;
  console.error(
    `tilewright needs Node 20.16, 22.3 or newer; this is ${process.versions.node}. Get it from https://nodejs.org or with your version manager.`,
  );
  process.exit(2);
}

/** Runs a program to its end; ends this process with `help` when it fails. */
export function runOrExit(command, args, help, options = {}) {
  const run = spawnSync(command, args, { cwd: root, stdio: "inherit", ...options });
  if (run.status === 0) return;
  console.error(`\n${run.error?.message ?? `'${[command, ...args].join(" ")}' ended with status ${run.status ?? run.signal}`}\n${help}`);
  process.exit(1);
}

/** Are all packages of a folder's lock file there, in its versions? Optional ones may be missing: they are for other machines. */
function isInstalled(folder) {
  const mark = `${folder}node_modules/.package-lock.json`;
  if (!existsSync(mark)) return false;
  const there = JSON.parse(readFileSync(mark, "utf8")).packages;
  const wanted = Object.entries(JSON.parse(readFileSync(`${folder}package-lock.json`, "utf8")).packages);
  return wanted.every(([path, p]) => path === "" || (there[path] === undefined ? p.optional === true : there[path].version === p.version));
}

/** Installs the dependencies unless they are there: the project's own, or those of a folder of it (with a slash at its end). */
export function install(folder = root) {
  if (isInstalled(folder)) return;
  // Without development tools there is no compiler, whatever NODE_ENV says.
  const help = "The packages could not be installed. Check the network and npm's proxy settings, then try again.";
  runOrExit("npm", ["ci", "--no-audit", "--no-fund", "--include=dev"], help, { cwd: folder, shell: process.platform === "win32" });
}

/** Compiles src/ to dist/. */
export function build() {
  runOrExit(process.execPath, [`${root}scripts/build.mjs`], "The sources did not compile; see the errors above.");
}
