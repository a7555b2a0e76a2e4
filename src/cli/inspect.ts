import path from "node:path";
import type { Command } from "commander";
import { UserError } from "../base/errors.ts";
import { type ExternalDataResolver, type Problem, inspectOnnx } from "../frontends/onnx/import.ts";
import { openSource, viewSymbol } from "../explorer/source.ts";
import type { PortView, SymbolView } from "../explorer/types.ts";
import { countFlops } from "../graph/flops.ts";
import { type ImportOptions, formatOf, inputNamesOf } from "../importer.ts";
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
    const symbols = graph?.symbols.map(viewSymbol) ?? [];
    return {
      format: `ONNX, IR version ${info.irVersion}`,
      opsets: info.opsets,
      producer: info.producer,
      inputs,
      outputs,
      symbols: symbolsOf(symbols, "input"),
      computed_sizes: symbolsOf(symbols, "data"),
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

function symbolsOf(symbols: readonly SymbolView[], source: SymbolView["source"]): string[] {
  const chosen = symbols.filter((s) => s.source === source);
  return chosen.map((s) => `${s.name} in [${s.min}, ${s.max ?? "∞"}]${s.multiple === 1 ? "" : ` multiple of ${s.multiple}`}`);
}

function inspectText(bytes: Uint8Array, name: string, sizes: Partial<ImportOptions>): Report {
  const { view } = openSource(bytes, { ...sizes, name });
  const port = (p: PortView): Port => ({ name: p.name, dtype: p.dtype, dims: p.dims?.map(String) ?? null });
  const { format, opsets, producer, nodes, ops, parameters, flops } = view;
  return {
    format,
    opsets,
    producer,
    inputs: view.inputs.map(port),
    outputs: view.outputs.map(port),
    symbols: symbolsOf(view.symbols, "input"),
    computed_sizes: symbolsOf(view.symbols, "data"),
    nodes,
    ops,
    parameters,
    flops,
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
