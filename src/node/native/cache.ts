import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { UserError } from "../../base/errors.ts";
import { hashFile, reason } from "../files.ts";

/**
 * The cache of what was built for this machine: shared libraries, keyed by all that decides what they hold, and files of
 * weights, keyed by what they are computed from. What is not whole is never seen under its final name: everything is made
 * under a temporary name and renamed. Any of it may be deleted at any time.
 */

type Environment = Readonly<Record<string, string | undefined>>;

/** Where the cache lies: `$XDG_CACHE_HOME/tilewright`, else `~/.cache/tilewright` (Windows: the user's local data). */
export function cacheFolder(env: Environment = process.env): string {
  const asked = env.XDG_CACHE_HOME ?? "";
  if (path.isAbsolute(asked)) return path.join(asked, "tilewright");
  if (process.platform === "win32" && env.LOCALAPPDATA) return path.join(env.LOCALAPPDATA, "tilewright", "cache");
  return path.join(os.homedir(), ".cache", "tilewright");
}

/** Hash of a list of texts and bytes; where one ends and the next begins counts. */
export function keyOf(parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash("sha256");
  for (const p of parts) {
    hash.update(`${typeof p === "string" ? Buffer.byteLength(p) : p.length}:`);
    hash.update(p);
  }
  return hash.digest("hex").slice(0, 40);
}

function cacheError(folder: string, e: unknown): UserError {
  return new UserError(
    "cache",
    `the cache folder ${folder} cannot be written (${reason(e)}); native models are built there: make it writable, or set XDG_CACHE_HOME to a folder that is`,
  );
}

/** Runs what works on files; errors of the system become one that names the cache. */
async function inCache<T>(folder: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (e) {
    if (typeof (e as NodeJS.ErrnoException).syscall !== "string") throw e;
    throw cacheError(folder, e);
  }
}

/** Temporary names, by process; what a process that was killed left behind goes after a day. */
const temporary = ".making-";
function temporaryName(folder: string): string {
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  const yesterday = Date.now() - 24 * 3600e3;
  for (const name of fs.readdirSync(folder)) {
    if (!name.startsWith(temporary)) continue;
    const file = path.join(folder, name);
    const age = fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? yesterday;
    if (age < yesterday) fs.rmSync(file, { recursive: true, force: true });
  }
  return path.join(folder, `${temporary}${process.pid}-${randomBytes(6).toString("hex")}`);
}

export const libraryName = process.platform === "win32" ? "model.dll" : process.platform === "darwin" ? "model.dylib" : "model.so";
const recordName = "entry.json";

/** The library of an entry, if the entry is whole: its record tells the library's hash. */
function wholeLibrary(entry: string): string | null {
  try {
    const record = JSON.parse(fs.readFileSync(path.join(entry, recordName), "utf8")) as { readonly hash?: unknown };
    const library = path.join(entry, libraryName);
    return record.hash === hashFile(library) ? library : null;
  } catch {
    return null;
  }
}

/**
 * The shared library of that key; `build` makes it under `libraryName` in a folder where no entry is whole. A failed build
 * leaves nothing behind.
 * @throws UserError `cache` when the cache cannot be written; what `build` throws
 */
export async function cachedLibrary(
  cache: string,
  key: string,
  build: (folder: string) => Promise<void>,
): Promise<{ readonly library: string; readonly built: boolean }> {
  return inCache(cache, async () => {
    const folder = path.join(cache, "native");
    const entry = path.join(folder, key);
    const found = wholeLibrary(entry);
    if (found !== null) return { library: found, built: false };
    const work = temporaryName(folder);
    try {
      fs.mkdirSync(work, { mode: 0o700 });
      await build(work);
      fs.writeFileSync(path.join(work, recordName), `${JSON.stringify({ hash: hashFile(path.join(work, libraryName)) })}\n`);
      return { library: await settle(work, entry), built: true };
    } finally {
      fs.rmSync(work, { recursive: true, force: true });
    }
  });
}

/** Moves a finished entry in place; another process may have been quicker. */
async function settle(work: string, entry: string): Promise<string> {
  for (let attempt = 0; ; attempt++) {
    try {
      fs.renameSync(work, entry);
      return path.join(entry, libraryName);
    } catch (e) {
      const found = wholeLibrary(entry);
      if (found !== null) return found;
      if (attempt === 2) throw e;
      fs.rmSync(entry, { recursive: true, force: true });
    }
  }
}

/** Throws a broken entry away. */
export function forgetLibrary(library: string): void {
  fs.rmSync(path.dirname(library), { recursive: true, force: true });
}

/** Takes bytes for a place in a file. */
export type Sink = (offset: number, bytes: Uint8Array) => void;

/**
 * The file of weights of that key, of exactly so many bytes; `write` fills it where it is not there. Null for no bytes.
 * @throws UserError `cache` when the cache cannot be written; what `write` throws
 */
export async function cachedWeights(cache: string, key: string, bytes: number, write: (sink: Sink) => Promise<void>): Promise<string | null> {
  if (bytes === 0) return null;
  return inCache(cache, async () => {
    const folder = path.join(cache, "weights");
    const file = path.join(folder, `${key}.bin`);
    if (fs.statSync(file, { throwIfNoEntry: false })?.size === bytes) return file;
    const work = temporaryName(folder);
    try {
      const fd = fs.openSync(work, "wx", 0o600);
      try {
        await write((offset, piece) => {
          for (let done = 0; done < piece.length; ) done += fs.writeSync(fd, piece, done, piece.length - done, offset + done);
        });
        fs.ftruncateSync(fd, bytes);
        // Before the rename, so that a crash of the system cannot leave a file of the right size with other content.
        fs.fsyncSync(fd);
      } finally {
        fs.closeSync(fd);
      }
      fs.renameSync(work, file);
      return file;
    } finally {
      fs.rmSync(work, { force: true });
    }
  });
}

/** Files and bytes in the cache, for `doctor`. */
export function cacheSize(cache: string): { readonly files: number; readonly bytes: number } {
  let [files, bytes] = [0, 0];
  const visit = (folder: string): void => {
    for (const e of fs.readdirSync(folder, { withFileTypes: true })) {
      const place = path.join(folder, e.name);
      if (e.isDirectory()) visit(place);
      else [files, bytes] = [files + 1, bytes + (fs.statSync(place, { throwIfNoEntry: false })?.size ?? 0)];
    }
  };
  try {
    visit(cache);
  } catch {
    // Not there, or not to be read: what was counted so far is told.
  }
  return { files, bytes };
}
