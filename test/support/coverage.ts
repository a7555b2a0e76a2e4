import { readFileSync } from "node:fs";
import { type DType, findDType } from "../../src/base/dtype.ts";
import { hostFrom, type HostTensor } from "../../src/graph/host.ts";
import { type Case, caseNames, inputValues, readCase, retyped } from "./onnx-cases.ts";
import { domainOps } from "./domain-models.ts";
import { type OnnxValue, isList } from "./onnx-values.ts";

/** What the schema of an op says, from scripts/onnx-schemas.json and scripts/domain-schemas.json. */
interface Schema {
  readonly since: readonly number[];
  readonly deprecated?: true;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly types: Readonly<Record<string, readonly string[]>>;
}
/** The same of an op of ONNX Runtime's domains: behind an operand's type a ? where it may be left out, a * where there may be many. */
export interface DomainSchema extends Schema {
  readonly attributes: Readonly<Record<string, string>>;
}
function read<S extends Schema>(file: string): Readonly<Record<string, S>> {
  return JSON.parse(readFileSync(new URL(`../../scripts/${file}`, import.meta.url), "utf8")).ops;
}
export const domainSchemas = read<DomainSchema>("domain-schemas.json");
/** All of ONNX, and of the domains those that there is a model for. */
export const schemas: Readonly<Record<string, Schema>> = {
  ...read("onnx-schemas.json"),
  ...Object.fromEntries(domainOps.flatMap((op) => (domainSchemas[op] === undefined ? [] : [[op, domainSchemas[op]]]))),
};

const plain = (type: string): string => type.replace(/[?*]$/, "");

/** The type variable that a row of the coverage table goes over: the first input's, or the first output's of an op without inputs. */
function variableOf(op: string, s: Schema): string | null {
  const inDomain = op in domainSchemas;
  // Of operands of other domains' ops, the first that has a choice.
  const v = plain((inDomain ? s.inputs.find((i) => (s.types[plain(i)] ?? []).length > 1) : undefined) ?? s.inputs[0] ?? s.outputs[0] ?? "");
  return v in s.types ? v : null;
}

/** The dtypes that an op may have: of tensors, or of the tensors in sequences if it takes only those. */
export function dtypesOf(op: string): readonly string[] {
  const s = schemas[op];
  if (s === undefined) return [];
  const v = variableOf(op, s);
  // An op that has no choice.
  if (v === null) return [plain(s.inputs[0] ?? s.outputs[0] ?? "")];
  const all = s.types[v] ?? [];
  const tensors = all.filter((t) => !t.includes("("));
  return tensors.length > 0 ? tensors : [...new Set(all.map((t) => t.replace(/.*\(|\)+$/g, "")))];
}

/** The smallest conformance cases of each op: models of one node whose first input is fed. */
export function templates(suite: string): Map<string, Case[]> {
  const out = new Map<string, Case[]>();
  for (const name of caseNames(suite).filter((n) => n.startsWith("node/"))) {
    const c = readCase(suite, name);
    const [node] = c.proto.graph.nodes;
    if (node === undefined || c.proto.graph.nodes.length !== 1 || node.domain === "ai.onnx.ml" || c.proto.functions.length > 0) continue;
    const op = node.domain === "" ? node.opType : `${node.domain}.${node.opType}`;
    if (schemas[op] === undefined) continue;
    out.set(op, [...(out.get(op) ?? []), c]);
  }
  const size = (c: Case) =>
    c.proto.graph.inputs.reduce((n, i) => n + (i.dims ?? []).reduce((a: number, d) => a * (typeof d === "number" ? d : 1), 1), 0);
  for (const [op, cases] of out)
    out.set(
      op,
      cases.sort((a, b) => size(a) - size(b)),
    );
  return out;
}

/** A case with the operands of the op's type variable in another dtype. */
export interface Variant {
  readonly model: Uint8Array;
  readonly values: ReadonlyMap<string, OnnxValue>;
}

/** A case in another dtype; null where the dtype is in no tensor that is fed. @throws UnsupportedError for values of dtypes that there are none for */
export function variant(op: string, c: Case, dtype: DType): Variant | null {
  const s = schemas[op] as Schema;
  const v = variableOf(op, s);
  const [node] = c.proto.graph.nodes;
  if (node === undefined) return null;
  if (v === null) return { model: c.model, values: inputValues(c) };
  const at = (list: readonly string[], i: number) => list[Math.min(i, list.length - 1)];
  const names = new Set([...node.inputs.filter((_, i) => at(s.inputs, i) === v), ...node.outputs.filter((_, i) => at(s.outputs, i) === v)]);
  const values = new Map<string, OnnxValue>();
  let changed = false;
  for (const [name, value] of inputValues(c)) {
    if (!names.has(name)) values.set(name, value);
    else if (isList(value)) return null;
    else {
      values.set(name, inDType(value, dtype));
      changed = true;
    }
  }
  return changed ? { model: retyped(c.model, names, dtype), values } : null;
}

/** A tensor in another dtype: reals as integers are a few times as large, so that they do not all become zero. */
function inDType(t: HostTensor, dtype: DType): HostTensor {
  if (t.dtype === dtype) return t;
  const scale = t.dtype.isFloat && dtype.isInteger ? 3 : 1;
  const most = dtype.isInteger ? 2 ** Math.min(dtype.bits - (dtype.kind === "int" ? 1 : 0), 20) - 1 : Number.POSITIVE_INFINITY;
  return hostFrom(dtype, t.dims, (i) => {
    const x = Number(t.data[i]) * scale;
    if (dtype.isFloat) return x;
    if (dtype.kind === "bool") return x > 0 ? 1 : 0;
    const whole = Math.max(dtype.kind === "int" ? -most : 0, Math.min(most, Math.round(Number.isFinite(x) ? x : 1)));
    return dtype.bits === 64 ? BigInt(whole) : whole;
  });
}

export function dtypeNamed(name: string): DType | null {
  return findDType(name);
}
