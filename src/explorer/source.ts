import type { DimSymbol } from "../base/dim.ts";
import { UnsupportedError } from "../base/errors.ts";
import { type Signature, inspectOnnx, onnxInfo } from "../frontends/onnx/import.ts";
import { countFlops } from "../graph/flops.ts";
import type { GraphFunction, Region } from "../graph/ir.ts";
import { printGraph } from "../graph/print.ts";
import { type ImportOptions, type Source, formatOf, importSource } from "../importer.ts";
import { printProgram } from "../loop/print.ts";
import { printTensor } from "../tensor/print.ts";
import { viewDim } from "./graph.ts";
import type { ModelView, PortView, SymbolView } from "./types.ts";

/** A model that was read, or what can be told of one that cannot be compiled. */
export interface Opened {
  readonly view: Omit<ModelView, "missingFiles">;
  readonly source: Source | null;
  /** Why there is no source. */
  readonly error: unknown;
}

/** Reads a model. @throws UserError for bytes that are none */
export function openSource(bytes: Uint8Array, options: ImportOptions): Opened {
  const about = { name: options.name, bytes: bytes.length };
  try {
    const source = importSource(bytes, options);
    return { view: { ...about, ...describeFile(bytes, source), ...describeSource(source), problems: [] }, source, error: null };
  } catch (error) {
    if (!(error instanceof UnsupportedError) || formatOf(bytes) !== "onnx") throw error;
    return { view: { ...about, ...describeUnsupported(bytes, options) }, source: null, error };
  }
}

/** The IR text of a model as it was read, before any pass. */
export function sourceText(s: Source): string {
  switch (s.kind) {
    case "graph":
      return printGraph(s.graph);
    case "tensor":
      return printTensor(s.function);
    case "program":
      return printProgram(s.program);
    default:
      throw s satisfies never;
  }
}

type FileView = Pick<ModelView, "format" | "opsets" | "producer" | "nodes" | "ops" | "parameters">;

function describeFile(bytes: Uint8Array, source: Source): FileView {
  if (formatOf(bytes) === "onnx") return describeOnnx(onnxInfo(bytes));
  const { ops, parameters } = countText(source);
  const nodes = [...ops.values()].reduce((a, b) => a + b, 0);
  return {
    format: `${source.kind} IR text`,
    opsets: {},
    producer: "",
    nodes,
    ops: Object.fromEntries([...ops].sort((a, b) => b[1] - a[1])),
    parameters,
  };
}

function describeOnnx(info: ReturnType<typeof onnxInfo>): FileView {
  const { irVersion, opsets, producer, nodes, ops, parameters } = info;
  return { format: `ONNX, IR version ${irVersion}`, opsets, producer, nodes, ops, parameters };
}

/** How many ops or kernels a text has of each kind, and the elements of its constants. */
function countText(s: Source): { ops: Map<string, number>; parameters: number } {
  const ops = new Map<string, number>();
  let parameters = 0;
  const elements = (dims: readonly unknown[] | undefined) => dims?.reduce<number>((a, d) => a * Number(d), 1) ?? 0;
  if (s.kind === "graph") {
    const visit = (r: Region): void => {
      for (const op of r.ops) {
        ops.set(op.def.name, (ops.get(op.def.name) ?? 0) + 1);
        if (op.def.name === "constant") parameters += elements(op.results[0]?.dims);
        op.regions.forEach(visit);
      }
    };
    visit(s.graph);
  } else if (s.kind === "tensor") {
    ops.set("kernel", s.function.kernels.length);
    for (const t of s.function.tensors) if (t.data !== null) parameters += elements(t.dims);
  } else ops.set("kernel", s.program.kernels.length);
  return { ops, parameters };
}

function describeSource(s: Source): Pick<ModelView, "inputs" | "outputs" | "symbols" | "flops"> {
  const { inputs, outputs, symbols } = portsOf(s);
  const port =
    (names: readonly string[]) =>
    (p: { readonly name: string } & Pick<GraphFunction["params"][number], "dtype" | "dims">, i: number): PortView => ({
      name: names[i] ?? p.name,
      dtype: p.dtype.name,
      dims: p.dims.map(viewDim),
    });
  return {
    inputs: inputs.map(port(s.inputNames)),
    outputs: outputs.map(port(s.outputNames)),
    symbols: symbols.map(viewSymbol),
    flops: s.kind === "graph" ? countFlops(s.graph) : null,
  };
}

function portsOf(s: Source) {
  switch (s.kind) {
    case "graph":
      return { inputs: s.graph.params, outputs: s.graph.results, symbols: s.graph.symbols };
    case "tensor":
      return { inputs: s.function.inputs, outputs: s.function.outputs, symbols: s.function.symbols };
    case "program":
      return { inputs: s.program.inputs, outputs: s.program.outputs, symbols: s.program.symbols };
    default:
      throw s satisfies never;
  }
}

export function viewSymbol(s: DimSymbol): SymbolView {
  return { name: s.name, min: s.min, max: Number.isFinite(s.max) ? s.max : null, multiple: s.multiple, source: s.source };
}

/** What is told of a model that holds ops which cannot be compiled: all of them. */
function describeUnsupported(bytes: Uint8Array, options: ImportOptions): Omit<ModelView, "name" | "bytes" | "missingFiles"> {
  const { info, inputs, outputs, problems } = inspectOnnx(bytes, { ...options, resolver: options.resolver ?? null });
  const port = ({ name, dtype, dims }: Signature): PortView => ({ name, dtype, dims: dims?.map((d) => (/^\d+$/.test(d) ? Number(d) : d)) ?? null });
  return {
    ...describeOnnx(info),
    inputs: inputs.map(port),
    outputs: outputs.map(port),
    symbols: [],
    problems: problems.map((p) => ({
      op: p.domain === "" ? p.opType : `${p.domain}.${p.opType}`,
      version: p.version,
      node: p.node,
      reason: p.reason,
    })),
    flops: null,
  };
}
