import path from "node:path";
import { bytesText } from "../../base/text.ts";
import type { ExternalDataResolver } from "../../frontends/onnx/tensor.ts";
import { importSource, inputNamesOf } from "../../importer.ts";
import { type BuildOptions, buildArtifact } from "../../load.ts";
import type { Manifest } from "../../runtime/model.ts";
import { writeArtifact } from "../artifact.ts";
import { readModel } from "../model-file.ts";
import { parseSizes } from "../option-text.ts";
import { tunedSchedules } from "../tuning.ts";
import type { Request } from "./options.ts";

export interface FolderWork {
  readonly file: string;
  readonly request: Request;
  readonly modelHash: string;
  /** Where the artifact is made; nothing is there yet. */
  readonly folder: string;
  /** Gets the names of the files of external data that the model reads, also when it cannot be compiled. */
  readonly external: Set<string>;
  readonly step: (text: string) => void;
}

/** Compiles a model's file to an artifact. Gives what is said of it. @throws UserError, UnsupportedError, VerifyError */
export async function compileToFolder({ file, request, modelHash, folder, external, step }: FolderWork): Promise<string> {
  const model = readModel(file);
  const resolver: ExternalDataResolver = {
    open(location, offset, length) {
      external.add(location);
      return model.resolver.open(location, offset, length);
    },
  };
  try {
    const { name } = path.parse(file);
    const sizes = parseSizes(request.shape, request.shape.length === 0 ? [] : inputNamesOf(model.bytes));
    const source = importSource(model.bytes, { name, resolver, ...sizes });
    const { artifact } = buildArtifact(source, {
      ...optionsOf(request),
      name,
      sourceHash: modelHash,
      listeners: [(e) => step(`${e.stage}: ${e.step}`)],
    });
    step("writing the artifact");
    return describe(
      await writeArtifact(artifact, folder, { inline: request.inline, ...(request.shard === null ? {} : { shardBytes: request.shard }) }),
    );
  } finally {
    model.close();
  }
}

function optionsOf(r: Request): BuildOptions {
  return {
    deterministic: r.deterministic,
    exact: r.exact,
    ...(r.threads === null ? {} : { threads: r.threads }),
    ...(r.features === null ? {} : { features: r.features }),
    ...(r.maxMemory === null ? {} : { maxMemory: r.maxMemory }),
    ...(r.keptMemory === null ? {} : { keptMemory: r.keptMemory }),
    ...(r.db === null ? {} : { database: tunedSchedules(r.db) }),
  };
}

function describe(m: Manifest): string {
  const code = Math.max(...m.modules.map((x) => x.bytes));
  return [
    `code ${bytesText(code)}`,
    m.weight_bytes === 0 ? "no weights" : `weights ${bytesText(m.weight_bytes)}`,
    `${m.kernels.length} kernel${m.kernels.length === 1 ? "" : "s"}`,
  ].join(", ");
}
