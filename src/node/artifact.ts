import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { InternalError, UserError } from "../base/errors.ts";
import type { ArtifactFile } from "../runtime/artifact.ts";
import type { CManifest, Manifest, WeightFile } from "../runtime/model.ts";
import type { CArtifact } from "../targets/c/artifact.ts";
import type { WasmArtifact } from "../targets/wasm/artifact.ts";
import { declarationsOf, headLine } from "./declarations.ts";
import { hashFile, reason } from "./files.ts";

export interface WriteOptions {
  /** Most bytes of one file of weights; without it there is one file. */
  readonly shardBytes?: number;
  /** One file holds everything: modules and weights stand in `model.js` as base64. */
  readonly inline?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * Writes an artifact's files. They are made in a temporary folder beside, on the same file system, and moved in place at
 * the end, so that a failure leaves nothing behind. Files of an earlier artifact are replaced, others are left alone.
 * @throws UserError `output` when the folder cannot be written, `inline` for a model that is too large for one script
 */
export async function writeArtifact(a: WasmArtifact, folder: string, options: WriteOptions = {}): Promise<Manifest> {
  if (options.inline) checkInline(a);
  return inPlace(folder, async (work) => {
    const weights = await writeWeightFiles(a, work, options);
    const manifest: Manifest = { ...a.manifest, weights, sharded: options.shardBytes !== undefined };
    const put = (name: string, content: string | Uint8Array) => fs.writeFileSync(path.join(work, name), content);
    manifest.modules.forEach((m, i) => {
      put(m.file, a.modules[i] as Uint8Array);
    });
    put("model.js", options.inline ? inlineText(manifest, work) : loaderText(manifest));
    put("model.d.ts", declarationsOf(manifest));
    if (ownsPackage(folder)) put("package.json", packageText(manifest));
    put("model.json", manifestText(manifest));
    return manifest;
  });
}

/**
 * Writes the files of a model compiled to C, like those of other artifacts.
 * @throws UserError `output` when the folder cannot be written
 */
export async function writeCArtifact(a: CArtifact, folder: string, options: Pick<WriteOptions, "signal"> = {}): Promise<CManifest> {
  return inPlace(folder, async (work) => {
    const weights = await writeWeightFiles(a, work, options);
    const manifest: CManifest = { ...a.manifest, weights };
    for (const [name, text] of Object.entries(a.files)) fs.writeFileSync(path.join(work, name), text);
    fs.writeFileSync(path.join(work, "model.json"), manifestText(manifest));
    return manifest;
  });
}

function manifestText(m: Manifest | CManifest): string {
  return `${JSON.stringify(m, null, 1)}\n`;
}

/** Has files made in a temporary folder, and puts them in place when all are there. */
async function inPlace<T>(folder: string, write: (work: string) => Promise<T>): Promise<T> {
  const place = openOutput(folder);
  try {
    const made = await write(place.work);
    place.commit();
    return made;
  } catch (e) {
    if ((e as NodeJS.ErrnoException).syscall === undefined) throw e;
    throw outputError(folder, e);
  } finally {
    place.discard();
  }
}

function outputError(folder: string, e: unknown): UserError {
  return new UserError("output", `the output folder ${folder} cannot be written (${reason(e)}); choose another with -o`);
}

interface OutputPlace {
  readonly work: string;
  readonly commit: () => void;
  /** Removes what is not committed; harmless after a commit. */
  readonly discard: () => void;
}

/** Files that an artifact may consist of. */
const ours = /^model(\.relaxed)?(\.mt)?\.wasm$|^model\.weights(\.\d+)?\.bin$|^model\.(js|d\.ts|json|c|h|dll)$|^libmodel\.(so|dylib)$/;

/** A temporary folder inside the output folder if that exists, else beside it. */
function openOutput(folder: string): OutputPlace {
  const target = path.resolve(folder);
  const suffix = `.tilewright-${process.pid}-${randomBytes(4).toString("hex")}`;
  let made: string | undefined;
  try {
    const exists = fs.existsSync(target);
    if (exists && !fs.statSync(target).isDirectory()) throw new UserError("output", `the output folder ${folder} is a file; choose another with -o`);
    const work = exists ? path.join(target, suffix) : `${target}${suffix}`;
    made = fs.mkdirSync(work, { recursive: true });
    return {
      work,
      commit() {
        if (exists) replaceFiles(work, target);
        else fs.renameSync(work, target);
        made = undefined;
      },
      discard() {
        fs.rmSync(work, { recursive: true, force: true });
        if (made !== undefined) fs.rmSync(made, { recursive: true, force: true });
      },
    };
  } catch (e) {
    if (made !== undefined) fs.rmSync(made, { recursive: true, force: true });
    throw e instanceof UserError ? e : outputError(folder, e);
  }
}

/** Moves the new files over the old ones; `model.json` last. */
function replaceFiles(work: string, target: string): void {
  const fresh = fs.readdirSync(work);
  for (const old of fs.readdirSync(target)) if (ours.test(old) && !fresh.includes(old)) fs.rmSync(path.join(target, old));
  for (const f of fresh.filter((x) => x !== "model.json")) fs.renameSync(path.join(work, f), path.join(target, f));
  fs.renameSync(path.join(work, "model.json"), path.join(target, "model.json"));
}

/** Node takes a `.js` file for a module only if the package around it says so; a package file of the user's own stays. */
function ownsPackage(folder: string): boolean {
  const file = path.join(folder, "package.json");
  return !fs.existsSync(file) || fs.readFileSync(file, "utf8").includes(packageMark);
}
const packageMark = "A model compiled by tilewright";

function packageText(m: Manifest): string {
  return `${JSON.stringify({ description: packageMark, private: true, type: "module", exports: "./model.js", types: "./model.d.ts", version: m.version }, null, 1)}\n`;
}

/** Streams the weights to their files: each constant is written when it is ready, wherever it belongs. */
async function writeWeightFiles(
  a: Pick<WasmArtifact | CArtifact, "manifest" | "writeWeights">,
  folder: string,
  options: WriteOptions,
): Promise<WeightFile[]> {
  const total = a.manifest.weight_bytes;
  if (total === 0) return [];
  const size = Math.min(options.shardBytes ?? total, total);
  const count = Math.ceil(total / size);
  const digits = String(count - 1).length;
  const names = Array.from({ length: count }, (_, i) => (count === 1 ? "model.weights.bin" : `model.weights.${String(i).padStart(digits, "0")}.bin`));
  const files = names.map((n) => fs.openSync(path.join(folder, n), "w"));
  try {
    await a.writeWeights((offset, bytes) => {
      for (let done = 0; done < bytes.length; ) {
        const at = offset + done;
        const piece = Math.floor(at / size);
        const n = Math.min(bytes.length - done, (piece + 1) * size - at);
        writeAll(files[piece] as number, bytes.subarray(done, done + n), at - piece * size);
        done += n;
      }
    }, options.signal);
    files.forEach((fd, i) => {
      fs.ftruncateSync(fd, Math.min(size, total - i * size));
    });
  } finally {
    for (const fd of files) fs.closeSync(fd);
  }
  return names.map((file, i) => ({ file, bytes: Math.min(size, total - i * size), hash: hashFile(path.join(folder, file)) }));
}

function writeAll(fd: number, bytes: Uint8Array, at: number): void {
  for (let done = 0; done < bytes.length; ) done += fs.writeSync(fd, bytes, done, bytes.length - done, at + done);
}

/** `model.js`: what is this model's, and the runtime. Bundlers know a file by the expression `new URL("...", import.meta.url)`, so each stands there. */
function loaderText(manifest: Manifest): string {
  const files = fileNames(manifest).map((f) => `  ${JSON.stringify(f)}: () => new URL(${JSON.stringify(`./${f}`)}, import.meta.url),\n`);
  return loaderHead(manifest, files) + runtimeText(manifest);
}

/** Bytes of a file that become one string. Their number is a multiple of three, so that base64 has no padding before its end. */
const inlinePiece = 3 << 20;
/** An engine's longest string, and so source text, has about 2^29 characters; base64 has four for three bytes. */
const mostInlined = 256 << 20;

/** @throws UserError `inline` for a model that is too large for one script */
function checkInline(a: WasmArtifact): void {
  const total = a.modules.reduce((n, m) => n + m.length, a.manifest.weight_bytes);
  if (total > mostInlined)
    throw new UserError(
      "inline",
      `modules and weights have ${total} bytes; one script can hold ${mostInlined}: leave out --inline, or have fewer modules (--features simd)`,
    );
}

/** `model.js` that needs no other files: it takes them in from the folder that holds them, and removes them there. */
function inlineText(manifest: Manifest, folder: string): string {
  const files = fileNames(manifest).map((f) => {
    const bytes = fs.readFileSync(path.join(folder, f));
    fs.rmSync(path.join(folder, f));
    const pieces = Array.from({ length: Math.ceil(bytes.length / inlinePiece) }, (_, i) => bytes.subarray(i * inlinePiece, (i + 1) * inlinePiece));
    return `  ${JSON.stringify(f)}: () => [${pieces.map((p) => `"${p.toString("base64")}"`).join(", ")}],\n`;
  });
  return loaderHead(manifest, files) + runtimeText(manifest);
}

/** Where an artifact's files are, for its `loadArtifact`: in its folder, or in its `model.js`, which is read and not run. */
export function artifactFiles(folder: string): (file: string) => ArtifactFile {
  return (file) => {
    const url = pathToFileURL(path.join(path.resolve(folder), file));
    const script = path.join(folder, "model.js");
    if (fs.existsSync(url) || !fs.existsSync(script)) return url;
    const start = `\n  ${JSON.stringify(file)}: () => [`;
    const text = fs.readFileSync(script, "utf8");
    const at = text.indexOf(start);
    return at < 0 ? url : (JSON.parse(text.slice(at + start.length - 1, text.indexOf("]", at) + 1)) as string[]);
  };
}

function fileNames(m: Manifest): string[] {
  return [...m.modules, ...m.weights].map((f) => f.file);
}

/** What `model.json` alone tells: nothing of it is needed to run. Kernels are written in another form. */
const untold: ReadonlySet<string> = new Set(["format", "version", "flops", "buffers", "source_hash", "kernels"] satisfies (keyof Manifest)[]);

/** The constants that the runtime's text lacks. There are no others: the runtime may have any names. */
function loaderHead(manifest: Manifest, files: readonly string[]): string {
  const needed = Object.fromEntries(Object.entries(manifest).filter(([key]) => !untold.has(key)));
  // A page may hold the script itself: no text of the model's ends it.
  const literal = (value: unknown) => JSON.stringify(value).replaceAll("<", "\\u003c");
  return `${headLine(manifest)}
const manifest = {
  ...${literal(needed)},
  kernels: ${kernelsText(manifest.kernels, literal)},
};
const find = (file) => ({
${files.join("")}})[file]();

`;
}

/** An expression for the list of kernels: names and origins are much the same texts, so each stands there once. */
function kernelsText(kernels: Manifest["kernels"], literal: (value: unknown) => string): string {
  const texts = [...new Set(kernels.flatMap((k) => [k.name, ...k.origins]))];
  const places = new Map(texts.map((text, i) => [text, i]));
  const rows = kernels.map((k) => [k.name, ...k.origins].map((text) => places.get(text)));
  return `((texts) => ${literal(rows)}.map(([name, ...origins]) => ({ name: texts[name], origins: origins.map((i) => texts[i]) })))(${literal(texts)})`;
}

/** The runtime, from which every artifact's JavaScript is made (scripts/bundle-runtime.mjs). The script of its threads is then that very module. */
function runtimeText({ id }: Manifest): string {
  const file = fileURLToPath(new URL("../runtime/model.bundle.js", import.meta.url));
  try {
    // A bundler may call a script as its worker is called: those of two models must not become one.
    return fs.readFileSync(file, "utf8").replace('name: "tilewright-thread"', `name: "tilewright-thread-${id.slice(0, 8)}"`);
  } catch (e) {
    throw new InternalError("runtime", `${file} is missing (${reason(e)}): 'node scripts/bundle-runtime.mjs DIST' makes it in the built folder DIST`);
  }
}
