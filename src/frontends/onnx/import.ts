import { UnsupportedError, UserError } from "../../base/errors.ts";
import type { ConstantData } from "../../base/constant.ts";
import type { Dim } from "../../base/dim.ts";
import type { GraphFunction } from "../../graph/ir.ts";
import { Importer, type Problem, opsetMap, withFindings } from "./importer.ts";
import { type Binding, type Label, Operand, Optional, Sequence, dataOperand } from "./operand.ts";
import { newestOpset, oldestOpset } from "./ops/registry.ts";
import { inOrder } from "./order.ts";
import { type ModelProto, type TensorProto, type ValueInfo, type ValueType, decodeModel } from "./proto.ts";
import { checkFunction, checkScopes, forEachNode } from "./scopes.ts";
import { type Findings, type SymbolOption, Symbols, mustBeSize } from "./symbols.ts";
import { type ExternalDataResolver, dtypeOf, onnxTypeName } from "./tensor.ts";

export type { ExternalDataResolver } from "./tensor.ts";
export type { Problem } from "./importer.ts";

export interface ImportOptions {
  /** Opens data that the model keeps in other files; without one, such data is an error when it is needed. */
  readonly resolver?: ExternalDataResolver | null;
  /** Dims of inputs by name: a number fixes a symbolic dimension, a name renames it (two of one name are equal). */
  readonly shapes?: Readonly<Record<string, readonly (number | string)[]>>;
  /** Values or bounds of symbolic dimensions by name. */
  readonly symbols?: Readonly<Record<string, SymbolOption>>;
  /** Values of inputs, by name, that are then constants and no inputs any more. */
  readonly values?: Readonly<Record<string, GivenValue>>;
  /** Name of the graph. */
  readonly name?: string;
}

/** A tensor's elements as ONNX lays them out: whole ones little-endian, those of less than a byte packed. */
export interface GivenValue {
  readonly dims: readonly number[];
  readonly bytes: Uint8Array;
}

export interface ModelInfo {
  readonly format: "onnx";
  readonly irVersion: number;
  readonly opsets: Readonly<Record<string, number>>;
  readonly producer: string;
  readonly nodes: number;
  /** How many nodes there are of each op, most frequent first; ops of other domains as `domain.Op`. */
  readonly ops: Readonly<Record<string, number>>;
  /** Elements of all weights. */
  readonly parameters: number;
}

export interface ImportedModel {
  readonly graph: GraphFunction;
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /** Keys of the outputs that are lists of maps; null for tensors. */
  readonly outputLabels: readonly (readonly Label[] | null)[];
  readonly info: ModelInfo;
}

/** An input or output as `inspect` shows it; an unknown dtype by ONNX's name, unknown dims as null. */
export interface Signature {
  readonly name: string;
  readonly dtype: string;
  readonly dims: readonly string[] | null;
}

export interface Inspection {
  readonly info: ModelInfo;
  readonly inputs: readonly Signature[];
  readonly outputs: readonly Signature[];
  /** Everything that stands in the way of compiling the model. */
  readonly problems: readonly Problem[];
  /** The graph, when there are no problems. */
  readonly graph: GraphFunction | null;
}

/**
 * An ONNX model (opsets 7 to 28) as graph IR. Weights stay where they are: in `bytes`, which must not change, or behind
 * the resolver. Sizes that the model leaves open become symbols.
 * @throws UserError `not-onnx`, `truncated`, `malformed-protobuf`, `bad-tensor`, `external-data`, `undefined-value`,
 *   `invalid-model`, `recursive-function`, `too-many-nodes`, `shape`
 * @throws UnsupportedError `unsupported-ops` with every node that cannot be compiled, `unsupported-opset`
 */
export function importOnnx(bytes: Uint8Array, options: ImportOptions = {}): ImportedModel {
  const model = withValues(readModel(bytes), options.values ?? {});
  checkModel(model);
  const { graph, problems, inputs, labels } = withFindings((f) => build(model, options, options.resolver ?? null, f, false));
  if (problems.length > 0 || graph === null) throw unsupported(problems);
  return { graph, inputNames: ports(inputs).map((p) => p.name), outputNames: graph.resultNames, outputLabels: labels, info: infoOf(model) };
}

/**
 * What a model holds and what of it cannot be compiled, without failing for the latter. Data in other files need not be
 * there (leave out the resolver).
 * @throws UserError when the file is no readable model, or options contradict it
 */
export function inspectOnnx(bytes: Uint8Array, options: ImportOptions = {}): Inspection {
  const model = readModel(bytes);
  checkFunctionsAndScopes(model);
  const { graph, problems, inputs, outputs } = withFindings((f) => build(model, options, options.resolver ?? absentData, f, true));
  const opset = opsetProblem(model);
  const all =
    opset === null ? problems : [{ opType: "opset", domain: "", version: opsetMap(model.opsets).get("") ?? 0, node: "", reason: opset }, ...problems];
  return {
    info: infoOf(model),
    inputs: inputs.flatMap((i) =>
      i.binding === null ? [signature(i.info, null)] : portsOf(i.name, i.binding).map((p) => signature({ ...i.info, name: p.name }, p.operand)),
    ),
    outputs: model.graph.outputs.flatMap((o, i) => {
      const made = outputs[i] ?? null;
      return made === null ? [signature(o, null)] : portsOf(o.name, made).map((p) => signature({ ...o, name: p.name }, p.operand));
    }),
    problems: all,
    graph: all.length === 0 ? graph : null,
  };
}

/** What a model's file says of itself. @throws UserError when it is no readable model */
export function onnxInfo(bytes: Uint8Array): ModelInfo {
  return infoOf(decodeModel(bytes));
}

/** The model in a file, its nodes in order. */
function readModel(bytes: Uint8Array): ModelProto {
  const model = decodeModel(bytes);
  return { ...model, graph: inOrder(model.graph) };
}

/** The model with constants in place of inputs. @throws UserError `value` for what is no input */
function withValues(model: ModelProto, values: Readonly<Record<string, GivenValue>>): ModelProto {
  const given = Object.entries(values).map(([name, { dims, bytes }]): TensorProto => {
    const info = model.graph.inputs.find((i) => i.name === name);
    if (info === undefined)
      throw new UserError("value", `a value was given for '${name}', but the model has no such input; it has ${quoted(model.graph.inputs)}`);
    return { name, dims, dataType: info.elemType, raw: bytes, ints: [], external: null };
  });
  if (given.length === 0) return model;
  const inputs = model.graph.inputs.filter((i) => !Object.hasOwn(values, i.name));
  return { ...model, graph: { ...model.graph, inputs, initializers: [...model.graph.initializers, ...given] } };
}
const quoted = (infos: readonly ValueInfo[]) => infos.map((i) => `'${i.name}'`).join(", ");

/** Stands in for files that nobody looks for: sizes are as the model says, reading is an error. */
const absentData: ExternalDataResolver = {
  open(location, _offset, length): ConstantData {
    const read = (): never => {
      throw new UserError("external-data", `the data in '${location}' is needed to follow the model's shapes; give a resolver for external data`);
    };
    return { byteLength: length ?? 0, read, key: null };
  },
};

interface BoundInput {
  readonly name: string;
  readonly info: ValueInfo;
  readonly binding: Binding | null;
}

/** A tensor of the compiled model's interface. */
interface NamedOperand {
  readonly name: string;
  readonly operand: Operand;
}

/** The tensors that a value of the model's interface consists of: those of a sequence are `name.0`, `name.1`, …; of an empty optional there are none. */
function portsOf(name: string, b: Binding): NamedOperand[] {
  if (b instanceof Sequence) return b.elements.map((operand, i) => ({ name: `${name}.${i}`, operand }));
  if (b instanceof Optional) return b.content === null ? [] : portsOf(name, b.content);
  return [{ name, operand: b }];
}
const ports = (inputs: readonly BoundInput[]): NamedOperand[] => inputs.flatMap((i) => (i.binding === null ? [] : portsOf(i.name, i.binding)));

/** One pass over the model, under what is known of its symbols. */
function build(model: ModelProto, options: ImportOptions, resolver: ExternalDataResolver | null, findings: Findings, lenient: boolean) {
  const importer = new Importer(model, resolver, lenient);
  const symbols = new Symbols(options.symbols ?? {}, findings);
  const inputs = bindInputs(model, options, symbols, importer);
  const outputs = importer.graph(model.graph, model.opsets, new Map(inputs.map((i) => [i.name, i.binding])));
  const { problems, g } = importer;
  if (problems.length > 0 || outputs.some((o) => o === null)) return { graph: null, problems, inputs, outputs, labels: [] };
  g.origin = [];
  const names = model.graph.outputs.map((o) => o.name);
  // Some models list an output twice; it is one result.
  const results = outputs.flatMap((o, i) => (names.indexOf(names[i] as string) < i ? [] : portsOf(names[i] as string, o as Binding)));
  const values = results.map((r) => r.operand.value);
  const name = (options.name ?? model.graph.name).replace(/[^A-Za-z0-9_]+/g, "_").replace(/_+$/, "");
  const graph = g.finish(
    name === "" ? "main" : name,
    symbols.all,
    values,
    results.map((r) => r.name),
  );
  // What stands in branches and loops may never run.
  for (const op of graph.ops) for (const v of op.results) v.dims.forEach(mustBeSize);
  return {
    graph,
    problems,
    inputs,
    outputs,
    labels: results.map((r) => r.operand.labels),
  };
}

/** The tensor `name.3` of a sequence `name`. */
function elementInfo(infos: readonly ValueInfo[], name: string): ValueInfo | undefined {
  const of = infos.find((i) => i.kind === "sequence" && name.startsWith(`${i.name}.`) && /^\d+$/.test(name.slice(i.name.length + 1)));
  return of?.element == null ? undefined : elementOf(of.element, name);
}

/** Graph parameters for the inputs. An input with an initializer is a constant with a default: it keeps that. */
function bindInputs(model: ModelProto, options: ImportOptions, symbols: Symbols, importer: Importer): BoundInput[] {
  const constants = new Set([...model.graph.initializers.map((t) => t.name), ...model.graph.sparseInitializers]);
  const infos = model.graph.inputs.filter((i) => !constants.has(i.name));
  for (const [name, dims] of Object.entries(options.shapes ?? {})) {
    const info = infos.find((i) => i.name === name) ?? elementInfo(infos, name);
    if (info === undefined) throw new UserError("shape", `a shape was given for '${name}', but the model has no such input; it has ${quoted(infos)}`);
    symbols.fix(info, dims);
  }
  const bound = infos.map((info): BoundInput => ({ name: info.name, info, binding: bindInput(info, info.name, options, symbols, importer) }));
  symbols.checkOptions();
  return bound;
}

/** What an input stands for; null, with the reason among the problems, where it cannot be compiled. */
function bindInput(info: ValueInfo, name: string, options: ImportOptions, symbols: Symbols, importer: Importer): Binding | null {
  const refuse = (reason: string): null => {
    importer.problems.push({ opType: "input", domain: "", version: 0, node: name, reason });
    return null;
  };
  const ask = (reason: string): null => {
    if (!importer.lenient) throw new UserError("shape", reason);
    return refuse(reason);
  };
  if (info.kind === "sequence" && info.element?.kind === "tensor") {
    const length = symbols.chosen(`${name}.length`);
    if (length === null) return ask(`input '${name}' is a sequence: say how many tensors it holds, as in --shape ${name}.length=3`);
    if (length > longestSequence) return ask(`input '${name}' is a sequence of ${length} tensors; expected at most ${longestSequence}`);
    const elements = Array.from({ length }, (_, i) =>
      bindInput(elementOf(info.element as ValueType, name), `${name}.${i}`, options, symbols, importer),
    );
    return elements.some((e) => !(e instanceof Operand)) ? null : new Sequence(elements as Operand[]);
  }
  if (info.kind === "optional" && info.element !== null) {
    const present = symbols.chosen(`${name}.present`);
    if (present === null) return ask(`input '${name}' is optional: say whether it is given, with --shape ${name}.present=1 (or 0)`);
    if (present === 0) return new Optional(null);
    const content = bindInput({ ...info.element, name }, name, options, symbols, importer);
    return content === null || content instanceof Optional ? null : new Optional(content);
  }
  const dtype = info.kind === "tensor" ? dtypeOf(info.elemType) : null;
  if (dtype === null) return refuse(`inputs of type ${typeName({ info })} are not supported`);
  const given = options.shapes?.[name];
  const rank = info.dims?.length ?? given?.length;
  if (rank === undefined)
    return ask(`the model does not say how many dimensions input '${name}' has; give its shape, as in --shape ${name}=1x3x224x224`);
  const dims = Array.from({ length: rank }, (_, i): Dim => symbols.dimension({ ...info, name }, i));
  return dataOperand(importer.g.param(name, { dtype, dims }));
}

/** An element's type: sizes that a sequence's type calls by one name need not be the same in all elements. */
function elementOf(type: ValueType, name: string): ValueInfo {
  return { ...type, name, dims: type.dims?.map((d) => (typeof d === "string" ? null : d)) ?? null };
}

/** Each tensor of a sequence is an input of its own. */
const longestSequence = 1024;

function typeName(i: { readonly info: ValueInfo }): string {
  return i.info.kind === "tensor" ? onnxTypeName(i.info.elemType) : i.info.kind;
}

function signature(o: ValueInfo, made: Operand | null): Signature {
  if (made !== null) return { name: o.name, dtype: made.dtype.name, dims: made.dims.map(String) };
  const dtype = o.kind === "tensor" ? (dtypeOf(o.elemType)?.name ?? onnxTypeName(o.elemType)) : o.kind;
  return { name: o.name, dtype, dims: o.dims?.map((d) => String(d ?? "?")) ?? null };
}

function checkModel(model: ModelProto): void {
  const problem = opsetProblem(model);
  if (problem !== null) throw new UnsupportedError("unsupported-opset", problem);
  checkFunctionsAndScopes(model);
}

function checkFunctionsAndScopes(model: ModelProto): void {
  checkScopes(model.graph);
  for (const f of model.functions) checkFunction(f);
}

function opsetProblem(model: ModelProto): string | null {
  const version = opsetMap(model.opsets).get("");
  if (version === undefined || (version >= oldestOpset && version <= newestOpset)) return null;
  const way =
    version < oldestOpset
      ? "convert the model with onnx.version_converter"
      : "export the model with an older opset, or use a newer version of tilewright";
  return `the model uses opset ${version} of ONNX; this version compiles opsets ${oldestOpset} to ${newestOpset}: ${way}`;
}

/** All problems in one error, the same complaint of many nodes on one line. */
/** The error that names everything which stands in the way. */
export function unsupported(problems: readonly Problem[]): UnsupportedError {
  const items = problems.map((p) => `${opName(p)}${p.version > 0 ? ` (opset ${p.version})` : ""} '${p.node}': ${p.reason}`);
  return new UnsupportedError(
    "unsupported-ops",
    `the model holds ${problems.length} thing${problems.length === 1 ? "" : "s"} that cannot be compiled yet:`,
    items,
  );
}

function opName(n: { readonly domain: string; readonly opType: string }): string {
  return n.domain === "" ? n.opType : `${n.domain}.${n.opType}`;
}

function infoOf(model: ModelProto): ModelInfo {
  const counts = new Map<string, number>();
  let nodes = 0;
  forEachNode(model.graph.nodes, (n) => {
    nodes++;
    counts.set(opName(n), (counts.get(opName(n)) ?? 0) + 1);
  });
  const ops = Object.fromEntries([...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)));
  const opsets = Object.fromEntries(model.opsets.map((o) => [o.domain === "" ? "ai.onnx" : o.domain, o.version]));
  return { format: "onnx", irVersion: model.irVersion, opsets, producer: model.producer, nodes, ops, parameters: countParameters(model) };
}

/** Elements of the weights: initializers, but not the wide integers and bools that shapes, indices and masks are made of. */
function countParameters(model: ModelProto): number {
  return model.graph.initializers.reduce((n, t) => {
    const d = dtypeOf(t.dataType);
    const weight = d === null || d.isFloat || (d.isInteger && d.bits <= 8);
    return weight ? n + t.dims.reduce((a, b) => a * b, 1) : n;
  }, 0);
}
