import type { ConstantData } from "../base/constant.ts";
import { UserError } from "../base/errors.ts";
import type { ExternalDataResolver } from "../frontends/onnx/tensor.ts";
import type { Input, LibraryOptions, Model, Outputs, PortInfo } from "../index.ts";
import { type WorkerOptions, compile as compileApart } from "../worker/index.ts";

/** What differs between a browser and Node: files, the machine, and native code. */

/** A compiled model. */
export interface Engine {
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  /** Outputs may be views of the model's memory, valid until the next run. */
  run(inputs: Readonly<Record<string, Input>>): Promise<Outputs>;
  dispose(): void;
  /** Threads it runs on, and why not more. */
  info(): { readonly threads: number; readonly threads_reason: string };
}

/** A model's bytes, and where its external data are. */
export interface LoadedModel {
  readonly bytes: Uint8Array;
  readonly resolver: ExternalDataResolver | null;
  /** The file's name without its extension. */
  readonly name: string;
  /** The file's path, where there is one. */
  readonly path?: string;
  /** Its bytes once more. */
  readonly reread?: () => Uint8Array;
  readonly close: () => void;
}

export interface Host {
  /** @param uri a URL, or what this host takes for one; @throws UserError when there is nothing to be read */
  load(uri: string): Promise<LoadedModel>;
  readonly processors: number;
  /** Compiles to native code; null where there is none. */
  readonly native: ((bytes: Uint8Array, options: LibraryOptions) => Promise<Engine>) | null;
  /** Compiles in a worker, given bytes or (Node) a path; @throws UserError `worker` where none can be had */
  readonly apart: (model: Uint8Array | string, options: WorkerOptions) => Promise<Model>;
  /** Keeps a text; gives the place where it is. Null: there are no files here. */
  readonly write: ((name: string, text: string) => string) | null;
}

/** The bytes at a URL. @throws UserError `file` when they cannot be had */
export async function fetchBytes(url: string): Promise<Uint8Array> {
  let response: Response;
  try {
    response = await fetch(url);
  } catch (e) {
    throw new UserError("file", `${url}: cannot be fetched (${causeOf(e)})`);
  }
  if (!response.ok) throw new UserError("file", `${url}: expected a file, got HTTP status ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}
function causeOf(e: unknown): string {
  const { message, cause } = e as Error;
  return cause instanceof Error ? cause.message : message;
}

/** The last part of a URL or path, without extension and query. */
export function baseName(uri: string): string {
  if (uri.startsWith("data:") || uri.startsWith("blob:")) return "model";
  const file =
    uri
      .replace(/[?#].*$/, "")
      .split(/[\\/]/)
      .pop() ?? "";
  return file.replace(/\.[^.]*$/, "") || "model";
}

/** Browsers, workers, and whatever else has `fetch`. */
const webHost: Host = {
  async load(uri) {
    return { bytes: await fetchBytes(uri), resolver: null, name: baseName(uri), close: () => {} };
  },
  get processors() {
    return globalThis.navigator?.hardwareConcurrency ?? 1;
  },
  native: null,
  apart: (model, options) => compileApart(model as Uint8Array, options),
  write: null,
};

let host: Host = webHost;

/** The host that sessions are made on: `src/node/ort.ts` sets Node's. */
export function hostHere(): Host {
  return host;
}
export function setHost(h: Host): void {
  host = h;
}

/** Bytes of external data by the place that the model names; what is not among them is asked of `otherwise`. */
export function resolverOf(files: ReadonlyMap<string, Uint8Array>, otherwise: ExternalDataResolver | null): ExternalDataResolver {
  return {
    open(location, offset, length): ConstantData {
      const bytes = files.get(plainPath(location));
      if (bytes === undefined) {
        if (otherwise !== null) return otherwise.open(location, offset, length);
        const given = files.size === 0 ? "none were given" : `given are: ${[...files.keys()].join(", ")}`;
        throw new UserError(
          "external-data-missing",
          `the model has external data in '${location}', but ${given}; give them as { externalData: [{ path: '${location}', data }] }`,
        );
      }
      const wanted = length ?? bytes.length - offset;
      if (wanted < 0 || offset + wanted > bytes.length)
        throw new UserError(
          "external-data-short",
          `external data '${location}': the model needs bytes ${offset} to ${offset + Math.max(0, wanted)}, but there are only ${bytes.length}`,
        );
      const part = bytes.subarray(offset, offset + wanted);
      return { byteLength: wanted, key: `${location}:${offset}+${wanted}`, read: (at, n) => part.subarray(at, at + n) };
    },
  };
}

/** A place as it is looked up: without `./` before it. */
export function plainPath(path: string): string {
  return path.replace(/^(?:\.\/)+/, "");
}
