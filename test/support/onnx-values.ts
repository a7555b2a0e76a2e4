import { PbfReader } from "pbf";
import { decodeTensor } from "../../src/frontends/onnx/proto.ts";
import { readTensorProto } from "../../src/frontends/onnx/tensor.ts";
import { type HostTensor, hostFromBytes } from "../../src/graph/host.ts";

/** A value of a test case: an optional that holds nothing is an empty list of it. */
export type OnnxValue = HostTensor | readonly OnnxValue[];

/** The tensors of a value, in order: the items of a sequence, what an optional holds. */
export function tensorsOf(v: OnnxValue): HostTensor[] {
  return isList(v) ? v.flatMap(tensorsOf) : [v];
}
export function isList(v: OnnxValue): v is readonly OnnxValue[] {
  return Array.isArray(v);
}

/**
 * The value in a file of a test case, of a kind that the model's type of it says.
 * @throws UnsupportedError for dtypes that there are none for, Error for sparse tensors and maps
 */
export function decodeValue(bytes: Uint8Array, kind: string): OnnxValue {
  if (kind === "sequence") return sequence(bytes);
  if (kind === "optional") return optional(bytes);
  return tensor(bytes);
}

export function tensor(bytes: Uint8Array): HostTensor {
  const t = readTensorProto(decodeTensor(bytes), null);
  return hostFromBytes(t.dtype, t.dims, t.data.read(0, t.data.byteLength).slice());
}

/** The messages in the fields of a message. */
function messages(bytes: Uint8Array): [number, Uint8Array][] {
  const r = new PbfReader(bytes);
  const out: [number, Uint8Array][] = [];
  for (let field = r.nextField(); field !== 0; field = r.nextField()) if (r.type === 2) out.push([field, r.readBytes()]);
  return out;
}

/** SequenceProto: the items lie in one field for each kind of item. */
function sequence(bytes: Uint8Array): OnnxValue[] {
  return messages(bytes).flatMap(([field, item]) => {
    if (field === 3) return [tensor(item)];
    if (field === 5) return [sequence(item)];
    if (field === 7) return [optional(item)];
    if (field === 1) return [];
    throw new Error(`a sequence of what field ${field} holds`);
  });
}

/** OptionalProto: like a sequence of at most one, with fields of its own. */
function optional(bytes: Uint8Array): OnnxValue {
  const held = messages(bytes).filter(([field]) => field > 1);
  const [first] = held;
  if (first === undefined) return [];
  const [field, item] = first;
  if (field === 3) return tensor(item);
  if (field === 5) return sequence(item);
  if (field === 7) return optional(item);
  throw new Error(`an optional of what field ${field} holds`);
}
