import type { TraceListener } from "../../base/trace.ts";
import type { ExternalDataResolver } from "../../frontends/onnx/tensor.ts";
import { importSource } from "../../importer.ts";
import { type CompileOptions, buildArtifact, checkOptions, featuresHere, moduleHere } from "../../load.ts";
import { errorInfo } from "../errors.ts";
import type { Job, News, SentModel, SentOptions, Stage } from "../protocol.ts";
import { filesResolver } from "./files.ts";
import { stepsOf } from "./steps.ts";

export type Tell = (n: News, transfer: Transferable[]) => void;

/** A model that was read, with what opens the files beside it. */
export interface ReadModel {
  readonly bytes: Uint8Array;
  readonly name?: string;
  readonly resolver?: ExternalDataResolver;
  readonly close?: () => void;
}
/** Reads what was sent as a text: only Node can. */
export type ReadFile = (path: string) => ReadModel;

/** Does a job, and tells of it. It never rejects. */
export async function serveCompile(job: Job, tell: Tell, readFile: ReadFile | null = null): Promise<void> {
  tell({ kind: "begun" }, []);
  try {
    const model = await readModel(job.model, readFile);
    try {
      await compileModel(model, job.options, tell);
    } finally {
      model.close?.();
    }
    tell({ kind: "done" }, []);
  } catch (e) {
    tell({ kind: "error", error: errorInfo(e) }, []);
  }
}

async function readModel(model: SentModel, readFile: ReadFile | null): Promise<ReadModel> {
  if (typeof model === "string") {
    if (readFile === null) throw new TypeError("a worker of a page cannot read files by their path");
    return readFile(model);
  }
  return { bytes: model instanceof Uint8Array ? model : new Uint8Array(await model.arrayBuffer()) };
}

async function compileModel(model: ReadModel, sent: SentOptions, tell: Tell): Promise<void> {
  const options = compileOptions(sent, tell);
  checkOptions(options);
  const { files, shapes, symbols, name = model.name ?? "model" } = sent;
  const resolver = files === undefined ? model.resolver : filesResolver(files);
  const source = importSource(model.bytes, {
    name,
    ...(shapes === undefined ? {} : { shapes }),
    ...(symbols === undefined ? {} : { symbols }),
    ...(resolver === undefined ? {} : { resolver }),
  });
  const of = stepsOf(source.kind);
  let done = 0;
  const listener: TraceListener = (e) => tell({ kind: "progress", progress: { stage: e.stage as Stage, name: e.step, done: ++done, of } }, []);
  const { artifact } = buildArtifact(source, { ...options, name, features: featuresHere(options), listeners: [listener] });
  const { index, ...here } = moduleHere(artifact.manifest);
  const module = await WebAssembly.compile(artifact.modules[index] as BufferSource);
  tell({ kind: "start", manifest: artifact.manifest, module, ...here }, []);
  await artifact.writeWeights((offset, view) => {
    // A copy of its own, which can be handed over: what is given is a view of the model or of a memory in use.
    const bytes = new Uint8Array(view);
    tell({ kind: "weights", offset, bytes }, [bytes.buffer]);
  });
}

function compileOptions({ files: _, database, ...rest }: SentOptions, tell: Tell): CompileOptions {
  if (database === undefined) return rest;
  const [plain, relaxed] = database.machines;
  return {
    ...rest,
    database: {
      database: database.database,
      machine: (isRelaxed) => (isRelaxed ? relaxed : plain),
      note: (text) => tell({ kind: "note", text }, []),
    },
  };
}
