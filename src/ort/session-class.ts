import { UserError } from "../base/errors.ts";
import { resolveBackend } from "./backends.ts";
import { Log } from "./env.ts";
import { backendOn } from "./handler.ts";
import { hostHere } from "./host.ts";
import type { Backend, InferenceSessionHandler, SessionHandler, InferenceSession as Session } from "./session.ts";
import { isTensor } from "./tensor-class.ts";

/** Sessions as programs see them: the arguments of the API, checked. */

type Options = Session.SessionOptions;

/** Sessions of the API. */
export class SessionClass implements Session {
  private readonly handler: InferenceSessionHandler;

  static async create(model: unknown, ...rest: readonly unknown[]): Promise<Session> {
    const { source, options } = argumentsOf(model, rest);
    const log = new Log(options.logSeverityLevel, options.logId);
    const { backend, providers } = await resolveBackend(options.executionProviders, ownBackends(), log);
    return new SessionClass(await backend.createInferenceSessionHandler(source, { ...options, executionProviders: providers }));
  }

  constructor(handler: InferenceSessionHandler) {
    this.handler = handler;
  }

  get inputNames(): readonly string[] {
    return this.handler.inputNames;
  }
  get outputNames(): readonly string[] {
    return this.handler.outputNames;
  }
  get inputMetadata(): readonly Session.ValueMetadata[] {
    return this.handler.inputMetadata;
  }
  get outputMetadata(): readonly Session.ValueMetadata[] {
    return this.handler.outputMetadata;
  }

  async run(feeds: Session.FeedsType, second?: Session.FetchesType | Session.RunOptions, third?: Session.RunOptions): Promise<Session.ReturnType> {
    if (typeof feeds !== "object" || feeds === null || Array.isArray(feeds) || isTensor(feeds))
      throw new UserError("feeds", "run takes an object with a tensor for each input's name");
    for (const name of this.inputNames)
      if (feeds[name] === undefined)
        throw new UserError("missing-input", `input '${name}' is missing; the inputs are: ${this.inputNames.join(", ")}`);
    const { fetches, options } = this.fetchesOf(second, third);
    return this.handler.run(feeds, fetches, options);
  }

  /** The second argument is fetches, or options: an object is fetches when it has an output's name with a tensor or null. */
  private fetchesOf(second: unknown, third: unknown): { fetches: SessionHandler.FetchesType; options: Session.RunOptions } {
    if (second === null || isTensor(second) || (second !== undefined && typeof second !== "object"))
      throw new UserError(
        "fetches",
        "the second argument of run is an array of outputs' names, an object with a tensor or null for names, or the options",
      );
    const all = (): SessionHandler.FetchesType => Object.fromEntries(this.outputNames.map((n) => [n, null]));
    if (Array.isArray(second)) return { fetches: this.named(second), options: optionsOf(third) };
    const given = Object.entries(second ?? {}).filter(([name, v]) => this.outputNames.includes(name) && (v === null || isTensor(v)));
    if (given.length > 0) return { fetches: Object.fromEntries(given) as SessionHandler.FetchesType, options: optionsOf(third) };
    return { fetches: all(), options: optionsOf(second) };
  }

  private named(names: readonly unknown[]): SessionHandler.FetchesType {
    if (names.length === 0) throw new UserError("fetches", "the array of outputs' names is empty; leave it out to get all outputs");
    return Object.fromEntries(
      names.map((name) => {
        if (typeof name === "string" && this.outputNames.includes(name)) return [name, null];
        throw new UserError("unknown-output", `the model has no output '${String(name)}'; it has: ${this.outputNames.join(", ")}`);
      }),
    );
  }

  release(): Promise<void> {
    return this.handler.dispose();
  }
  startProfiling(): void {
    this.handler.startProfiling();
  }
  endProfiling(): void {
    this.handler.endProfiling();
  }
}

/** tilewright's backends here, by provider name. */
function ownBackends(): Map<string, Backend> {
  const host = hostHere();
  const wasm = backendOn(host, false);
  const own = new Map([
    ["wasm", wasm],
    ["cpu", wasm],
  ]);
  if (host.native !== null) own.set("native", backendOn(host, true));
  return own;
}

/** Names of the execution providers that there are here. */
export function listSupportedBackends(): { name: string; bundled: boolean }[] {
  return [...ownBackends().keys()].map((name) => ({ name, bundled: name !== "native" }));
}

Object.defineProperty(SessionClass, "name", { value: "InferenceSession" });

function optionsOf(x: unknown): object {
  if (x === undefined) return {};
  if (typeof x !== "object" || x === null) throw new UserError("options", `the options are an object, got ${x === null ? "null" : typeof x}`);
  return x;
}

/** @throws UserError for arguments of other kinds, and parts of a buffer that it does not have */
function argumentsOf(model: unknown, rest: readonly unknown[]): { source: string | Uint8Array; options: Options } {
  if (typeof model === "string" || model instanceof Uint8Array) return { source: model, options: optionsOf(rest[0]) };
  if (!(model instanceof ArrayBuffer) && !(typeof SharedArrayBuffer !== "undefined" && model instanceof SharedArrayBuffer))
    throw new UserError("model", `a session is made of a URL or path, an ArrayBuffer or a Uint8Array; got ${model === null ? "null" : typeof model}`);
  const [offset, length, options] = rest;
  if (typeof offset !== "number") return { source: new Uint8Array(model), options: optionsOf(offset) };
  if (!Number.isSafeInteger(offset) || offset < 0 || offset >= model.byteLength)
    throw new UserError("model", `byteOffset is ${offset}, expected a whole number from 0 to ${model.byteLength - 1}`);
  if (length !== undefined && typeof length !== "number") throw new UserError("model", `byteLength is a number, got ${typeof length}`);
  const most = model.byteLength - offset;
  if (length !== undefined && (!Number.isSafeInteger(length) || length <= 0 || length > most))
    throw new UserError("model", `byteLength is ${length}, expected a whole number from 1 to ${most}`);
  return { source: new Uint8Array(model, offset, length ?? most), options: optionsOf(options) };
}
