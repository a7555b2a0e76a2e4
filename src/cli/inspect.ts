import path from "node:path";
import type { Command } from "commander";
import { UserError } from "../base/errors.ts";
import { type ExternalDataResolver, type Problem, inspectOnnx } from "../frontends/onnx/import.ts";
import { countFlops } from "../graph/flops.ts";
import type { GraphFunction, Region } from "../graph/ir.ts";
import { formatOf, importSource, inputNamesOf } from "../importer.ts";
import { readModel } from "../node/model-file.ts";
import { ReadingError, collect, parseSizes } from "./common.ts";
import { command } from "./options.ts";

interface InspectFlags {
  readonly shape?: readonly string[];
  readonly json?: boolean;
}

export function inspectCommand(): Command {
  return command("inspect", "<model>", "Tell what a model holds: inputs, outputs, ops, parameters, FLOPs, and every node that cannot be compiled.", [
    "inspect model.onnx",
    "inspect model.onnx --shape batch=1 --json",
  ])
    .option("--shape <spec>", "NAME=1x3x224x224, SYMBOL=4 or SYMBOL=1..16; may be repeated", collect)
    .option("--json", "print one JSON object")
    .action(inspectAction);
}

interface Port {
  readonly name: string;
  readonly dtype: string;
  readonly dims: readonly string[] | null;
}
interface Report {
  readonly format: string;
  readonly opsets: Readonly<Record<string, number>>;
  readonly producer: string;
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly symbols: readonly string[];
  /** Sizes that the model computes when it runs. */
  readonly computed_sizes: readonly string[];
  readonly nodes: number;
  readonly ops: Readonly<Record<string, number>>;
  readonly parameters: number;
  readonly flops: number | null;
  readonly problems: readonly Problem[];
}

function inspectAction(file: string, flags: InspectFlags): void {
  const r = inspectFile(file, flags.shape ?? []);
  process.stdout.write(flags.json ? `${JSON.stringify({ model: path.basename(file), ...r })}\n` : reportText(path.basename(file), r));
}

function inspectFile(file: string, shape: readonly string[]): Report {
  const { bytes, resolver } = readModel(file);
  try {
    const { name } = path.parse(file);
    const sizes = parseSizes(shape, shape.length === 0 ? [] : inputNamesOf(bytes));
    if (formatOf(bytes) !== "onnx") return inspectText(bytes, name, sizes);
    const { info, inputs, outputs, problems, graph } = inspectOnnx(bytes, { name, resolver: lenient(resolver), ...sizes });
    return {
      format: `ONNX, IR version ${info.irVersion}`,
      opsets: info.opsets,
      producer: info.producer,
      inputs,
      outputs,
      symbols: graph === null ? [] : symbolsOf(graph.symbols, "input"),
      computed_sizes: graph === null ? [] : symbolsOf(graph.symbols, "data"),
      nodes: info.nodes,
      ops: info.ops,
      parameters: info.parameters,
      flops: graph === null ? null : countFlops(graph),
      problems,
    };
  } catch (e) {
    throw new ReadingError(e);
  }
}

/** A model can be looked at without its weights: sizes are as it says; only reading what is missing fails. */
function lenient(resolver: ExternalDataResolver): ExternalDataResolver {
  return {
    open(location, offset, length) {
      try {
        return resolver.open(location, offset, length);
      } catch (e) {
        if (!(e instanceof UserError)) throw e;
        const read = (): never => {
          throw e;
        };
        return { byteLength: length ?? 0, read, key: null };
      }
    },
  };
}

function symbolsOf(symbols: GraphFunction["symbols"], source: "input" | "data"): string[] {
  const chosen = symbols.filter((s) => s.source === source);
  return chosen.map((s) => `${s.name} in [${s.min}, ${Number.isFinite(s.max) ? s.max : "∞"}]${s.multiple === 1 ? "" : ` multiple of ${s.multiple}`}`);
}

function inspectText(bytes: Uint8Array, name: string, sizes: Parameters<typeof importSource>[1] | object): Report {
  const source = importSource(bytes, { name, ...sizes });
  const f = source.kind === "graph" ? source.graph : source.kind === "tensor" ? source.function : source.program;
  const port = (p: { readonly name: string; readonly dtype: { readonly name: string }; readonly dims: readonly unknown[] }): Port => ({
    name: p.name,
    dtype: p.dtype.name,
    dims: p.dims.map(String),
  });
  const ops = new Map<string, number>();
  let parameters = 0;
  if (source.kind === "graph") {
    const visit = (r: Region): void => {
      for (const op of r.ops) {
        ops.set(op.def.name, (ops.get(op.def.name) ?? 0) + 1);
        if (op.def.name === "constant") parameters += op.results[0]?.dims.reduce<number>((a, d) => a * Number(d), 1) ?? 0;
        op.regions.forEach(visit);
      }
    };
    visit(source.graph);
  } else if (source.kind === "tensor") {
    ops.set("kernel", source.function.kernels.length);
    for (const t of source.function.tensors) if (t.data !== null) parameters += t.dims.reduce<number>((a, d) => a * Number(d), 1);
  } else ops.set("kernel", source.program.kernels.length);
  const inputs = source.kind === "graph" ? source.graph.params : source.kind === "tensor" ? source.function.inputs : source.program.inputs;
  const outputs =
    source.kind === "graph"
      ? source.graph.results.map((r, i) => ({ ...port(r), name: source.graph.resultNames[i] ?? r.name }))
      : (source.kind === "tensor" ? source.function.outputs : source.program.outputs).map(port);
  return {
    format: `${source.kind} IR text`,
    opsets: {},
    producer: "",
    inputs: inputs.map(port),
    outputs,
    symbols: symbolsOf(f.symbols, "input"),
    computed_sizes: symbolsOf(f.symbols, "data"),
    nodes: [...ops.values()].reduce((a, b) => a + b, 0),
    ops: Object.fromEntries([...ops].sort((a, b) => b[1] - a[1])),
    parameters,
    flops: source.kind === "graph" ? countFlops(source.graph) : null,
    problems: [],
  };
}

function reportText(name: string, r: Report): string {
  const port = (p: Port) => `  ${p.name}: ${p.dtype}${p.dims === null ? " of unknown rank" : `[${p.dims.join(", ")}]`}`;
  const list = (head: string, items: readonly string[]) => (items.length === 0 ? [] : [head, ...items]);
  const opsets = Object.entries(r.opsets)
    .map(([d, v]) => `${d} ${v}`)
    .join(", ");
  const flops =
    r.flops === null
      ? r.problems.length > 0
        ? "unknown"
        : r.symbols.length === 0
          ? "by sizes that the model computes"
          : "by the sizes of its symbols (fix them with --shape)"
      : `${(r.flops / 1e9).toPrecision(4)} GFLOP`;
  const lines = [
    `${name}: ${r.format}${opsets === "" ? "" : `, opset ${opsets}`}${r.producer === "" ? "" : `, made by ${r.producer}`}`,
    ...list("inputs", r.inputs.map(port)),
    ...list("outputs", r.outputs.map(port)),
    ...list(
      "symbols",
      r.symbols.map((s) => `  ${s}`),
    ),
    ...list(
      "sizes that the model computes",
      r.computed_sizes.map((s) => `  ${s}`),
    ),
    `parameters: ${r.parameters.toLocaleString("en")}`,
    `arithmetic: ${flops}`,
    `nodes: ${r.nodes}`,
    ...Object.entries(r.ops).map(([op, n]) => `  ${String(n).padStart(5)}  ${op}`),
  ];
  if (r.problems.length > 0) {
    lines.push(`cannot be compiled yet, for ${r.problems.length} reason${r.problems.length === 1 ? "" : "s"}:`);
    lines.push(
      ...r.problems.map(
        (p) => `  ${p.domain === "" ? "" : `${p.domain}.`}${p.opType}${p.version > 0 ? ` (opset ${p.version})` : ""} '${p.node}': ${p.reason}`,
      ),
    );
  }
  return `${lines.join("\n")}\n`;
}
