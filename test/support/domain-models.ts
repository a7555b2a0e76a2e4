import type { DType } from "../../src/base/dtype.ts";
import { type HostTensor, hostToBytes } from "../../src/graph/host.ts";
import { mlModels } from "./ml-models.ts";
import { type Small, microsoftModels } from "./microsoft-models.ts";
import { type ElemName, type ModelSpec, type NodeSpec, type TensorSpec, type ValueSpec, model } from "./onnx.ts";

const domains = { "com.microsoft": microsoftModels, "ai.onnx.ml": mlModels } as const;

/** A model of one node named `n`, with values for its inputs. */
export interface DomainModel {
  readonly spec: ModelSpec & { readonly nodes: readonly [NodeSpec] };
  readonly values: ReadonlyMap<string, HostTensor>;
}

/** The names `com.microsoft.Gelu` of all ops that there is a model for. */
export const domainOps: readonly string[] = Object.entries(domains).flatMap(([d, ops]) => Object.keys(ops).map((op) => `${d}.${op}`));

/** The model of an op of one of ONNX Runtime's domains in a dtype; null where there is none. */
export function domainModel(name: string, d: DType): DomainModel | null {
  const [domain, ops] = Object.entries(domains).find(([k]) => name.startsWith(`${k}.`)) ?? [];
  if (domain === undefined || ops === undefined) return null;
  const op = name.slice(domain.length + 1);
  const small = ops[op]?.(d);
  return small === undefined ? null : modelOf(domain, op, small);
}

function modelOf(domain: string, op: string, s: Small): DomainModel {
  const given = s.in.map((t, i) => (t === null ? "" : `x${i}`));
  const out = Array.from({ length: s.outputs ?? 1 }, (_, i) => `y${i}`);
  const inputs: Record<string, ValueSpec> = {};
  const initializers: Record<string, TensorSpec> = {};
  const values = new Map<string, HostTensor>();
  s.in.forEach((t, i) => {
    if (t === null) return;
    const dtype = t.dtype.name as ElemName;
    if (s.fixed?.includes(i)) initializers[`x${i}`] = { dtype, dims: t.dims, raw: hostToBytes(t) };
    else {
      inputs[`x${i}`] = [dtype, t.dims];
      values.set(`x${i}`, t);
    }
  });
  const node: NodeSpec = { op, domain, name: "n", in: given, out, attrs: s.attrs ?? {} };
  return { spec: { opset: 17, domains: { [domain]: s.version ?? 1 }, inputs, initializers, nodes: [node], outputs: out }, values };
}

/** The same as bytes. */
export function domainModelBytes(name: string, d: DType): { readonly model: Uint8Array; readonly values: ReadonlyMap<string, HostTensor> } | null {
  const m = domainModel(name, d);
  return m === null ? null : { model: model(m.spec), values: m.values };
}
