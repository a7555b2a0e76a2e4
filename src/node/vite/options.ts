import { UserError } from "../../base/errors.ts";
import { parseBytes, parseCount, parseRoom } from "../option-text.ts";
import type { Feature } from "../../load.ts";

/** How a model is compiled: what the options of `tilewright compile` say, under the same names. */
export interface ModelOptions {
  /** Threads that `load()` takes without more. */
  readonly threads?: number;
  /** Sizes, each as `NAME=1x3x224x224`, `SYMBOL=4` or `SYMBOL=1..16`. */
  readonly shape?: string | readonly string[];
  /** The same bits on every engine: no relaxed operations. */
  readonly deterministic?: boolean;
  /** No algebraic change of an algorithm. */
  readonly exact?: boolean;
  /** Modules to make; all without it. */
  readonly features?: readonly Feature[];
  /** Fail when the model needs more memory: bytes, or a text like `512MiB`. */
  readonly maxMemory?: number | string;
  /** Room for tensors that runs keep inside: bytes, or a text like `4MiB`. */
  readonly keptMemory?: number | string;
  /** Weights in files of at most this size: bytes, or a text like `20MiB`. */
  readonly shard?: number | string;
  /** Modules and weights as text in the import's own script, for small models and for builds of one file. */
  readonly inline?: boolean;
  /** A file of schedules that `tilewright tune` found; a relative path starts at Vite's root. */
  readonly db?: string;
}

/** Options of one import, in the form in which the compiling thread gets them: plain, complete and in one order, for they decide the cache's key. */
export interface Request {
  readonly threads: number | null;
  readonly shape: readonly string[];
  readonly deterministic: boolean;
  readonly exact: boolean;
  readonly features: readonly Feature[] | null;
  readonly maxMemory: number | null;
  readonly keptMemory: number | null;
  readonly shard: number | null;
  readonly inline: boolean;
  readonly db: string | null;
}

/** Queries that ask Vite, not us, for something. */
const foreign = ["url", "raw", "no-inline", "worker", "sharedworker", "init"];
/** What Vite adds to queries of its own accord. */
const ignored = ["t", "v", "import"];

type OptionName = keyof ModelOptions;
const fromText: { readonly [K in OptionName]-?: (texts: readonly string[]) => Required<ModelOptions>[K] } = {
  threads: (t) => parseCount(1)(last(t)),
  shape: (t) => t,
  deterministic: (t) => parseFlag(last(t)),
  exact: (t) => parseFlag(last(t)),
  features: (t) => t.flatMap((x) => x.split(",")) as Feature[],
  maxMemory: last,
  keptMemory: last,
  shard: last,
  inline: (t) => parseFlag(last(t)),
  db: last,
};

function last(list: readonly string[]): string {
  return list[list.length - 1] ?? "";
}
function parseFlag(text: string): boolean {
  if (text === "" || text === "true") return true;
  if (text === "false") return false;
  throw new UserError("option", `'${text}' is neither true nor false`);
}

/** An id's file and its query, without the question mark. */
export function splitId(id: string): { readonly file: string; readonly query: string } {
  const [file = "", query = ""] = id.split("#", 1)[0]?.split(/\?(.*)/s, 2) ?? [];
  return { file, query };
}

/** Is an id (a file with its query) a model to compile? */
export function isModelId(id: string): boolean {
  const { file, query } = splitId(id);
  if (id.includes("\0") || !/\.(onnx|tw)$/.test(file)) return false;
  const asked = new URLSearchParams(query);
  return !foreign.some((name) => asked.has(name));
}

/** The part of a query that is ours, in one order and spelling; empty where there is none. */
export function ownQuery(query: string): string {
  return query
    .split("&")
    .filter((part) => part !== "" && !ignored.includes(part.split("=", 1)[0] ?? ""))
    .join("&");
}

/**
 * The options that an import's query gives, for example `threads=2&exact&shape=batch=1..16`.
 * @throws UserError `option` for names that are no options, and values that are none
 */
export function optionsOfQuery(query: string): ModelOptions {
  const texts = new Map<OptionName, string[]>();
  for (const [key, value] of new URLSearchParams(ownQuery(query))) {
    const name = key.replace(/-([a-z])/g, (_, c: string) => c.toUpperCase());
    if (!isOptionName(name))
      throw new UserError("option", `the query '?${query}' asks for '${key}', which is no option; there are: ${Object.keys(fromText).join(", ")}`);
    texts.set(name, [...(texts.get(name) ?? []), value]);
  }
  return Object.fromEntries([...texts].map(([name, list]) => [name, fromText[name](list)]));
}

function isOptionName(name: string): name is OptionName {
  return Object.hasOwn(fromText, name);
}

/**
 * One import's options: later ones come before earlier ones, one by one.
 * @throws UserError `option` for values of a wrong kind
 */
export function requestOf(layers: readonly ModelOptions[], absolute: (file: string) => string): Request {
  const o: ModelOptions = Object.assign({}, ...layers);
  for (const name of Object.keys(o))
    if (!isOptionName(name)) throw new UserError("option", `there is no option '${name}'; there are: ${Object.keys(fromText).join(", ")}`);
  const bytes = (size: number | string | undefined) => (size === undefined ? null : parseBytes(String(size)));
  return {
    threads: o.threads === undefined ? null : parseCount(1)(String(o.threads)),
    shape: o.shape === undefined ? [] : typeof o.shape === "string" ? [o.shape] : o.shape,
    deterministic: o.deterministic ?? false,
    exact: o.exact ?? false,
    features: o.features ?? null,
    maxMemory: bytes(o.maxMemory),
    keptMemory: o.keptMemory === undefined ? null : parseRoom(String(o.keptMemory)),
    shard: bytes(o.shard),
    inline: o.inline ?? false,
    db: o.db === undefined ? null : absolute(o.db),
  };
}
