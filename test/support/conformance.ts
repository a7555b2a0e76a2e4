import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { PbfReader, PbfWriter } from "pbf";
import { type DType, bf16 } from "../../src/base/dtype.ts";
import { TilewrightError, UnsupportedError } from "../../src/base/errors.ts";
import { type ImportedModel, importOnnx } from "../../src/frontends/onnx/import.ts";
import { decodeModel, decodeTensor } from "../../src/frontends/onnx/proto.ts";
import { readTensorProto } from "../../src/frontends/onnx/tensor.ts";
import { type HostTensor, hostFromBytes } from "../../src/graph/host.ts";

/** The shared test data beside the repository. */
export const shared = fileURLToPath(new URL("../../../shared/", import.meta.url));

/** Unpacks a corpus to a cache outside of the repository; null where there is none. */
export function corpus(name: string): string | null {
  if (!existsSync(join(shared, "corpora", `${name}.tar.xz`))) return null;
  const cache = join(tmpdir(), "tilewright-corpora");
  mkdirSync(cache, { recursive: true });
  execFileSync(join(shared, "corpora", "unpack.sh"), [cache, name]);
  return join(cache, name);
}

export interface Case {
  readonly name: string;
  readonly model: Uint8Array;
  readonly set: string;
}

/** The cases of ONNX's backend tests in one folder. */
export function conformanceCases(folder: string): Case[] {
  return readdirSync(folder).map((name) => ({
    name,
    model: readFileSync(join(folder, name, "model.onnx")),
    set: join(folder, name, "test_data_set_0"),
  }));
}

function readTensor(file: string): HostTensor {
  const t = readTensorProto(decodeTensor(readFileSync(file)), null);
  return hostFromBytes(t.dtype, t.dims, t.data.read(0, t.data.byteLength).slice());
}

/** What became of importing a case: the model with its inputs, or why not. */
export type Imported =
  | { readonly kind: "ready"; readonly model: ImportedModel; readonly inputs: readonly HostTensor[]; readonly outputs: readonly HostTensor[] }
  | { readonly kind: "unsupported"; readonly items: readonly string[] }
  | { readonly kind: "large" };

/**
 * Imports a case. Where it feeds a shape, axes or pads as run-time data, which this compiler takes only as constants, its
 * integer inputs and scalars are put into the model first.
 */
export function importCase(c: Case, limit: number): Imported {
  const files = (model: Uint8Array): string[] => importNames(model).map((i) => join(c.set, `input_${i}.pb`));
  const ready = (bytes: Uint8Array): Imported => {
    const model = importOnnx(bytes);
    const inputs = files(bytes).map(readTensor);
    if (inputs.some((t) => t.data.length > limit)) return { kind: "large" };
    return { kind: "ready", model, inputs, outputs: model.outputNames.map((_, i) => readTensor(join(c.set, `output_${i}.pb`))) };
  };
  try {
    return ready(c.model);
  } catch (e) {
    if (!(e instanceof UnsupportedError)) throw e;
    const items = e.items.length > 0 ? e.items : [e.message];
    if (!items.some((i) => i.includes("computed from the model's data"))) return { kind: "unsupported", items };
    try {
      return ready(withConstants(c));
    } catch (again) {
      if (again instanceof UnsupportedError) return { kind: "unsupported", items: again.items };
      throw again;
    }
  }
}

/** Numbers of the inputs that are fed, of those that the model lists. */
function importNames(model: Uint8Array): number[] {
  const { graph } = decodeModel(model);
  const constants = new Set(graph.initializers.map((t) => t.name));
  return graph.inputs.flatMap((input, i) => (constants.has(input.name) ? [] : [i]));
}

/** The model with its integer inputs and scalars as initializers, which then are their values. */
function withConstants(c: Case): Uint8Array {
  const { graph } = decodeModel(c.model);
  const tensors = graph.inputs.flatMap((input, i) => {
    const file = join(c.set, `input_${i}.pb`);
    const integer = [6, 7, 9].includes(input.elemType);
    if (input.kind !== "tensor" || !(integer || input.dims?.length === 0)) return [];
    // A later field of the same number wins: the input's own name.
    const w = new PbfWriter();
    w.writeStringField(8, input.name);
    return [Buffer.concat([readFileSync(file), w.finish()])];
  });
  const r = new PbfReader(c.model);
  const w = new PbfWriter();
  for (let field = r.nextField(); field !== 0; field = r.nextField()) {
    if (r.type === 0) w.writeVarintField(field, r.readVarint());
    else {
      const bytes = r.readBytes();
      const extra = new PbfWriter();
      for (const t of field === 7 ? tensors : []) extra.writeBytesField(5, t);
      w.writeBytesField(field, Buffer.concat([bytes, extra.finish()]));
    }
  }
  return w.finish();
}

/** How far a float of this dtype may be off, relative to the larger of 1 and its size: rounding of the reference's own steps. */
function tolerance(d: DType): number {
  if (!d.isFloat) return 0;
  return d.bits > 16 ? 1e-4 : d === bf16 ? 2e-2 : 2e-3;
}

/** The first difference of two tensors, or null. */
export function difference(got: HostTensor, expected: HostTensor): string | null {
  const type = (t: HostTensor) => `${t.dtype}[${t.dims.join(", ")}]`;
  if (type(got) !== type(expected)) return `${type(got)}, expected ${type(expected)}`;
  const allowed = tolerance(expected.dtype);
  for (let i = 0; i < expected.data.length; i++) {
    const [a, b] = [got.data[i], expected.data[i]] as [number | bigint, number | bigint];
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
    if (allowed > 0 && Math.abs(Number(a) - Number(b)) <= allowed * Math.max(1, Math.abs(Number(b)))) continue;
    return `element ${i}: ${a}, expected ${b}`;
  }
  return null;
}

/** An error as one line of a report. */
export function brief(e: unknown): string {
  return e instanceof TilewrightError ? `${e.code}: ${e.message}` : e instanceof Error ? (e.stack ?? e.message) : String(e);
}
