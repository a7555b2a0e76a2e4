import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { parseDType } from "../../src/base/dtype.ts";
import { type HostTensor, hostFrom } from "../../src/graph/host.ts";
import { type AttrSpec, type ElemName, model } from "./onnx.ts";

/** A case of the op tests that ONNX Runtime keeps as JSON with comments: one node, its inputs and outputs. */
export interface OpCase {
  readonly name: string;
  /** The domain of the op's opset, empty for ONNX's own. */
  readonly domain: string;
  readonly model: Uint8Array;
  readonly inputs: ReadonlyMap<string, HostTensor>;
  readonly outputs: readonly HostTensor[];
}

interface JsonTensor {
  readonly data: readonly (number | boolean | string)[] | null;
  readonly dims: readonly number[];
  readonly type: string;
}
interface JsonTest {
  readonly name: string;
  readonly operator: string;
  readonly attributes?: readonly { readonly name: string; readonly type: string; readonly data: unknown }[];
  readonly opset?: { readonly domain: string; readonly version: number };
  readonly cases: readonly { readonly name: string; readonly inputs: readonly JsonTensor[]; readonly outputs: readonly JsonTensor[] }[];
}

/** Cases of other domains whose expected values are not those of the op, with the reason. */
export const faulty: Readonly<Record<string, string>> = {
  "quick-gelu.jsonc: QuickGelu test: [2x4]": "the last input is negative, its expected value that of the positive one",
  "quick-gelu.jsonc: QuickGelu test: [3x5]": "the last input is negative, its expected value that of the positive one",
  "multihead-attention.jsonc: MultiHeadAttention Basic, one head and head-size=1 with pastKey and pastValue: T[0]": "it leaves the past keys out",
  "multihead-attention.jsonc: MultiHeadAttention Basic, one head and head-size=4 with pastKey and pastValue: T[0]": "it leaves the past keys out",
};

const names: Readonly<Record<string, ElemName>> = {
  float32: "f32",
  float16: "f16",
  float64: "f64",
  bool: "bool",
  int4: "i4",
  uint4: "u4",
  int8: "i8",
  uint8: "u8",
  int32: "i32",
  uint32: "u32",
  int64: "i64",
};
/** What a test that names no opset means. */
const usualOpset = 17;

/** The cases in the files of a folder. @throws Error for files that cannot be read */
export function opCases(folder: string): OpCase[] {
  return readdirSync(folder)
    .filter((f) => f.endsWith(".jsonc") && !f.startsWith("_"))
    .sort()
    .flatMap((file) => {
      const { config, error } = ts.parseConfigFileTextToJson(file, `{"tests": ${readFileSync(join(folder, file), "utf8")}}`);
      if (error !== undefined) throw new Error(`${file}: ${ts.flattenDiagnosticMessageText(error.messageText, "\n")}`);
      return (config as { tests: JsonTest[] }).tests.flatMap((t) => casesOf(file, t));
    });
}

function casesOf(file: string, t: JsonTest): OpCase[] {
  const attrs = Object.fromEntries((t.attributes ?? []).map((a) => [a.name, attribute(a.type, a.data)]));
  return t.cases.map((c) => {
    const given = c.inputs.map((x, i) => [x.data === null ? "" : `in${i}`, x] as const);
    const outputs = c.outputs.map((x, i) => [x.data === null ? "" : `out${i}`, x] as const);
    const bytes = model({
      opset: t.opset?.domain === "" ? t.opset.version : usualOpset,
      ...(t.opset !== undefined && t.opset.domain !== "" ? { domains: { [t.opset.domain]: t.opset.version } } : {}),
      nodes: [{ op: t.operator, domain: t.opset?.domain ?? "", in: given.map(([n]) => n), out: outputs.map(([n]) => n), attrs }],
      inputs: Object.fromEntries(given.filter(([n]) => n !== "").map(([n, x]) => [n, [elemName(x.type), x.dims]])),
      outputs: outputs.map(([n]) => n).filter((n) => n !== ""),
    });
    return {
      name: `${file}: ${t.name}: ${c.name}`,
      domain: t.opset?.domain ?? "",
      model: bytes,
      inputs: new Map(given.filter(([n]) => n !== "").map(([n, x]) => [n, tensor(x)])),
      outputs: outputs.filter(([n]) => n !== "").map(([, x]) => tensor(x)),
    };
  });
}

function attribute(type: string, data: unknown): AttrSpec {
  if (type === "float") return { float: data as number };
  if (type === "floats") return { floats: data as number[] };
  if (type === "int" || type === "ints" || type === "string") return data as number | number[] | string;
  throw new Error(`an attribute of type ${type}`);
}

function elemName(type: string): ElemName {
  const n = names[type];
  if (n === undefined) throw new Error(`a tensor of type ${type}`);
  return n;
}

/** Numbers that JSON has not got are texts. */
const words: Readonly<Record<string, number>> = { NaN: Number.NaN, Infinity: Number.POSITIVE_INFINITY, "-Infinity": Number.NEGATIVE_INFINITY };

function tensor(x: JsonTensor): HostTensor {
  const dtype = parseDType(elemName(x.type));
  return hostFrom(dtype, x.dims, (i) => {
    const v = x.data?.[i];
    const n = typeof v === "string" ? (words[v] ?? Number(v)) : Number(v);
    return dtype.bits === 64 && dtype.isInteger ? BigInt(n) : n;
  });
}
