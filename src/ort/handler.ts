import { UserError } from "../base/errors.ts";
import type { Input, Outputs } from "../index.ts";
import type { NumberArray } from "../runtime/values.ts";
import { apiArray, isNumeric, isPacked, storedArray, typeOf } from "./dtypes.ts";
import { Log } from "./env.ts";
import type { Host } from "./host.ts";
import { type Started, startModel } from "./model.ts";
import { settingsOf } from "./options.ts";
import type { Backend, InferenceSession, InferenceSessionHandler, SessionHandler } from "./session.ts";
import type { Tensor } from "./tensor.ts";
import { tensorOf } from "./tensor-class.ts";

/** tilewright as a backend of the API. */

/** @param native with the machine's own code */
export function backendOn(host: Host, native: boolean): Backend {
  return {
    init: () => Promise.resolve(),
    async createInferenceSessionHandler(model, options = {}) {
      const log = new Log(options.logSeverityLevel, options.logId);
      const settings = settingsOf(options, host.processors, log);
      const begun = performance.now();
      const started = await startModel(model, native, settings, options, host, log);
      started.profile?.add("Session", "session_initialization", begun, performance.now());
      return new Handler(started, host, options.profileFilePrefix ?? "onnxruntime_profile_", log);
    },
  };
}

class Handler implements InferenceSessionHandler {
  readonly inputMetadata: readonly InferenceSession.TensorValueMetadata[];
  readonly outputMetadata: readonly InferenceSession.TensorValueMetadata[];
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /** Null once it was disposed of. */
  private started: Started | null;
  private readonly host: Host;
  private readonly profilePrefix: string;
  private readonly log: Log;
  /** Runs follow one another: outputs are views of memory that the next run writes to. */
  private queue: Promise<unknown> = Promise.resolve();

  constructor(started: Started, host: Host, profilePrefix: string, log: Log) {
    this.started = started;
    this.host = host;
    this.profilePrefix = profilePrefix;
    this.log = log;
    this.inputMetadata = started.inputs;
    this.outputMetadata = started.outputs;
    this.inputNames = started.inputs.map((i) => i.name);
    this.outputNames = started.outputs.map((o) => o.name);
  }

  run(
    feeds: SessionHandler.FeedsType,
    fetches: SessionHandler.FetchesType,
    options: InferenceSession.RunOptions,
  ): Promise<SessionHandler.ReturnType> {
    const result = this.queue.then(() => this.execute(feeds, fetches, options));
    this.queue = result.catch(() => {});
    return result;
  }

  private async execute(
    feeds: SessionHandler.FeedsType,
    fetches: SessionHandler.FetchesType,
    options: InferenceSession.RunOptions,
  ): Promise<SessionHandler.ReturnType> {
    const { engine, profile } = this.live();
    if (options.terminate) throw new UserError("terminated", "the run was not begun: its option terminate is true");
    const begun = performance.now();
    const inputs = await this.inputsOf(feeds);
    const outputs = await engine.run(inputs);
    const results = this.resultsOf(outputs, fetches);
    profile?.add("Session", "model_run", begun, performance.now());
    return results;
  }

  private live(): Started {
    if (this.started === null) throw new UserError("disposed", "the session was released: create it again");
    return this.started;
  }

  private async inputsOf(feeds: SessionHandler.FeedsType): Promise<Record<string, Input>> {
    for (const name of Object.keys(feeds))
      if (!this.inputNames.includes(name)) this.log.warning(`the model has no input '${name}'; it has: ${this.inputNames.join(", ")}`);
    const inputs: Record<string, Input> = {};
    for (const { name, type, shape } of this.inputMetadata) inputs[name] = await inputOf(name, type, shape, feeds[name]);
    return inputs;
  }

  /** The outputs that were asked for, in the order in which they were. */
  private resultsOf(outputs: Outputs, fetches: SessionHandler.FetchesType): SessionHandler.ReturnType {
    const results: SessionHandler.ReturnType = {};
    for (const [name, given] of Object.entries(fetches)) {
      const output = outputs[name];
      if (output === undefined) throw new UserError("unknown-output", `the model has no output '${name}'; it has: ${this.outputNames.join(", ")}`);
      const type = typeOf(output.dtype, name);
      if (given === null) results[name] = tensorOf(type, apiArray(type, output.data.slice()) as Tensor.DataType, [...output.dims]);
      else results[name] = filled(name, given, type, output.dims, output.data);
    }
    return results;
  }

  /** After the run that is going on; those that wait are refused. */
  async dispose(): Promise<void> {
    const { engine } = this.live();
    this.started = null;
    await this.queue;
    engine.dispose();
  }

  startProfiling(): void {
    const { profile } = this.live();
    if (profile === null) throw noProfile();
    profile.restart();
  }
  endProfiling(): void {
    const { profile } = this.live();
    if (profile === null) throw noProfile();
    const text = profile.end();
    const time = new Date().toISOString().replace(/[-:]/g, "").replace("T", "_").slice(0, 15);
    const place = this.host.write?.(`${this.profilePrefix}_${time}.json`, text);
    console.info(place === undefined ? text : `[tilewright/ort] the profile is in ${place}; chrome://tracing or Perfetto shows it`);
  }
}

function noProfile(): UserError {
  return new UserError("profile", "the session was made without the option enableProfiling: create it with { enableProfiling: true }");
}

/** A tensor as the model takes it. @throws UserError for what is no tensor, and one of another type or packing */
async function inputOf(name: string, type: Tensor.Type, shape: readonly (number | string)[], tensor: unknown): Promise<Input> {
  const expected = `expected a tensor of type ${type} and dims [${shape.map((d) => d || "?").join(", ")}]`;
  if (typeof tensor !== "object" || tensor === null || !("type" in tensor) || !("dims" in tensor))
    throw new UserError("dtype", `input '${name}': ${expected}, got ${tensor === null ? "null" : typeof tensor}`);
  const t = tensor as Tensor;
  if (t.type === "string" || !isNumeric(t.type))
    throw new UserError("dtype", `input '${name}': ${expected}; tensors of type ${t.type} are not supported`);
  if (t.type !== type) throw new UserError("dtype", `input '${name}': ${expected}, got one of type ${t.type}`);
  const onDevice = t.location === "texture" || t.location === "gpu-buffer" || t.location === "ml-tensor";
  const data = (onDevice ? await t.getData() : t.data) as NumberArray;
  const dims = [...t.dims];
  if (isPacked(type)) {
    const bytes = Math.ceil(dims.reduce((n, d) => n * d, 1) / 2);
    if (data.length !== bytes)
      throw new UserError(
        "size",
        `input '${name}': a tensor of type ${type} and dims [${dims.join(", ")}] is packed in ${bytes} bytes, got ${data.length}`,
      );
  }
  return { data: storedArray(type, data), dims };
}

/** Writes an output to a tensor that was given for it. @throws UserError when it is of another type or shape */
function filled(name: string, given: Tensor, type: Tensor.Type, dims: readonly number[], data: NumberArray): Tensor {
  const fits = given.type === type && given.dims.length === dims.length && given.dims.every((d, i) => d === dims[i]);
  if (!fits || !isNumeric(type))
    throw new UserError(
      "fetch",
      `output '${name}' is ${type} [${dims.join(", ")}], but the tensor given for it is ${given.type} [${given.dims.join(", ")}]; give null for a new one`,
    );
  const target = storedArray(type, given.data as NumberArray);
  target.set(data as never);
  return given;
}
