import { UserError } from "../base/errors.ts";
import { HashCheck } from "./hash.ts";
import { type Manifest, type Model, type StartOptions, hasRelaxedSimd, startModel, threadsMissing } from "./model.ts";
import { builtin, mostThreads, threadsMissingHere } from "./threads.ts";

/** What an artifact's `load` takes. */
export interface LoadOptions {
  /** Threads wanted; `model.info()` tells how many there are and why not more. */
  readonly threads?: number;
  /** The weights, or where they are; of a sharded artifact all pieces in one, or the folder they are in. */
  readonly weights?: ArrayBuffer | Uint8Array | URL;
  /** One of the artifact's modules, where it is imported statically, or its bytes. */
  readonly wasm?: WebAssembly.Module | ArrayBuffer | Uint8Array;
}

/** A file of an artifact: where it is, or what it holds, as pieces of base64 (`compile --inline`). */
export type ArtifactFile = URL | readonly string[];

/** A module and of which kind it is. */
type ChosenModule = Pick<StartOptions, "module" | "relaxed" | "shared">;

/**
 * Loads an artifact. `find` gives its files by name; it is asked only for those that are needed and not given, and may
 * throw where a script cannot know where it lies.
 * @throws UserError for files that are missing or do not fit, and options that are wrong
 */
export async function loadArtifact(manifest: Manifest, find: (file: string) => ArtifactFile, options: LoadOptions = {}): Promise<Model> {
  const threads = options.threads ?? manifest.threads;
  if (!Number.isInteger(threads) || threads < 1 || threads > mostThreads)
    throw new UserError("threads", `threads must be a whole number from 1 to ${mostThreads}, got ${threads}`);
  const [first] = manifest.weights;
  const forget = first === undefined || options.weights !== undefined ? () => {} : fetchAhead(find, first.file);
  try {
    return await start(manifest, find, options, threads);
  } finally {
    forget();
  }
}

async function start(manifest: Manifest, find: (file: string) => ArtifactFile, options: LoadOptions, threads: number): Promise<Model> {
  const missing = threadsMissing(manifest);
  const found =
    options.wasm === undefined ? await loadModule(manifest, find, threads > 1 && missing === null) : kindOf(await givenModule(options.wasm));
  const single =
    options.wasm === undefined
      ? "the artifact has no module for threads: compile it with --features simd,relaxed,mt"
      : "the given module was compiled for one thread: give one of the .mt.wasm files";
  return startModel(manifest, {
    ...found,
    writeWeights: (target) => readWeights(manifest, find, options.weights, target),
    threads,
    threadsMissing: missing ?? (found.shared ? null : single),
  });
}

async function givenModule(given: NonNullable<LoadOptions["wasm"]>): Promise<WebAssembly.Module> {
  if (given instanceof WebAssembly.Module) return given;
  if (given instanceof ArrayBuffer || given instanceof Uint8Array) return compileBytes(given as BufferSource, "the given module");
  throw new UserError("artifact", "the option 'wasm' must be a WebAssembly.Module or the bytes of one of the .wasm files");
}

/** The kind of a module that was given: told by other custom sections. */
function kindOf(module: WebAssembly.Module): ChosenModule {
  const has = (section: string) => WebAssembly.Module.customSections(module, section).length > 0;
  const shared = has("tilewright.mt");
  const missing = shared ? threadsMissingHere() : null;
  if (missing !== null) throw new UserError("engine", `the given module was compiled for threads, but ${missing}`);
  return { module, relaxed: has("tilewright.relaxed"), shared };
}

async function loadModule(manifest: Manifest, find: (file: string) => ArtifactFile, shared: boolean): Promise<ChosenModule> {
  const relaxedHere = hasRelaxedSimd();
  const usable = manifest.modules.filter((m) => (!m.relaxed || relaxedHere) && (!m.shared || shared));
  const best = (list: Manifest["modules"]) => list.find((m) => m.relaxed) ?? list[0];
  const chosen = best(usable.filter((m) => m.shared)) ?? best(usable);
  if (chosen === undefined)
    throw new UserError(
      "engine",
      "this artifact has only a module with relaxed SIMD, which this engine does not take; compile it with --features simd",
    );
  const bytes = new Uint8Array(chosen.bytes);
  await readInto(place(find, chosen.file), chosen.file, bytes);
  return { module: await compileBytes(bytes, chosen.file), relaxed: chosen.relaxed, shared: chosen.shared };
}

/** Where a page's policy or the host forbids compiling, the error says what to do about it. */
async function compileBytes(bytes: BufferSource, what: string): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(bytes);
  } catch (e) {
    const message = (e as Error).message;
    if (/unsafe-eval|security policy|\bCSP\b|disallowed by embedder/i.test(message))
      throw new UserError(
        "engine",
        `compiling WebAssembly is forbidden here (${message}): add 'wasm-unsafe-eval' to script-src of the content security policy, or import ${what} as a module and give it, load({ wasm, weights })`,
      );
    throw new UserError("artifact", `${what} is damaged, or this engine lacks what it needs (${message})`);
  }
}

/** Fills in the weights, piece by piece; while one is fetched, the one before is compared with its hash, if the artifact is sharded. */
async function readWeights(
  manifest: Manifest,
  find: (file: string) => ArtifactFile,
  given: LoadOptions["weights"],
  target: Uint8Array,
): Promise<void> {
  const total = manifest.weights.reduce((n, w) => n + w.bytes, 0);
  if (total !== target.length) throw new UserError("weights", `the manifest's weights have ${total} bytes, expected ${target.length}`);
  const bytes = given === undefined || given instanceof URL ? null : given instanceof Uint8Array ? given : new Uint8Array(given);
  if (bytes !== null && bytes.length !== total) throw new UserError("weights", `the given weights have ${bytes.length} bytes, expected ${total}`);
  const single = manifest.weights.length === 1;
  const from = (file: string): ArtifactFile =>
    !(given instanceof URL) ? place(find, file) : single && !given.pathname.endsWith("/") ? given : new URL(file, given);
  const hashes = new HashCheck();
  let at = 0;
  let checked: Promise<void> = Promise.resolve();
  for (const w of manifest.weights) {
    const piece = target.subarray(at, at + w.bytes);
    if (bytes === null) await readInto(from(w.file), w.file, piece);
    else piece.set(bytes.subarray(at, at + w.bytes));
    await checked;
    if (manifest.sharded) checked = hashes.compare(w.file, piece, w.hash);
    // It may fail before anybody waits for it.
    checked.catch(() => {});
    at += w.bytes;
  }
  await checked;
}

function place(find: (file: string) => ArtifactFile, file: string): ArtifactFile {
  try {
    return find(file);
  } catch {
    throw new UserError(
      "artifact",
      `${file} cannot be found: this script cannot tell where it lies (import.meta.url). Hand the files in, load({ wasm, weights }), or compile the model with --inline`,
    );
  }
}

/** Fills the target, part by part; the bytes must be as many as it has. */
class Filler {
  private at = 0;
  private readonly target: Uint8Array;
  private readonly name: string;
  constructor(target: Uint8Array, name: string) {
    this.target = target;
    this.name = name;
  }
  add(part: Uint8Array): void {
    if (this.at + part.length > this.target.length) throw this.wrong("more");
    this.target.set(part, this.at);
    this.at += part.length;
  }
  end(): void {
    if (this.at !== this.target.length) throw this.wrong(String(this.at));
  }
  wrong(got: string): UserError {
    return new UserError(
      "artifact",
      `${this.name}: expected ${this.target.length} bytes, got ${got}: the file is damaged, or belongs to another build`,
    );
  }
}

/** Reads a whole file, which must have exactly the target's length, without a second copy of it. */
async function readInto(from: ArtifactFile, file: string, target: Uint8Array): Promise<void> {
  // A bundler may have made a URL of a small file's very bytes; to fetch one, a page's policy would have to allow it.
  const held = from instanceof URL ? /^data:[^,]*;base64,(.*)$/.exec(from.href)?.slice(1).map(decodeURIComponent) : from;
  const filler = new Filler(target, from instanceof URL && held === undefined ? from.href : file);
  if (held !== undefined) for (const piece of held) filler.add(decodeBase64(piece));
  else if ((from as URL).protocol === "file:") return readFile(from as URL, target, filler);
  else await fetchFile(from as URL, filler);
  filler.end();
}

function decodeBase64(text: string): Uint8Array {
  const own = Uint8Array as unknown as { readonly fromBase64?: (text: string) => Uint8Array };
  if (own.fromBase64 !== undefined) return own.fromBase64(text);
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < bytes.length; ++i) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

async function readFile(url: URL, target: Uint8Array, filler: Filler): Promise<void> {
  const unreadable = (why: string) => new UserError("artifact", `${url.pathname}: cannot be read (${why})`);
  let fs: typeof import("node:fs/promises");
  try {
    fs = builtin("node:fs/promises");
  } catch (e) {
    throw unreadable(`${(e as Error).message}; a page gets its files over HTTP`);
  }
  const file = await fs.open(url).catch((e: Error) => {
    throw unreadable(e.message);
  });
  try {
    const { size } = await file.stat();
    if (size !== target.length) throw filler.wrong(String(size));
    for (let at = 0; at < size; ) {
      const { bytesRead } = await file.read(target, at, Math.min(size - at, 1 << 26), at);
      if (bytesRead === 0) throw filler.wrong(String(at));
      at += bytesRead;
    }
  } finally {
    await file.close();
  }
}

/** Requests whose answers are not read yet, by address. */
const underWay = new Map<string, Promise<Response>>();

/** Asks for a file that will be needed, while others are on their way; gives what forgets the request if it is not. */
function fetchAhead(find: (file: string) => ArtifactFile, file: string): () => void {
  let url: ArtifactFile = [];
  try {
    url = find(file);
  } catch {
    // Said when it is needed.
  }
  if (!(url instanceof URL) || !/^http/.test(url.protocol) || underWay.has(url.href)) return () => {};
  const { href } = url;
  const asked = fetch(url);
  underWay.set(href, asked);
  // It may fail, too, before anybody waits for it.
  asked.catch(() => {});
  return () => {
    if (underWay.get(href) !== asked) return;
    underWay.delete(href);
    asked.then((r) => r.body?.cancel()).catch(() => {});
  };
}

async function fetchFile(url: URL, filler: Filler): Promise<void> {
  const hint = "is the file served beside the script?";
  const unfetched = (e: Error) => new UserError("artifact", `${url}: cannot be fetched (${e.message}); ${hint}`);
  const asked = underWay.get(url.href) ?? fetch(url);
  underWay.delete(url.href);
  const response = await asked.catch((e: Error) => {
    throw unfetched(e);
  });
  if (!response.ok || response.body === null) throw new UserError("artifact", `${url}: ${response.status} ${response.statusText}; ${hint}`);
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      filler.add(value);
    }
  } catch (e) {
    reader.cancel().catch(() => {});
    throw e instanceof UserError ? e : unfetched(e as Error);
  }
}
