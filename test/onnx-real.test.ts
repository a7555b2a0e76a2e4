import { existsSync, readFileSync } from "node:fs";
import { relative } from "node:path";
import { describe, expect, it } from "vitest";
import { TilewrightError } from "../src/base/errors.ts";
import { compileGraph } from "../src/compile.ts";
import { importOnnx } from "../src/frontends/onnx/import.ts";
import { type ModelProto, decodeModel } from "../src/frontends/onnx/proto.ts";
import { readTensorProto } from "../src/frontends/onnx/tensor.ts";
import { type HostTensor, hostFromBytes } from "../src/graph/host.ts";
import { brief } from "./support/compare.ts";
import { corpus, filesBelow } from "./support/corpora.ts";
import { type Golden, readGolden } from "./support/npz.ts";
import { importModel } from "./support/onnx-cases.ts";
import { variants } from "./support/relaxed.ts";
import { runInWasm } from "./support/run.ts";

const suite = corpus("onnx-real");

/** Models that are compiled for the sizes of their reference inputs, with the reason. */
const sized: Readonly<Record<string, string>> = {
  "silero-vad/src/silero_vad/data/silero_vad_16k_op15.onnx": "the rank of a result of an If depends on the number of samples",
};

describe.skipIf(suite === null)("models of projects", () => {
  const all = suite === null ? [] : filesBelow(suite, ".onnx");
  const name = (file: string) => relative(suite ?? "", file);
  const golden = all.filter((f) => existsSync(f.replace(/onnx$/, "golden.npz")));

  it.each(golden.map((f) => [name(f), f] as const))("%s", async (_, file) => {
    const bytes = readFileSync(file);
    const reference = readGolden(file.replace(/onnx$/, "golden.npz"));
    if (reference === null) {
      // Of models of strings there are no tensors to compare with.
      expect(() => importOnnx(bytes)).toThrow(TilewrightError);
      return;
    }
    const fixed = name(file) in sized;
    // So the list stays true.
    if (fixed) expect(() => importModel(bytes, reference.inputs)).toThrow(/--shape/);
    expect(await wrongOutputs(bytes, reference, fixed)).toEqual([]);
  });

  it("models without reference results are imported, or refused with an error that says why", () => {
    const unclear: string[] = [];
    for (const file of all.filter((f) => !golden.includes(f))) {
      try {
        importOnnx(readFileSync(file));
      } catch (e) {
        const clear = e instanceof TilewrightError && e.name !== "InternalError" && e.name !== "VerifyError" && e.message.length > 30;
        if (!clear) unclear.push(`${name(file)}: ${brief(e)}`);
      }
    }
    expect(unclear).toEqual([]);
  });
});

/**
 * Like the reference, the module that engines of today take fuses multiplications and additions; where each product is rounded by
 * itself, a deep network of many additions (FastestDet) is twice as far from the exact result.
 */
const relaxed = variants.includes(true);

async function wrongOutputs(bytes: Uint8Array, reference: Golden, fixed: boolean): Promise<string[]> {
  const ready = importModel(bytes, reference.inputs, fixed);
  const proto = decodeModel(bytes);
  const got = await runInWasm(compileGraph(ready.model.graph), ready.inputs, relaxed);
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
