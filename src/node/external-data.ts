import { closeSync, constants, fstatSync, openSync, readSync, realpathSync } from "node:fs";
import { isAbsolute, join, posix, relative, resolve, sep, win32 } from "node:path";
import type { ConstantData } from "../base/constant.ts";
import { UserError } from "../base/errors.ts";
import type { ExternalDataResolver } from "../frontends/onnx/import.ts";

/** An open file, shared by all tensors in it. */
interface OpenFile {
  readonly descriptor: number;
  readonly size: number;
  /** Names the file's contents as of when it was opened. */
  readonly key: string;
}

/** A resolver that holds files open until it is closed. */
export interface FileResolver extends ExternalDataResolver {
  close(): void;
}

/**
 * Opens the data files of a model: regular files inside of `folder`, and nothing else. Files are opened when a tensor in
 * them is met, and read range by range when the bytes are asked for.
 * `open` throws UserError `external-data-path` (absolute, or leads out of the folder, by `..` or by a link),
 * `external-data-missing`, `external-data-kind` (no regular file), `external-data-short`, `external-data-read`.
 */
export function folderResolver(folder: string): FileResolver {
  const files = new Map<string, OpenFile>();
  return {
    open(location, offset, length) {
      const file = files.get(location) ?? openInside(folder, location);
      files.set(location, file);
      const wanted = length ?? file.size - offset;
      if (wanted < 0 || offset + wanted > file.size) {
        throw new UserError(
          "external-data-short",
          `external data '${location}': the model needs bytes ${offset} to ${offset + Math.max(0, wanted)}, but the file has only ${file.size}; it is not the one that belongs to the model, or was not copied completely`,
        );
      }
      return rangeOf(file, location, offset, wanted);
    },
    close() {
      for (const f of files.values()) closeSync(f.descriptor);
      files.clear();
    },
  };
}

function openInside(folder: string, location: string): OpenFile {
  const outside = (why: string): never => {
    throw new UserError("external-data-path", `external data '${location}': ${why}; only files inside the model's own folder (${folder}) are read`);
  };
  if (isAbsolute(location) || posix.isAbsolute(location) || win32.isAbsolute(location)) outside("the path is absolute");
  if (location.includes("\0")) outside("the path holds a NUL character");
  const path = resolve(folder, location.split("\\").join("/"));
  if (leadsOut(resolve(folder), path)) outside("the path leads out of the folder");
  const missing = (): never => {
    throw new UserError(
      "external-data-missing",
      `external data '${location}': there is no such file beside the model, expected it at ${join(folder, location)}`,
    );
  };
  let real: string;
  try {
    real = realpathSync(path);
  } catch {
    return missing();
  }
  if (leadsOut(realpathSync(folder), real)) outside("it is a link that leads out of the folder");
  return openRegular(real, location);
}

function leadsOut(folder: string, path: string): boolean {
  const r = relative(folder, path);
  return r === ".." || r.startsWith(`..${sep}`) || isAbsolute(r);
}

function openRegular(path: string, location: string): OpenFile {
  let descriptor: number;
  try {
    // Not blocking: opening a pipe must not wait for a writer.
    descriptor = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (e) {
    throw new UserError("external-data-read", `external data '${location}': cannot be opened (${(e as NodeJS.ErrnoException).code ?? e})`);
  }
  const stat = fstatSync(descriptor);
  if (!stat.isFile()) {
    closeSync(descriptor);
    throw new UserError("external-data-kind", `external data '${location}': it is ${stat.isDirectory() ? "a folder" : "no regular file"}`);
  }
  return { descriptor, size: stat.size, key: `${path}@${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeMs}` };
}

function rangeOf(file: OpenFile, location: string, start: number, byteLength: number): ConstantData {
  return {
    byteLength,
    key: `${file.key}:${start}+${byteLength}`,
    read(offset, length) {
      const bytes = new Uint8Array(length);
      for (let done = 0; done < length; ) {
        const n = readSync(file.descriptor, bytes, done, length - done, start + offset + done);
        if (n === 0) throw new UserError("external-data-read", `external data '${location}': the file became shorter while it was read`);
        done += n;
      }
      return bytes;
    },
  };
}
