// Run after `npm install` on a machine whose registry lacks packages for other platforms: npm then leaves them out of the
// lock file, and `npm ci` refuses such a file everywhere. Adds an entry for each optional package that is named but missing.
// Takes the folder of the lock file, if it is not the root's: node scripts/complete-lock.mjs test/hosts
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const file = join(process.argv[2] ?? fileURLToPath(new URL("..", import.meta.url)), "package-lock.json");
const lock = JSON.parse(readFileSync(file, "utf8"));
const systems = ["android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "aix", "win32"];
const processors = ["arm64", "arm", "ia32", "ppc64", "riscv64", "s390x", "x64", "loong64"];

const added = [];
for (const parent of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
    const path = `node_modules/${name}`;
    if (lock.packages[path] !== undefined || !/^\d/.test(version)) continue;
    const words = name.split(/[/-]/);
    const os = systems.find((s) => words.includes(s));
    const cpu = processors.find((p) => words.includes(p));
    if (os === undefined || cpu === undefined) throw new Error(`cannot tell the platform of '${name}' from its name`);
    const libc = words.some((w) => w.startsWith("musl")) ? ["musl"] : words.some((w) => w.startsWith("gnu")) ? ["glibc"] : undefined;
    lock.packages[path] = { version, cpu: [cpu], dev: parent.dev, ...(libc === undefined ? {} : { libc }), optional: true, os: [os] };
    added.push(name);
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a === b ? 0 : a === "" || (b !== "" && a < b) ? -1 : 1)));
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
console.log(added.length === 0 ? "the lock file was complete" : `added to the lock file: ${added.join(", ")}`);
