import { UnsupportedError, UserError } from "../base/errors.ts";
import { type DeclaredPort, type ImportOptions, declaredPorts, importSource } from "../importer.ts";
import type { LibraryOptions, Model, PortInfo } from "../index.ts";
import type { WorkerOptions } from "../worker/index.ts";
import { buildArtifact, featuresHere, startArtifact } from "../load.ts";
import { inspectOnnx, unsupported } from "../frontends/onnx/import.ts";
import { plainName } from "../frontends/onnx/symbols.ts";
import { launchesOf } from "../targets/launches.ts";
import { typeOf } from "./dtypes.ts";
import type { Log } from "./env.ts";
import { type Engine, type Host, type LoadedModel, plainPath, resolverOf } from "./host.ts";
import type { Settings } from "./options.ts";
import { Profile } from "./profile.ts";
import type { InferenceSession, OnnxModelOptions } from "./session.ts";
import { type Form, SpecialEngine, mayBeSpecial, specialForm } from "./special.ts";

/** From a model's file to one that runs. */

export interface Started {
  readonly engine: Engine;
  readonly inputs: readonly InferenceSession.TensorValueMetadata[];
  readonly outputs: readonly InferenceSession.TensorValueMetadata[];
  /** Null unless asked for. */
  readonly profile: Profile | null;
}

/**
 * Compiles and starts a model.
 * @param native with the machine's own code instead of WebAssembly
 * @throws UserError, UnsupportedError for what is wrong with the model or the options
 */
export async function startModel(
  model: string | Uint8Array,
  native: boolean,
  settings: Settings,
  options: InferenceSession.SessionOptions,
  host: Host,
  log: Log,
): Promise<Started> {
  const loaded = typeof model === "string" ? await host.load(model) : { bytes: model, resolver: null, name: "model", close: () => {} };
  try {
    checkFormat(loaded.bytes);
    const { threads, exact, deterministic } = settings;
    const declared = declaredPorts(loaded.bytes);
    const symbols = symbolsOf(declared.inputs, options.freeDimensionOverrides ?? {}, log);
    const files = await externalFiles(options.externalData ?? [], host);
    const common = { name: loaded.name, threads, exact, deterministic, symbols };
    const compile = { ...common, resolver: resolverOf(files, loaded.resolver) };
    const apart = settings.apart ? () => startApart(loaded, files, common, host, log) : null;
    const { engine, profile } = native
      ? await startNative(loaded, compile, settings, host)
      : await startWasm(loaded, declared, compile, settings, apart, log);
    const { threads: running, threads_reason } = engine.info();
    log.verbose(`${loaded.name}: ${running} thread${running === 1 ? "" : "s"} (${threads_reason})`);
    return { engine, profile, ...metadataOf(engine, declared) };
  } finally {
    loaded.close();
  }
}

/** @throws UnsupportedError for the original's own format */
function checkFormat(bytes: Uint8Array): void {
  if (new TextDecoder("latin1").decode(bytes.subarray(4, 8)) !== "ORTM") return;
  throw new UnsupportedError(
    "ort-format",
    "this is a model in ONNX Runtime's own format (.ort), which only ONNX Runtime reads: give the ONNX file that it was made from",
  );
}

/** Compiles in a worker; null where there can be none. */
async function startApart(
  loaded: LoadedModel,
  files: ReadonlyMap<string, Uint8Array>,
  options: WorkerOptions,
  host: Host,
  log: Log,
): Promise<Engine | null> {
  // A path is read there, with the external data beside it.
  const model = files.size === 0 ? (loaded.path ?? loaded.bytes) : loaded.bytes;
  const beside = files.size === 0 ? {} : { files: Object.fromEntries(files) };
  try {
    return engineOf(await host.apart(model, { ...options, ...beside, keptMemory: 0 }), null);
  } catch (e) {
    if (!(e instanceof UserError) || e.code !== "worker") throw e;
    log.warning(`the model is compiled on this thread, though env.wasm.proxy is set: ${e.message}`);
    return null;
  }
}

/** Compiles the model as it is, where that can be done; otherwise for what each run gives. */
async function startWasm(
  loaded: LoadedModel,
  declared: Declared,
  options: LibraryOptions,
  settings: Settings,
  apart: (() => Promise<Engine | null>) | null,
  log: Log,
): Promise<Pick<Started, "engine" | "profile">> {
  const profile = settings.profile ? new Profile() : null;
  const compile = (bytes: Uint8Array) => (given: Given) => compileWasm(bytes, { ...options, ...given }, profile);
  let [engine, form]: [Engine | null, Form | null] = [null, "nothing"];
  try {
    engine = (await apart?.()) ?? (await compile(loaded.bytes)({}));
    if (!mayBeSpecial(declared)) return { profile, engine };
  } catch (e) {
    form = specialForm(declared, e);
    if (form === null) throw e;
    checkOps(loaded.bytes);
    log.verbose(`${loaded.name} is compiled when it runs, for what its inputs then are: ${(e as Error).message}`);
  }
  // A file is read again when it is needed. Bytes are copied: the caller may change them after `create`.
  const copy = loaded.reread === undefined ? loaded.bytes.slice() : new Uint8Array(0);
  const later = (given: Given): Promise<Engine> => compile(loaded.reread?.() ?? copy)(given).finally(loaded.close);
  return { profile, engine: new SpecialEngine(declared, form, engine, later, log) };
}

/** @throws UnsupportedError for ops that this version does not have: no form helps there */
function checkOps(bytes: Uint8Array): void {
  const missing = inspectOnnx(bytes).problems.filter((p) => p.reason.startsWith("no mapping for"));
  if (missing.length > 0) throw unsupported(missing);
}

/** Options that importers take besides the library's. */
type Given = Pick<ImportOptions, "shapes" | "values">;

async function compileWasm(bytes: Uint8Array, options: Omit<LibraryOptions, "shapes"> & Given, profile: Profile | null): Promise<Engine> {
  const { resolver, symbols, shapes, values, name = "model", ...rest } = options;
  const source = importSource(bytes, {
    name,
    ...(resolver === undefined ? {} : { resolver }),
    ...(symbols === undefined ? {} : { symbols }),
    ...(shapes === undefined ? {} : { shapes }),
    ...(values === undefined ? {} : { values }),
  });
  // Sessions keep no outputs inside: no memory is set aside for them.
  const { artifact, compiled } = buildArtifact(source, { ...rest, name, keptMemory: 0, features: featuresHere(rest), profile: profile !== null });
  const clock = profile?.clock(launchesOf(compiled.program).map((l) => ({ kernel: l.kernel.name, nodes: l.origin })));
  return engineOf(await startArtifact(artifact, undefined, clock), profile);
}

function engineOf(model: Model, profile: Profile | null): Engine {
  return {
    inputs: model.inputs,
    outputs: model.outputs,
    run: (inputs) => {
      profile?.begin();
      return model.run(inputs, { views: true });
    },
    info: () => model.info(),
    dispose: () => model.dispose(),
  };
}

async function startNative(
  loaded: LoadedModel,
  options: LibraryOptions,
  settings: Settings,
  host: Host,
): Promise<Pick<Started, "engine" | "profile">> {
  if (settings.profile)
    throw new UserError(
      "option",
      "session option enableProfiling: there is none for native code here; 'tilewright bench MODEL --target native --per-kernel' times its kernels",
    );
  if (host.native === null) throw new UserError("provider", "there is no native code here");
  return { engine: await host.native(loaded.bytes, options), profile: null };
}

/** Sizes that are overridden. */
function symbolsOf(inputs: readonly DeclaredPort[], overrides: Readonly<Record<string, number>>, log: Log): NonNullable<LibraryOptions["symbols"]> {
  const names = new Set(inputs.flatMap((i) => i.dims ?? []).filter((d) => typeof d === "string"));
  const fixed: Record<string, number> = {};
  for (const [name, size] of Object.entries(overrides)) {
    if (!Number.isSafeInteger(size) || size < 0)
      throw new UserError("option", `session option freeDimensionOverrides: '${name}' is ${size}, expected a whole number from 0 on`);
    if (!names.has(name)) {
      log.verbose(`option freeDimensionOverrides: the model has no size '${name}'; it has: ${[...names].join(", ") || "none"}`);
      continue;
    }
    const alike = [...names].filter((n) => plainName(n) === plainName(name));
    if (alike.length > 1)
      throw new UserError(
        "option",
        `session option freeDimensionOverrides: the names ${alike.join(" and ")} are too much alike: fix them in the model`,
      );
    fixed[plainName(name)] = size;
  }
  return fixed;
}

/** Given files of external data, by the place that the model names. */
async function externalFiles(given: NonNullable<OnnxModelOptions["externalData"]>, host: Host): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for (const file of given) {
    const { path, data } = typeof file === "string" ? { path: file, data: file } : file;
    if (typeof path !== "string") throw new UserError("option", "session option externalData: each entry is a path, or { path, data }");
    const bytes = await bytesOf(data, host);
    files.set(plainPath(path), bytes);
    // A URL or a longer path: the model names the file alone.
    const last =
      typeof file === "string"
        ? path
            .replace(/[?#].*$/, "")
            .split(/[\\/]/)
            .pop()
        : undefined;
    if (last !== undefined && !files.has(last)) files.set(last, bytes);
  }
  return files;
}

async function bytesOf(data: unknown, host: Host): Promise<Uint8Array> {
  if (typeof data === "string") {
    const file = await host.load(data);
    file.close();
    return file.bytes;
  }
  if (typeof Blob !== "undefined" && data instanceof Blob) return new Uint8Array(await data.arrayBuffer());
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (data instanceof ArrayBuffer || (typeof SharedArrayBuffer !== "undefined" && data instanceof SharedArrayBuffer)) return new Uint8Array(data);
  throw new UserError("option", `session option externalData: data is a URL or path, a Blob, or bytes; got ${typeof data}`);
}

type Declared = ReturnType<typeof declaredPorts>;

/** What the model says of its interface, with what the compiler found out. */
function metadataOf(engine: Engine, declared: Declared): Pick<Started, "inputs" | "outputs"> {
  const texts = new Map<string, string>();
  const of = (ports: readonly PortInfo[], own: readonly DeclaredPort[]) =>
    ports.map((p) => ({ port: p, dims: own.find((d) => d.name === p.name)?.dims ?? null }));
  const inputs = of(engine.inputs, declared.inputs);
  for (const { port, dims } of inputs) port.dims.forEach((d, i) => typeof d === "string" && texts.set(d, texts.get(d) ?? textOf(dims?.[i]) ?? ""));
  const describe = ({ port, dims }: (typeof inputs)[number]): InferenceSession.TensorValueMetadata => ({
    name: port.name,
    isTensor: true,
    type: typeOf(port.dtype, port.name),
    shape: port.dims.map((d, i) => (typeof d === "number" ? d : (textOf(dims?.[i]) ?? texts.get(d) ?? ""))),
  });
  return { inputs: inputs.map(describe), outputs: of(engine.outputs, declared.outputs).map(describe) };
}
function textOf(d: number | string | null | undefined): string | null {
  return typeof d === "string" ? d : null;
}
