import { UserError } from "../../base/errors.ts";
import { WireError, WireReader } from "../wire/protobuf.ts";

/** What the compiler needs of ONNX's messages (onnx.proto), decoded; bytes are views of the file. */
export interface ModelProto {
  readonly irVersion: number;
  readonly producer: string;
  readonly opsets: readonly { readonly domain: string; readonly version: number }[];
  readonly graph: GraphProto;
  readonly functions: readonly FunctionProto[];
}
export interface GraphProto {
  readonly name: string;
  readonly nodes: readonly NodeProto[];
  readonly initializers: readonly TensorProto[];
  readonly sparseInitializers: readonly string[];
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  /** What the model says of values in between. */
  readonly valueInfo: readonly ValueInfo[];
}
export interface NodeProto {
  readonly opType: string;
  readonly domain: string;
  readonly name: string;
  readonly overload: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, AttributeProto>;
}
export interface AttributeProto {
  readonly name: string;
  readonly type: number;
  readonly refName: string;
  readonly f: number;
  readonly i: bigint;
  readonly s: Uint8Array;
  readonly t: TensorProto | null;
  readonly g: GraphProto | null;
  readonly floats: readonly number[];
  readonly ints: readonly bigint[];
  readonly strings: readonly Uint8Array[];
}
export interface TensorProto {
  readonly name: string;
  readonly dims: readonly number[];
  readonly dataType: number;
  /** The elements' bytes: raw_data, or float_data and double_data, which are laid out alike. */
  readonly raw: Uint8Array | null;
  /** int32_data, int64_data or uint64_data. */
  readonly ints: readonly bigint[];
  /** Where the data lies in another file, key by key. */
  readonly external: ReadonlyMap<string, string> | null;
}
export interface ValueInfo extends ValueType {
  readonly name: string;
}
export interface ValueType {
  /** `tensor`, or the kind of type that it is instead. */
  readonly kind: string;
  readonly elemType: number;
  /** null: not even the rank is known. A dim is a size, a parameter's name, or unknown. */
  readonly dims: readonly (number | string | null)[] | null;
  /** Of sequences and optionals: what they hold. */
  readonly element: ValueType | null;
}
export interface FunctionProto {
  readonly name: string;
  readonly domain: string;
  readonly overload: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: readonly string[];
  readonly defaults: readonly AttributeProto[];
  readonly nodes: readonly NodeProto[];
  readonly opsets: readonly { readonly domain: string; readonly version: number }[];
}

const maxRank = 32;

/**
 * Decodes a model. Weights are not copied: they are views of `bytes`.
 * @throws UserError `not-onnx`, `truncated`, `malformed-protobuf`, `bad-tensor`
 */
export function decodeModel(bytes: Uint8Array): ModelProto {
  if (bytes.byteLength === 0)
    throw new UserError("not-onnx", "the model file is empty (0 bytes), expected an ONNX model; was it downloaded or exported completely?");
  const foreign = sniff(bytes);
  if (foreign !== null) throw new UserError("not-onnx", `this is no ONNX model: it looks like ${foreign}`);
  const seen = { graph: false };
  let model: DecodedModel;
  try {
    // A plain array: Node's Buffer is one whose slice() does not copy.
    model = readModel(new WireReader(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)), seen);
  } catch (e) {
    if (!(e instanceof WireError)) throw e;
    if (e.atFileEnd && seen.graph)
      throw new UserError(
        "truncated",
        `the model file is cut off: it ends after ${bytes.byteLength} bytes, inside a field; download or export it again`,
      );
    if (seen.graph) throw new UserError("malformed-protobuf", `the model file is damaged: ${e.message}`);
    throw new UserError("not-onnx", `this is no ONNX model: it is no protobuf message of one (${e.message})`);
  }
  const { graph, opsets, functions, irVersion, producer } = model;
  if (graph === null) throw new UserError("not-onnx", "this is no ONNX model: it holds no graph");
  if (opsets.length === 0)
    throw new UserError(
      "not-onnx",
      "this is no complete ONNX model: it holds a graph, but no opset_import, which says what its nodes mean; was the file cut off?",
    );
  return { irVersion, producer, opsets, graph, functions };
}

/** Decodes a file that holds one tensor. @throws UserError `truncated`, `malformed-protobuf`, `bad-tensor` */
export function decodeTensor(bytes: Uint8Array): TensorProto {
  return readTensor(new WireReader(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)));
}

type DecodedModel = Omit<ModelProto, "graph"> & { readonly graph: GraphProto | null };

/** What a file is that people take for a model, by its first bytes. */
function sniff(bytes: Uint8Array): string | null {
  const head = String.fromCharCode(...bytes.subarray(0, 64));
  if (head.startsWith("version https://git-lfs")) return "a Git LFS pointer; fetch the file itself with 'git lfs pull'";
  if (/^\s*<(!doctype|html|\?xml)/i.test(head)) return "a web page; the download gave a page instead of the file";
  if (head.startsWith("PK\x03\x04")) return "a zip archive (a PyTorch checkpoint or .keras file?); export the model to ONNX first";
  if (head.slice(4, 8) === "TFL3") return "a TensorFlow Lite model";
  if (head.startsWith("GGUF")) return "a GGUF file";
  if (head.startsWith("\x89HDF")) return "an HDF5 file (Keras); export the model to ONNX first";
  if (head.startsWith("ORTM") || head.slice(4, 8) === "ORTM") return "an ONNX Runtime .ort file; use the .onnx file it was made from";
  if (/^\s*\{\s*"/.test(head)) return "JSON text";
  return null;
}

function readModel(r: WireReader, seen: { graph: boolean }): DecodedModel {
  let [irVersion, producer] = [0, ""];
  let graph: GraphProto | null = null;
  const opsets: { domain: string; version: number }[] = [];
  const functions: FunctionProto[] = [];
  r.fields((field) => {
    if (field === 1) irVersion = r.int();
    else if (field === 2) producer = r.string();
    else if (field === 7) {
      // Only the outermost structure is right so far; a file that is cut off inside of the graph is still a model's.
      seen.graph ||= irVersion > 0;
      if (graph !== null) throw new WireError("the model holds two graphs", false);
      graph = r.message(() => readGraph(r));
    } else if (field === 8) opsets.push(r.message(() => readOpset(r)));
    else if (field === 25) functions.push(r.message(() => readFunction(r)));
  });
  return { irVersion, producer, opsets, functions, graph };
}

function readOpset(r: WireReader): { domain: string; version: number } {
  const out = { domain: "", version: 0 };
  r.fields((field) => {
    if (field === 1) out.domain = normalDomain(r.string());
    else if (field === 2) out.version = r.int();
  });
  return out;
}

/** `ai.onnx` is another name of the default domain. */
function normalDomain(domain: string): string {
  return domain === "ai.onnx" ? "" : domain;
}

function readGraph(r: WireReader): GraphProto {
  let name = "";
  const nodes: NodeProto[] = [];
  const initializers: TensorProto[] = [];
  const sparseInitializers: string[] = [];
  const inputs: ValueInfo[] = [];
  const outputs: ValueInfo[] = [];
  const valueInfo: ValueInfo[] = [];
  r.fields((field) => {
    if (field === 1) nodes.push(r.message(() => readNode(r)));
    else if (field === 2) name = r.string();
    else if (field === 5) initializers.push(r.message(() => readTensor(r)));
    else if (field === 11) inputs.push(r.message(() => readValueInfo(r)));
    else if (field === 12) outputs.push(r.message(() => readValueInfo(r)));
    else if (field === 13) valueInfo.push(r.message(() => readValueInfo(r)));
    else if (field === 15) sparseInitializers.push(r.message(() => readSparseName(r)));
  });
  return { name, nodes, initializers, sparseInitializers, inputs, outputs, valueInfo };
}

function readSparseName(r: WireReader): string {
  let name = "";
  r.fields((field) => {
    if (field === 1) name = r.message(() => readTensor(r)).name;
  });
  return name;
}

function readNode(r: WireReader): NodeProto {
  const out = { opType: "", domain: "", name: "", overload: "" };
  const inputs: string[] = [];
  const outputs: string[] = [];
  const attributes = new Map<string, AttributeProto>();
  r.fields((field) => {
    if (field === 1) inputs.push(r.string());
    else if (field === 2) outputs.push(r.string());
    else if (field === 3) out.name = r.string();
    else if (field === 4) out.opType = r.string();
    else if (field === 5) {
      const a = r.message(() => readAttribute(r));
      attributes.set(a.name, a);
    } else if (field === 7) out.domain = normalDomain(r.string());
    else if (field === 8) out.overload = r.string();
  });
  return { ...out, inputs, outputs, attributes };
}

function readAttribute(r: WireReader): AttributeProto {
  const out = { name: "", type: 0, refName: "", f: 0, i: 0n, s: new Uint8Array(0) as Uint8Array };
  let t: TensorProto | null = null;
  let g: GraphProto | null = null;
  const floats: number[] = [];
  const ints: bigint[] = [];
  const strings: Uint8Array[] = [];
  r.fields((field) => {
    if (field === 1) out.name = r.string();
    else if (field === 2) out.f = r.float();
    else if (field === 3) out.i = r.int64();
    else if (field === 4) out.s = r.bytes();
    else if (field === 5) t = r.message(() => readTensor(r));
    else if (field === 6) g = r.message(() => readGraph(r));
    else if (field === 7) floats.push(...floatsOf(r.fixed(4)));
    else if (field === 8) r.int64s(ints);
    else if (field === 9) strings.push(r.bytes());
    else if (field === 20) out.type = r.int();
    else if (field === 21) out.refName = r.string();
  });
  return { ...out, t, g, floats, ints, strings };
}

function* floatsOf(bytes: Uint8Array): Iterable<number> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < bytes.byteLength; i += 4) yield view.getFloat32(i, true);
}

function readTensor(r: WireReader): TensorProto {
  const dims: bigint[] = [];
  const ints: bigint[] = [];
  const pieces: Uint8Array[] = [];
  const external = new Map<string, string>();
  let [name, dataType, location] = ["", 0, 0];
  let raw: Uint8Array | null = null;
  r.fields((field) => {
    if (field === 1) r.int64s(dims);
    else if (field === 2) dataType = r.int();
    else if (field === 4) pieces.push(r.fixed(4));
    else if (field === 5 || field === 7 || field === 11) r.int64s(ints);
    else if (field === 8) name = r.string();
    else if (field === 9) raw = r.bytes();
    else if (field === 10) pieces.push(r.fixed(8));
    else if (field === 13) r.message(() => readEntry(r, external));
    else if (field === 14) location = r.int();
  });
  return { name, dims: checkedDims(name, dims), dataType, raw: raw ?? joined(pieces), ints, external: location === 1 ? external : null };
}

/** One piece as it is; the pieces of a field that is not packed are put together. */
function joined(pieces: readonly Uint8Array[]): Uint8Array | null {
  if (pieces.length <= 1) return pieces[0] ?? null;
  const out = new Uint8Array(pieces.reduce((n, p) => n + p.byteLength, 0));
  let at = 0;
  for (const p of pieces) {
    out.set(p, at);
    at += p.byteLength;
  }
  return out;
}

function checkedDims(name: string, dims: readonly bigint[]): number[] {
  const out = dims.map(Number);
  const elements = out.reduce((a, b) => a * b, 1);
  if (out.length > maxRank || out.some((d) => d < 0) || !Number.isSafeInteger(elements)) {
    const shown = out.length > maxRank ? `${out.slice(0, maxRank).join(", ")}, …` : out.join(", ");
    throw new UserError("bad-tensor", `tensor '${name}' has the dims [${shown}], expected at most ${maxRank} sizes that are not negative`);
  }
  return out;
}

function readEntry(r: WireReader, into: Map<string, string>): void {
  let [key, value] = ["", ""];
  r.fields((field) => {
    if (field === 1) key = r.string();
    else if (field === 2) value = r.string();
  });
  into.set(key, value);
}

const typeKinds: Readonly<Record<number, string>> = { 1: "tensor", 4: "sequence", 5: "map", 8: "sparse tensor", 9: "optional", 7: "opaque" };

function readValueInfo(r: WireReader): ValueInfo {
  let name = "";
  let type: ValueType = { kind: "untyped value", elemType: 0, dims: null, element: null };
  r.fields((field) => {
    if (field === 1) name = r.string();
    else if (field === 2) type = r.message(() => readType(r, 0));
  });
  const rank = type.dims?.length ?? 0;
  if (rank > maxRank) throw new UserError("bad-tensor", `value '${name}' has rank ${rank}, expected at most ${maxRank}`);
  return { ...type, name };
}

/** Types hold one another, as in an optional sequence of tensors; deeper than this is no type of ONNX. */
const deepestType = 4;

function readType(r: WireReader, depth: number): ValueType {
  let type: ValueType = { kind: "untyped value", elemType: 0, dims: null, element: null };
  if (depth > deepestType) throw new WireError("a type is nested too deeply", false);
  r.fields((of) => {
    const kind = typeKinds[of];
    if (kind === undefined) return;
    if (kind === "tensor") type = { kind, ...r.message(() => readTensorType(r)), element: null };
    else if (kind === "sequence" || kind === "optional") {
      let element: ValueType | null = null;
      r.message(() =>
        r.fields((f) => {
          if (f === 1) element = r.message(() => readType(r, depth + 1));
        }),
      );
      type = { kind, elemType: 0, dims: null, element };
    } else type = { kind, elemType: 0, dims: null, element: null };
  });
  return type;
}

function readTensorType(r: WireReader): { elemType: number; dims: (number | string | null)[] | null } {
  let elemType = 0;
  let dims: (number | string | null)[] | null = null;
  r.fields((field) => {
    if (field === 1) elemType = r.int();
    else if (field === 2) {
      const list: (number | string | null)[] = [];
      r.message(() => r.fields((f) => f === 1 && list.push(r.message(() => readDimension(r)))));
      dims = list;
    }
  });
  return { elemType, dims };
}

function readDimension(r: WireReader): number | string | null {
  let out: number | string | null = null;
  r.fields((field) => {
    if (field === 1) {
      const n = r.int();
      out = n < 0 ? null : n;
    } else if (field === 2) {
      const s = r.string();
      out = s === "" ? null : s;
    }
  });
  return out;
}

function readFunction(r: WireReader): FunctionProto {
  const out = { name: "", domain: "", overload: "" };
  const [inputs, outputs, attributes]: [string[], string[], string[]] = [[], [], []];
  const defaults: AttributeProto[] = [];
  const nodes: NodeProto[] = [];
  const opsets: { domain: string; version: number }[] = [];
  r.fields((field) => {
    if (field === 1) out.name = r.string();
    else if (field === 4) inputs.push(r.string());
    else if (field === 5) outputs.push(r.string());
    else if (field === 6) attributes.push(r.string());
    else if (field === 7) nodes.push(r.message(() => readNode(r)));
    else if (field === 9) opsets.push(r.message(() => readOpset(r)));
    else if (field === 10) out.domain = normalDomain(r.string());
    else if (field === 11) defaults.push(r.message(() => readAttribute(r)));
    else if (field === 13) out.overload = r.string();
  });
  return { ...out, inputs, outputs, attributes, defaults, nodes, opsets };
}
