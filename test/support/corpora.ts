import { execFileSync } from "node:child_process";
import { type Dirent, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The shared test data beside the repository. */
export const shared = fileURLToPath(new URL("../../../shared/", import.meta.url));

/**
 * Unpacks a corpus to a cache outside of the repository; null where there is none, which it prints. Test files that run side
 * by side may both unpack: the first one's result is kept, and it is there whole or not at all.
 */
export function corpus(name: string): string | null {
  const archive = join(shared, "corpora", `${name}.tar.xz`);
  if (!existsSync(archive)) {
    console.log(`skipped: no corpus '${name}' beside the repository`);
    return null;
  }
  const cache = join(tmpdir(), "tilewright-corpora");
  const folder = join(cache, `${name}-${statSync(archive).size}`);
  if (existsSync(folder)) return folder;
  mkdirSync(cache, { recursive: true });
  const own = mkdtempSync(join(cache, "unpacking-"));
  try {
    execFileSync(join(shared, "corpora", "unpack.sh"), [own, name]);
    renameSync(join(own, name), folder);
  } catch (e) {
    if (!existsSync(folder)) throw e;
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
  return folder;
}

/** Files below a folder whose names end in `ending`, in order. */
export function filesBelow(folder: string, ending: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((e: Dirent) => (e.isDirectory() ? filesBelow(join(folder, e.name), ending) : e.name.endsWith(ending) ? [join(folder, e.name)] : []))
    .sort();
}
