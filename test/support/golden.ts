import { type ModelProto, decodeModel } from "../../src/frontends/onnx/proto.ts";
import { readTensorProto } from "../../src/frontends/onnx/tensor.ts";
import { type HostTensor, hostFromBytes } from "../../src/graph/host.ts";
import type { Golden } from "./npz.ts";
import type { Ready } from "./onnx-cases.ts";

/** What is wrong with the results of a model that has reference results. */
export function againstGolden(bytes: Uint8Array, ready: Ready, got: readonly HostTensor[], reference: Golden): string[] {
  const proto = decodeModel(bytes);
  const names = ready.model.outputNames;
  // Results of the same network in another format have that one's names.
  const named = names.length !== reference.outputs.size || names.some((n) => reference.outputs.has(n));
  return [...reference.outputs].flatMap(([n, want], k) => {
    const i = named ? names.indexOf(n) : k;
    const wrong = i < 0 ? "is missing" : compare(got[i] as HostTensor, want, stepOf(proto, names[i] as string));
    return wrong === null ? [] : [`output '${n}': ${wrong}`];
  });
}

/** Within 1e-4 of the output's deviation; for values of quantised models, one step of the quantisation, and that at 99% of the elements. */
function compare(got: HostTensor, want: HostTensor, step: number | null): string | null {
  if (`${got.dtype}[${got.dims}]` !== `${want.dtype}[${want.dims}]`) return `${got.dtype}[${got.dims}], expected ${want.dtype}[${want.dims}]`;
  const values = Array.from(want.data, Number);
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
  const strict = want.dtype.isFloat ? 1e-4 * deviation + 1e-6 : 0;
  const allowed = step === null ? strict : step * 1.001 + 1e-6;
  const off = values.flatMap((w, i) => {
    const g = Number(got.data[i]);
    return g === w || (Number.isNaN(g) && Number.isNaN(w)) || Math.abs(g - w) <= allowed ? [] : [i];
  });
  if (off.length <= (step === null ? 0 : 0.01 * values.length)) return null;
  const [first] = off as [number];
  return `${off.length} of ${values.length} elements are off by more than ${allowed}; element ${first}: ${got.data[first]}, expected ${values[first]}`;
}

/** The step of the quantisation that an output comes from, through ops that only move its elements; null when it comes from none. */
function stepOf(m: ModelProto, output: string): number | null {
  const makers = new Map(m.graph.nodes.flatMap((n) => n.outputs.map((o) => [o, n] as const)));
  let node = makers.get(output);
  while (node !== undefined && ["Transpose", "Squeeze", "Unsqueeze", "Reshape", "Identity", "Flatten"].includes(node.opType))
    node = makers.get(node.inputs[0] ?? "");
  if (node === undefined) return null;
  if (node.opType === "QuantizeLinear" || node.opType.startsWith("QLinear")) return 1;
  if (node.opType !== "DequantizeLinear") return null;
  const scale = m.graph.initializers.find((t) => t.name === node.inputs[1]) ?? makers.get(node.inputs[1] ?? "")?.attributes.get("value")?.t;
  if (scale === undefined || scale === null) return null;
  const t = readTensorProto(scale, null);
  return Math.max(...Array.from(hostFromBytes(t.dtype, t.dims, t.data.read(0, t.data.byteLength).slice()).data, Number));
}
