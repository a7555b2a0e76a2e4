import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { UserError } from "../base/errors.ts";

/** Reads a whole file. @throws UserError `file` when it cannot be read */
export function readFile(file: string): Uint8Array {
  try {
    if (fs.statSync(file).isDirectory()) throw new UserError("file", `${file}: is a folder, expected a file`);
    return bytesOf(fs.readFileSync(file));
  } catch (e) {
    if (e instanceof UserError) throw e;
    throw new UserError("file", `${file}: cannot be read (${reason(e)})`);
  }
}

/** A buffer's bytes as a plain array, not copied. */
export function bytesOf(b: Buffer): Uint8Array {
  return new Uint8Array(b.buffer, b.byteOffset, b.byteLength);
}

/** Writes a file, making its folder. @throws UserError `file` when it cannot be written */
export function writeFile(file: string, content: Uint8Array | string): void {
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, content);
  } catch (e) {
    throw new UserError("file", `${file}: cannot be written (${reason(e)})`);
  }
}

/** What the system says, in words. */
export function reason(e: unknown): string {
  const code = (e as NodeJS.ErrnoException).code;
  const words: Readonly<Record<string, string>> = {
    ENOENT: "it does not exist",
    EACCES: "permission denied",
    EPERM: "not permitted",
    EROFS: "the file system is read-only",
    ENOTDIR: "a part of its path is no folder",
    EEXIST: "a file of that name is in the way",
    ENOSPC: "no space left",
    EISDIR: "it is a folder",
    ELOOP: "symbolic links go round in circles",
    ENAMETOOLONG: "the name is too long",
  };
  return (code === undefined ? undefined : words[code]) ?? (e instanceof Error ? e.message : String(e));
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** SHA-256 of a file, in pieces. */
export function hashFile(file: string): string {
  const hash = createHash("sha256");
  const piece = new Uint8Array(1 << 20);
  const fd = fs.openSync(file, "r");
  try {
    for (;;) {
      const n = fs.readSync(fd, piece);
      if (n === 0) return hash.digest("hex");
      hash.update(piece.subarray(0, n));
    }
  } finally {
    fs.closeSync(fd);
  }
}
