import { UserError, VerifyError } from "./base/errors.ts";
import { Reader, type SymbolBounds } from "./base/text.ts";
import { type GivenValue, importOnnx } from "./frontends/onnx/import.ts";
import { decodeModel } from "./frontends/onnx/proto.ts";
import type { SymbolOption } from "./frontends/onnx/symbols.ts";
import { type ExternalDataResolver, dtypeOf } from "./frontends/onnx/tensor.ts";
import type { GraphFunction } from "./graph/ir.ts";
import { parseGraph } from "./graph/parse.ts";
import { verifyGraph } from "./graph/verify.ts";
import type { Program } from "./loop/ir.ts";
import { parseProgram } from "./loop/parse.ts";
import { verifyProgram } from "./loop/verify.ts";
import { simplifyBook } from "./scalar/rules/simplify.ts";
import { Scalars } from "./scalar/scalars.ts";
import type { TensorFunction } from "./tensor/ir.ts";
import { parseTensor } from "./tensor/parse.ts";
import { verifyTensor } from "./tensor/verify.ts";

interface Named {
  readonly name: string;
  /** Names of the ports as the model's user knows them. */
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /** Keys of the outputs that are lists of maps; null, or absent for all, for tensors. */
  readonly outputLabels?: readonly (readonly (number | string)[] | null)[];
}
/** A model as a frontend or one of the parsers gives it. */
export type Source =
  | (Named & { readonly kind: "graph"; readonly graph: GraphFunction })
  | (Named & { readonly kind: "tensor"; readonly function: TensorFunction; readonly sc: Scalars })
  | (Named & { readonly kind: "program"; readonly program: Program; readonly sc: Scalars });

export interface ImportOptions {
  /** For messages and the artifact: the file's name without its extension. */
  readonly name: string;
  readonly shapes?: Readonly<Record<string, readonly (number | string)[]>>;
  /** Values of an ONNX model's inputs, which are then constants. */
  readonly values?: Readonly<Record<string, GivenValue>>;
  readonly symbols?: Readonly<Record<string, SymbolOption>>;
  readonly resolver?: ExternalDataResolver;
}

/** The formats told apart by content. */
export type Format = "graph" | "tensor" | "program" | "onnx";

/** IR text starts with its level's keyword, after comments; all else is taken for ONNX. */
export function formatOf(bytes: Uint8Array): Format {
  if (bytes.length === 0) throw new UserError("empty", "the file is empty; expected an ONNX model or IR text (.tw)");
  const head = new TextDecoder().decode(bytes.subarray(0, 1 << 16)).replace(/^\uFEFF/, "");
  const word = /^(?:\s|\/\/[^\n]*(?:\n|$))*(graph|tensor|program)\s*@/.exec(head)?.[1];
  return (word as Format | undefined) ?? "onnx";
}

/** Names of a model's inputs, before it is imported; none for IR text. @throws UserError for what is no model */
export function inputNamesOf(bytes: Uint8Array): readonly string[] {
  if (formatOf(bytes) !== "onnx") return [];
  return decodeModel(bytes).graph.inputs.map((i) => i.name);
}

/** A tensor of the model's interface as the model itself describes it: sizes, the model's names of sizes, null for what it leaves open. */
export interface DeclaredPort {
  readonly name: string;
  /** Null for a type that there is none for. */
  readonly dtype: string | null;
  readonly dims: readonly (number | string | null)[] | null;
}

/** What an ONNX model says of its inputs and outputs; nothing for IR text. @throws UserError for what is no model */
export function declaredPorts(bytes: Uint8Array): { readonly inputs: readonly DeclaredPort[]; readonly outputs: readonly DeclaredPort[] } {
  if (formatOf(bytes) !== "onnx") return { inputs: [], outputs: [] };
  const { inputs, outputs, initializers } = decodeModel(bytes).graph;
  // What has an initializer is no input, though it may stand among them.
  const constants = new Set(initializers.map((t) => t.name));
  const ports = (infos: typeof inputs) =>
    infos.map((i) => ({ name: i.name, dims: i.dims, dtype: (i.kind === "tensor" ? dtypeOf(i.elemType)?.name : null) ?? null }));
  return { inputs: ports(inputs.filter((i) => !constants.has(i.name))), outputs: ports(outputs) };
}

/** Reads a model of any format. @throws UserError, UnsupportedError, VerifyError */
export function importSource(bytes: Uint8Array, options: ImportOptions): Source {
  const format = formatOf(bytes);
  if (format === "onnx") return importModel(bytes, options);
  const [named] = Object.keys(options.shapes ?? {});
  if (named !== undefined)
    throw new UserError("shape", `IR text states its shapes itself: change that of '${named}' there; --shape SYMBOL=8 sets a symbol`);
  const bounds = symbolBounds(options.symbols ?? {});
  const r = new Reader(new TextDecoder().decode(bytes), `${options.name}.tw`, bounds);
  const source = parseText(r, format);
  for (const name of bounds.keys())
    if (!r.symbols.has(name)) throw new UserError("shape", `the text has no symbol '${name}'; it has: ${[...r.symbols.keys()].join(", ") || "none"}`);
  if (r.peek().kind !== "end") r.fail(`expected the end of the text, got '${r.peek().text}'`);
  return source;
}

function symbolBounds(symbols: Readonly<Record<string, SymbolOption>>): Map<string, SymbolBounds> {
  return new Map(
    Object.entries(symbols).map(([n, o]) => [
      n,
      typeof o === "number" ? { min: o, max: o } : { min: o.min ?? 1, max: o.max ?? Number.POSITIVE_INFINITY },
    ]),
  );
}

function parseText(r: Reader, format: Exclude<Format, "onnx">): Source {
  const names = (ports: readonly { readonly name: string }[]) => ports.map((p) => p.name);
  switch (format) {
    case "graph": {
      const graph = parseGraph(r);
      checkText(() => verifyGraph(graph));
      return { kind: "graph", graph, name: graph.name, inputNames: names(graph.params), outputNames: graph.resultNames };
    }
    case "tensor": {
      const sc = new Scalars(simplifyBook);
      const f = parseTensor(r, sc);
      checkText(() => verifyTensor(f));
      return { kind: "tensor", function: f, sc, name: f.name, inputNames: names(f.inputs), outputNames: names(f.outputs) };
    }
    case "program": {
      const sc = new Scalars(simplifyBook);
      const program = parseProgram(r, sc);
      checkText(() => verifyProgram(program));
      return { kind: "program", program, sc, name: program.name, inputNames: names(program.inputs), outputNames: names(program.outputs) };
    }
    default:
      throw format satisfies never;
  }
}

/** A text that breaks an IR's invariants is its writer's mistake, not ours. */
function checkText(verify: () => void): void {
  try {
    verify();
  } catch (e) {
    throw e instanceof VerifyError ? new UserError("invalid-ir", e.message) : e;
  }
}

function importModel(bytes: Uint8Array, { name, shapes, symbols, values, resolver }: ImportOptions): Source {
  const m = importOnnx(bytes, { name, shapes: shapes ?? {}, symbols: symbols ?? {}, values: values ?? {}, resolver: resolver ?? null });
  return { kind: "graph", graph: m.graph, name, inputNames: m.inputNames, outputNames: m.outputNames, outputLabels: m.outputLabels };
}
