import { createHash, randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { version } from "../../version.ts";
import { UserError } from "../../base/errors.ts";
import { hashFile, reason } from "../files.ts";
import type { Request } from "./options.ts";

/** Artifacts that nobody used for this long are removed. */
const keepMs = 30 * 24 * 3600 * 1000;

/** What is known of a model and its options without compiling it. */
export interface CacheKey {
  /** Hash of the compiler's version, the options, and the model's file. */
  readonly base: string;
  readonly modelHash: string;
}

/** What a record beside the artifacts tells: the files of external data that the model reads, relative to its folder. */
interface Record {
  readonly external: readonly string[];
}

/** Names a model with its options by content. @throws UserError `file` when a file cannot be read */
export function keyOf(file: string, request: Request): CacheKey {
  const modelHash = hashOf(file);
  const db = request.db === null ? null : hashOf(request.db);
  return { base: hashText(JSON.stringify([version, compilerHash(), path.parse(file).name, { ...request, db }, modelHash])), modelHash };
}

/** Tells builds of one version apart, so that a package that was installed anew from a checkout makes artifacts of its own. */
function compilerHash(): string {
  const dist = fileURLToPath(new URL("../..", import.meta.url));
  const files = fs.readdirSync(dist, { recursive: true, encoding: "utf8" }).filter((f) => f.endsWith(".js") && !f.startsWith("browser"));
  const hash = createHash("sha256");
  for (const f of files.sort()) hash.update(f).update(fs.readFileSync(path.join(dist, f)));
  return hash.digest("hex");
}

/** A name beside a file or folder that no other thread or process has. */
export function freshName(name: string): string {
  return `${name}.${randomBytes(6).toString("hex")}`;
}

function hashOf(file: string): string {
  try {
    return hashFile(file);
  } catch (e) {
    throw new UserError("file", `${file}: cannot be read (${reason(e)})`);
  }
}
function hashText(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 20);
}

/** The folder of the artifact for a key and the files of external data; null when one of those is missing. */
export function folderOf(cache: string, key: CacheKey, file: string, external: readonly string[]): string | null {
  if (external.length === 0) return path.join(cache, key.base);
  const hashes: string[] = [];
  for (const name of external) {
    const data = path.resolve(path.dirname(file), name);
    if (!fs.existsSync(data)) return null;
    hashes.push(hashOf(data));
  }
  return path.join(cache, `${key.base}-${hashText(JSON.stringify([external, hashes]))}`);
}

/** The names of external data that a model of this key reads, from when it was last compiled; null when it never was. */
export function recordedExternal(cache: string, key: CacheKey): readonly string[] | null {
  try {
    return (JSON.parse(fs.readFileSync(recordFile(cache, key), "utf8")) as Record).external;
  } catch {
    return null;
  }
}

export function recordExternal(cache: string, key: CacheKey, external: readonly string[]): void {
  const file = recordFile(cache, key);
  const fresh = freshName(file);
  fs.mkdirSync(cache, { recursive: true });
  fs.writeFileSync(fresh, JSON.stringify({ external } satisfies Record));
  fs.renameSync(fresh, file);
}

function recordFile(cache: string, key: CacheKey): string {
  return path.join(cache, `${key.base}.json`);
}

/** Is there a whole artifact in the folder? Its manifest is written last. */
export function isComplete(folder: string): boolean {
  return fs.existsSync(path.join(folder, "model.json"));
}

/** Notes that an artifact is in use, and removes what has not been for long. */
export function touch(cache: string, folder: string): void {
  const now = Date.now();
  fs.utimesSync(folder, now / 1000, now / 1000);
  for (const name of fs.readdirSync(cache)) {
    const old = path.join(cache, name);
    const stat = fs.statSync(old, { throwIfNoEntry: false });
    if (stat !== undefined && now - stat.mtimeMs > keepMs && path.join(cache, `${path.basename(folder).slice(0, 20)}.json`) !== old)
      fs.rmSync(old, { recursive: true, force: true });
  }
}
