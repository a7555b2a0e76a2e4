import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { PbfReader, PbfWriter } from "pbf";
import { type DType, f32 } from "../../src/base/dtype.ts";
import { type ImportedModel, importOnnx } from "../../src/frontends/onnx/import.ts";
import { type GraphProto, type ModelProto, type NodeProto, decodeModel } from "../../src/frontends/onnx/proto.ts";
import { subgraphs } from "../../src/frontends/onnx/scopes.ts";
import { dtypeOf, onnxTypeName } from "../../src/frontends/onnx/tensor.ts";
import { type HostTensor, hostFrom, sizeOf } from "../../src/graph/host.ts";
import { type OnnxValue, decodeValue, isList, tensor, tensorsOf } from "./onnx-values.ts";

/** A case of ONNX's backend tests. */
export interface Case {
  /** Its folder among the kinds of cases, and its name: `node/test_abs`. */
  readonly name: string;
  readonly model: Uint8Array;
  readonly proto: ModelProto;
  /** Files of inputs and outputs; null where inputs are made, and outputs lie beside the model. */
  readonly files: string | null;
  /** Path of the model without its ending. */
  readonly path: string;
}

const folders = ["node", "simple", "pytorch-converted", "pytorch-operator"] as const;

/** The names of all cases in the corpus. */
export function caseNames(suite: string): string[] {
  const data = join(suite, "data");
  const light = readdirSync(join(data, "light")).filter((f) => f.endsWith(".onnx"));
  return [
    ...folders.flatMap((f) =>
      readdirSync(join(data, f))
        .sort()
        .map((name) => `${f}/${name}`),
    ),
    ...light.sort().map((f) => `light/${f.replace(".onnx", "")}`),
  ];
}

export function readCase(suite: string, name: string): Case {
  const light = name.startsWith("light/");
  const path = join(suite, "data", name, ...(light ? [] : ["model"]));
  const model = readFileSync(`${path}.onnx`);
  return { name, model, proto: decodeModel(model), files: light ? null : join(suite, "data", name, "test_data_set_0"), path };
}

/** Inputs that are fed: those without an initializer. */
function fed(graph: GraphProto): GraphProto["inputs"] {
  const constants = new Set(graph.initializers.map((t) => t.name));
  return graph.inputs.filter((i) => !constants.has(i.name));
}

/** Values of a case's inputs, by name. */
export function inputValues(c: Case): Map<string, OnnxValue> {
  return new Map(
    fed(c.proto.graph).map((info, i): [string, OnnxValue] => {
      // The rule of ONNX's own runner for models without data.
      if (c.files === null) return [info.name, rising((info.dims ?? []).map((d) => (typeof d === "number" ? d : 1)))];
      const file = join(c.files, `input_${i}.pb`);
      return [info.name, existsSync(file) ? decodeValue(readFileSync(file), info.kind) : []];
    }),
  );
}
function rising(dims: readonly number[]): HostTensor {
  const n = sizeOf(dims);
  return hostFrom(f32, dims, (i) => i / n);
}

/** What must come out, the tensors of all outputs in order. */
export function expectedOutputs(c: Case): HostTensor[] {
  return c.proto.graph.outputs.flatMap((info, i) => {
    const file = c.files === null ? `${c.path}_output_${i}.pb` : join(c.files, `output_${i}.pb`);
    return tensorsOf(decodeValue(readFileSync(file), info.kind));
  });
}

/** A model with the tensors that it is to be fed. */
export interface Ready {
  readonly model: ImportedModel;
  readonly inputs: readonly HostTensor[];
}

/**
 * Imports a model and puts the values in the order of its inputs; the items of a sequence `x` are the inputs `x.0`, `x.1`, ….
 * `fixed`: for the sizes of these values alone.
 */
export function importModel(model: Uint8Array, values: ReadonlyMap<string, OnnxValue>, fixed = false): Ready {
  const imported = importOnnx(model, structureOf(decodeModel(model).graph, values, fixed));
  const flat = new Map([...values].flatMap(([name, v]) => flattened(name, v)));
  const inputs = imported.inputNames.map((name) => {
    const t = flat.get(name);
    if (t === undefined) throw new Error(`the case has no value for input '${name}'`);
    return t;
  });
  return { model: imported, inputs };
}
/** What has to be said of lists and optionals when a model is compiled: lengths, and which are there. */
function structureOf(
  graph: GraphProto,
  values: ReadonlyMap<string, OnnxValue>,
  fixed: boolean,
): { symbols: Record<string, number>; shapes: Record<string, readonly number[]> } {
  const symbols: Record<string, number> = {};
  const shapes: Record<string, readonly number[]> = {};
  // Elements of sequences have sizes of their own, which models cannot relate to others.
  const shape = (name: string, v: OnnxValue, dims: readonly unknown[] | null | undefined): void => {
    if (isList(v)) v.forEach((item, i) => shape(`${name}.${i}`, item, dims));
    else if (dims?.every((d) => typeof d === "number") !== true) shapes[name] = v.dims;
  };
  const lists = graph.inputs.some((i) => i.kind !== "tensor");
  for (const info of graph.inputs) {
    const v = values.get(info.name);
    if (v === undefined) continue;
    if (info.kind === "tensor") {
      // Symbols are at least 1 unless one asks for more.
      if (fixed || lists || (!isList(v) && v.dims.includes(0))) shape(info.name, v, info.dims);
      continue;
    }
    const present = !isList(v) || v.length > 0;
    if (info.kind === "optional") symbols[`${info.name}.present`] = present ? 1 : 0;
    const of = info.kind === "optional" ? info.element : info;
    if (present && of?.kind === "sequence" && isList(v)) symbols[`${info.name}.length`] = v.length;
    if (!present && info.kind === "sequence") symbols[`${info.name}.length`] = 0;
    shape(info.name, v, of?.kind === "sequence" ? of.element?.dims : of?.dims);
  }
  return { symbols, shapes };
}

function flattened(name: string, v: OnnxValue): [string, HostTensor][] {
  return isList(v) ? v.flatMap((item, i) => flattened(`${name}.${i}`, item)) : [[name, v]];
}

/**
 * The model with its initializers as inputs, with their values, so that nothing of it can be computed when it is compiled; null
 * when it has none. A model whose weights are filled with one number from an initializer that is their shape gets the weights
 * themselves as inputs.
 */
export function withoutConstants(c: Case): { readonly model: Uint8Array; readonly values: Map<string, OnnxValue> } | null {
  const { graph } = c.proto;
  const shapes = new Set(graph.nodes.filter(isFill).map((n) => n.inputs[0]));
  const moved = initializerBytes(c.model);
  if (moved.length === 0) return null;
  const tensors = new Map(moved.map((bytes) => [nameOf(bytes), tensor(bytes)]));
  const values = inputValues(c);
  const declared = new Set(graph.inputs.map((i) => i.name));
  const added: Uint8Array[] = [];
  const dropped = new Set<string>();
  const add = (name: string, t: HostTensor): void => {
    values.set(name, t);
    if (!declared.has(name)) added.push(valueInfo(name, t));
  };
  // A network whose weights are such fills keeps the shapes that it reshapes to: its weights' sizes would have to fit them.
  const kept = new Set([...tensors].flatMap(([name, t]) => (shapes.size > 0 && t.dtype.isInteger && !shapes.has(name) ? [name] : [])));
  for (const [name, t] of tensors) if (!shapes.has(name) && !kept.has(name)) add(name, t);
  for (const n of graph.nodes.filter(isFill)) {
    const shape = tensors.get(n.inputs[0] ?? "");
    const [out] = n.outputs;
    if (shape === undefined || out === undefined) continue;
    const a = n.attributes.get("value")?.t ?? null;
    if (a !== null && a.raw === null) continue;
    const fill = a?.raw == null ? 0 : new DataView(a.raw.buffer, a.raw.byteOffset).getFloat32(0, true);
    dropped.add(out);
    add(
      out,
      hostFrom(f32, Array.from(shape.data, Number), () => fill),
    );
  }
  return { model: rewriteGraph(c.model, { kept, shapes, dropped, added }), values };
}

function isFill(n: NodeProto): boolean {
  const t = n.attributes.get("value")?.t;
  return n.opType === "ConstantOfShape" && (t === null || t === undefined || t.dataType === 1);
}

function message(write: (w: PbfWriter) => void): Uint8Array {
  const w = new PbfWriter();
  write(w);
  return w.finish();
}

interface Rewriting {
  /** Initializers that stay; all others go. */
  readonly kept: ReadonlySet<string>;
  /** Inputs that go. */
  readonly shapes: ReadonlySet<string | undefined>;
  /** First outputs of nodes that go. */
  readonly dropped: ReadonlySet<string>;
  /** Further inputs. */
  readonly added: readonly Uint8Array[];
}

function rewriteGraph(model: Uint8Array, { kept: stays, shapes, dropped, added }: Rewriting): Uint8Array {
  return mapFields(model, (field, bytes) => {
    if (field !== 7) return bytes;
    const kept = mapFields(bytes, (f, b) => {
      if (f === 5) return stays.has(nameOf(b)) ? b : null;
      if (f === 11 && shapes.has(stringField(b, 1))) return null;
      return f === 1 && dropped.has(stringField(b, 2)) ? null : b;
    });
    const extra = message((w) => {
      for (const i of added) w.writeBytesField(11, i);
    });
    return Buffer.concat([kept, extra]);
  });
}

/** A message with its delimited fields mapped; null leaves one out. Other fields stay. */
function mapFields(bytes: Uint8Array, map: (field: number, bytes: Uint8Array) => Uint8Array | null): Uint8Array {
  const r = new PbfReader(bytes);
  return message((w) => {
    for (let field = r.nextField(); field !== 0; field = r.nextField()) {
      if (r.type === 0) w.writeVarintField(field, r.readVarint());
      else if (r.type === 5) w.writeFixed32Field(field, r.readFixed32());
      else {
        const b = map(field, r.readBytes());
        if (b !== null) w.writeBytesField(field, b);
      }
    }
  });
}

/** The last string in a field of a message, as in its first output's name. */
function stringField(bytes: Uint8Array, wanted: number): string {
  const r = new PbfReader(bytes);
  let out = "";
  for (let field = r.nextField(); field !== 0; field = r.nextField()) if (field === wanted && out === "") out = r.readString();
  return out;
}
const nameOf = (tensorBytes: Uint8Array): string => stringField(tensorBytes, 8);

function initializerBytes(model: Uint8Array): Uint8Array[] {
  const out: Uint8Array[] = [];
  mapFields(model, (field, bytes) => {
    if (field === 7)
      mapFields(bytes, (f, b) => {
        if (f === 5) out.push(b);
        return b;
      });
    return bytes;
  });
  return out;
}

function valueInfo(name: string, t: HostTensor): Uint8Array {
  const code = codeOf(t.dtype);
  const shape = message((w) => {
    for (const d of t.dims)
      w.writeBytesField(
        1,
        message((m) => m.writeVarintField(1, d)),
      );
  });
  const type = message((w) => {
    w.writeVarintField(1, code);
    w.writeBytesField(2, shape);
  });
  const typeProto = message((w) => w.writeBytesField(1, type));
  return message((w) => {
    w.writeStringField(1, name);
    w.writeBytesField(2, typeProto);
  });
}

/** The model with inputs and outputs of these names in another dtype. */
export function retyped(model: Uint8Array, names: ReadonlySet<string>, dtype: DType): Uint8Array {
  const code = codeOf(dtype);
  const withCode = (type: Uint8Array) => {
    const element = message((w) => w.writeVarintField(1, code));
    return mapFields(type, (f, tensorType) => (f === 1 ? Buffer.concat([tensorType, element]) : tensorType));
  };
  const info = (bytes: Uint8Array) => (names.has(stringField(bytes, 1)) ? mapFields(bytes, (f, b) => (f === 2 ? withCode(b) : b)) : bytes);
  return mapFields(model, (field, bytes) => (field === 7 ? mapFields(bytes, (f, b) => ([11, 12, 13].includes(f) ? info(b) : b)) : bytes));
}

/** ONNX's number of a dtype. */
function codeOf(dtype: DType): number {
  return Array.from({ length: 64 }, (_, i) => i).find((i) => dtypeOf(i) === dtype) ?? 0;
}

/** Ops of a model, those of subgraphs and functions too. */
export function opsOf(m: ModelProto): Set<string> {
  const out = new Set<string>();
  const visit = (nodes: readonly NodeProto[]): void => {
    for (const n of nodes) {
      out.add(n.domain === "" ? n.opType : `${n.domain}.${n.opType}`);
      for (const g of subgraphs(n)) visit(g.nodes);
    }
  };
  visit(m.graph.nodes);
  for (const f of m.functions) visit(f.nodes);
  return out;
}

/** Why a case is of a kind that the compiler refuses on purpose; null for others. */
export function outOfScope(c: Case): string | null {
  const ops = opsOf(c.proto);
  const training = [...ops].find((o) => o.startsWith("ai.onnx.preview.training."));
  if (training !== undefined) return `training op ${training}`;
  if (ops.has("ImageDecoder")) return "ImageDecoder";
  const { graph } = c.proto;
  const info = [...graph.inputs, ...graph.outputs].find((i) => onnxTypeName(i.elemType) === "string");
  if (info !== undefined) return `string tensor '${info.name}'`;
  return null;
}
