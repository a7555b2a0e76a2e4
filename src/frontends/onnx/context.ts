import { type Dim, dimEquals, dimMin, isDataDependent, maxDim, upperBound } from "../../base/dim.ts";
import type { DType } from "../../base/dtype.ts";
import { UserError } from "../../base/errors.ts";
import type { Num } from "../../base/numeric.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import type { Value } from "../../graph/ir.ts";
import { type Binding, Operand, Optional, Sequence, constantOperand, dataOperand, describeBinding, dimValue, knownOperand } from "./operand.ts";
import type { AttributeProto, GraphProto, NodeProto } from "./proto.ts";
import { Ints, betterKnown } from "./sizes.ts";
import { equality, mustEqual, shapeHint, surelyDiffer } from "./symbols.ts";
import { type ExternalDataResolver, type ModelTensor, dtypeOf, onnxTypeName, readTensorProto } from "./tensor.ts";

/** Thrown by a mapping for a node that is right, but that this version cannot compile. */
export class CannotMap {
  readonly reason: string;
  constructor(reason: string) {
    this.reason = reason;
  }
}

/** What a mapping gives: one operand for each output; null for an output that it cannot give (an error if it is used). */
export type Mapped = Binding | readonly (Binding | null)[];

/** The mapping of one source op. `since` is the first opset version whose meaning it has. */
export interface OpMapping {
  readonly since: number;
  readonly map: (c: NodeContext) => Mapped;
}
export type OpTable = Readonly<Record<string, OpMapping>>;

/** Dims that a model declares for a value: sizes, names, or nothing; null where not even the rank is said. */
export type DeclaredDims = readonly (number | string | null)[] | null;

/** What a mapping works with: one node, its operands and attributes, and the builder. */
export class NodeContext {
  readonly g: GraphBuilder;
  readonly node: NodeProto;
  /** Version of the node's opset. */
  readonly version: number;
  readonly inputs: readonly (Binding | null)[];
  private readonly resolver: ExternalDataResolver | null;
  private readonly usedOutputs: readonly boolean[];
  private readonly declared: readonly DeclaredDims[];
  /** Arithmetic on sizes that the model computes. */
  readonly sizes: Ints;
  /** Imports a subgraph in place, its inputs given in order; gives its outputs. */
  readonly inlineGraph: (graph: GraphProto, inputs?: readonly Binding[]) => readonly Binding[];
  /** Tries to import something: what it reports is taken back, and nothing happens, when it gives null. */
  readonly attempt: <T>(make: () => T | null) => T | null;

  constructor(parts: {
    readonly g: GraphBuilder;
    readonly node: NodeProto;
    readonly version: number;
    readonly inputs: readonly (Binding | null)[];
    readonly resolver: ExternalDataResolver | null;
    readonly usedOutputs: readonly boolean[];
    readonly declared: readonly DeclaredDims[];
    readonly inlineGraph: (graph: GraphProto, inputs?: readonly Binding[]) => readonly Binding[];
    readonly attempt: <T>(make: () => T | null) => T | null;
  }) {
    this.g = parts.g;
    this.node = parts.node;
    this.version = parts.version;
    this.inputs = parts.inputs;
    this.resolver = parts.resolver;
    this.usedOutputs = parts.usedOutputs;
    this.declared = parts.declared;
    this.sizes = new Ints(parts.g);
    this.inlineGraph = parts.inlineGraph;
    this.attempt = parts.attempt;
  }

  /** The same node, read as one of another op: of another opset version, with other inputs, or attributes that it gives itself. */
  readAs(version: number, inputs: readonly (Binding | null)[] = this.inputs, attributes: readonly AttributeProto[] = []): NodeContext {
    const given = new Map([...this.node.attributes, ...attributes.map((a) => [a.name, a] as const)]);
    const node = attributes.length === 0 ? this.node : { ...this.node, attributes: given };
    const { g, resolver, usedOutputs, declared, inlineGraph, attempt } = this;
    return new NodeContext({ g, node, version, inputs, resolver, usedOutputs, declared, inlineGraph, attempt });
  }

  /** The node breaks the rules of its op. */
  fail(message: string): never {
    throw new UserError("invalid-model", message);
  }
  unsupported(reason: string): never {
    throw new CannotMap(reason);
  }

  /** An input of whatever kind. */
  binding(i: number): Binding {
    const o = this.inputs[i];
    if (o === undefined || o === null) this.fail(`input ${i} is missing`);
    return o;
  }
  input(i: number): Operand {
    return this.tensorOf(this.binding(i), i);
  }
  optional(i: number): Operand | null {
    const o = this.inputs[i] ?? null;
    return o === null ? null : this.tensorOf(o, i);
  }
  sequence(i: number): Sequence {
    const b = this.binding(i);
    return b instanceof Sequence ? b : this.fail(`input ${i} is ${describeBinding(b)}, expected a sequence`);
  }
  private tensorOf(b: Binding, i: number): Operand {
    // From opset 18 on an optional that holds something may stand where a tensor is wanted.
    if (b instanceof Optional && b.content !== null) return this.tensorOf(b.content, i);
    return b instanceof Operand ? b : this.fail(`input ${i} is ${describeBinding(b)}, expected a tensor`);
  }
  value(i: number): Value {
    return this.input(i).value;
  }
  /** All inputs, none of which may be left out. */
  all(): Operand[] {
    return this.inputs.map((_, i) => this.input(i));
  }
  /** Does anybody read the output? */
  wants(output: number): boolean {
    return this.usedOutputs[output] ?? false;
  }

  /** How many dimensions the model says that an output has, or null. */
  declaredRank(output: number): number | null {
    return this.declared[output]?.length ?? null;
  }
  /** The size that the model declares for a dimension of an output, or null. */
  declaredDim(output: number, i: number): number | null {
    const d = this.declared[output]?.[i] ?? null;
    return typeof d === "number" ? d : null;
  }

  attribute(name: string): AttributeProto | null {
    return this.node.attributes.get(name) ?? null;
  }
  int(name: string, otherwise: number): number {
    const a = this.attribute(name);
    return a === null ? otherwise : Number(a.i);
  }
  float(name: string, otherwise: number): number {
    return this.attribute(name)?.f ?? otherwise;
  }
  text(name: string, otherwise: string): string {
    const a = this.attribute(name);
    return a === null ? otherwise : new TextDecoder().decode(a.s);
  }
  ints(name: string): number[] | null {
    const a = this.attribute(name);
    return a === null ? null : a.ints.map(Number);
  }
  /** The subgraph in an attribute. */
  graph(name: string): GraphProto {
    return this.attribute(name)?.g ?? this.fail(`attribute '${name}' is missing`);
  }
  tensor(name: string): ModelTensor | null {
    const t = this.attribute(name)?.t ?? null;
    return t === null ? null : this.readTensor(t);
  }
  readTensor(t: Parameters<typeof readTensorProto>[0]): ModelTensor {
    return readTensorProto(t, this.resolver);
  }
  get externalData(): ExternalDataResolver | null {
    return this.resolver;
  }
  /** The dtype that an attribute names by its number. */
  dtype(name: string, otherwise: DType | null): DType {
    const a = this.attribute(name);
    if (a === null) return otherwise ?? this.fail(`attribute '${name}' is missing`);
    return dtypeOf(Number(a.i)) ?? this.unsupported(`dtype ${onnxTypeName(Number(a.i))}`);
  }

  /** Elements of an input that has to be known: shapes, axes, pads. */
  known(i: number, what: string): readonly Dim[] {
    return this.input(i).known ?? this.unsupported(`${what} is computed from the model's data, expected a constant or something computed from sizes`);
  }
  knownNumbers(i: number, what: string): readonly number[] {
    const elements = this.known(i, what);
    const hint = shapeHint(...elements);
    return this.input(i).numbers ?? this.unsupported(`${what} is a symbolic size [${elements.join(", ")}], expected numbers${hint}`);
  }
  /** Axes from input `i` or the attribute (which of the two depends on the version), normalised; null when none are given. */
  axes(i: number, rank: number): number[] | null {
    const given = this.ints("axes") ?? (this.optional(i) === null ? null : this.knownNumbers(i, "'axes'"));
    return given === null ? null : this.normalAxes(given, rank);
  }
  normalAxes(axes: readonly number[], rank: number): number[] {
    const out = axes.map((a) => this.axis(a, rank));
    if (new Set(out).size !== out.length) this.fail(`axes [${axes.join(", ")}] name one twice`);
    return out;
  }
  axis(a: number, rank: number): number {
    if (!Number.isInteger(a) || a < -rank || a >= rank) this.fail(`axis ${a} of a tensor of rank ${rank}`);
    return a < 0 ? a + rank : a;
  }

  /** Data, of which `some` elements may be known all the same. */
  of(v: Value, some: readonly (Dim | null)[] | null = null): Operand {
    return dataOperand(v, some);
  }
  knownOf(dtype: DType, dims: readonly Dim[], elements: readonly Dim[]): Operand {
    return knownOperand(this.g, dtype, dims, elements);
  }
  constantOf(t: ModelTensor): Operand {
    return constantOperand(this.g, t, this.node.outputs[0] ?? "const");
  }

  /** Dims after numpy's rule: aligned at the right, 1 stretches. @throws UserError `shape` when they do not fit */
  broadcastDims(shapes: readonly (readonly Dim[])[]): readonly Dim[] {
    return shapes.reduce((a, b) => {
      const rank = Math.max(a.length, b.length);
      return Array.from({ length: rank }, (_, i) => {
        const x = a[i - rank + a.length] ?? 1;
        const y = b[i - rank + b.length] ?? 1;
        return this.broadcastDim(x, y, () => `[${a.join(", ")}] and [${b.join(", ")}]`);
      });
    });
  }
  private broadcastDim(x: Dim, y: Dim, where: () => string): Dim {
    if (dimEquals(x, y) || y === 1) return x;
    if (x === 1) return y;
    if (mustEqual(x, y)) return x;
    if (typeof x === "number" && typeof y === "number") throw new UserError("shape", `the shapes ${where()} do not fit together: ${x} against ${y}`);
    if (dimMin(x) > 1 && dimMin(y) > 1) return this.sameDim(x, y, `sizes of the shapes ${where()}`);
    return this.broadcastAtRun(x, y);
  }
  /** The common size of two that depend on sizes of inputs or on data: in a run they have to be equal, or one of them 1. */
  private broadcastAtRun(x: Dim, y: Dim): Dim {
    const { sizes } = this;
    const better = betterKnown(x, y);
    // A number, or a size that does not depend on data where the other does, is the common one: the other is stretched to it.
    if (typeof better === "number" || isDataDependent(x) !== isDataDependent(y)) {
      sizes.requireStretch(better === x ? y : x, better);
      return better;
    }
    const [a, b] = [upperBound(x), upperBound(y)];
    const one = sizes.eq(dimValue(this.g, x), 1);
    const common = sizes.size(sizes.select(one, y, x), "broadcast", 0, a === null || b === null ? null : maxDim(a, b));
    sizes.requireStretch(x, common);
    sizes.requireStretch(y, common);
    return common;
  }
  /**
   * Requires two sizes to be equal; gives the one that is better known. What that says of the inputs' sizes holds from the
   * start, unless only a branch says so. Everything else a run has to find.
   * @throws UserError `shape` where they differ whatever the symbols are
   */
  sameDim(x: Dim, y: Dim, what: string): Dim {
    if (mustEqual(x, y)) return x;
    if (surelyDiffer(x, y)) throw new UserError("shape", `${what}: ${x} has to be ${y}${shapeHint(x, y)}`);
    const symbol = this.g.currentRegion === 0 ? equality(x, y) : null;
    if (symbol !== null) throw symbol;
    this.sizes.require(x, y);
    return betterKnown(x, y);
  }
  /** Two values with equal sizes along dimension `i` of the one and `j` of the other, as the model's meaning requires. @throws UserError `shape` */
  paired(a: Value, i: number, b: Value, j: number, what: string): [Value, Value] {
    const [x, y] = [a.dims[i], b.dims[j]];
    if (x === undefined || y === undefined) return this.fail(`${what}: shapes [${a.dims.join(", ")}] and [${b.dims.join(", ")}]`);
    const n = this.sameDim(x, y, what);
    return [this.sizes.refine(a, a.dims.with(i, n)), this.sizes.refine(b, b.dims.with(j, n))];
  }
  /** Stretches a value to dims, aligned at the right; a run checks what sizes decide. */
  stretch(v: Value, dims: readonly Dim[]): Value {
    const shift = dims.length - v.dims.length;
    if (shift < 0) this.fail(`cannot broadcast [${v.dims.join(", ")}] to [${dims.join(", ")}]`);
    v.dims.forEach((d, i) => {
      const to = dims[i + shift] as Dim;
      if (d !== 1 && !dimEquals(d, to) && !surelyDiffer(d, to)) this.sizes.requireStretch(d, to);
    });
    return this.g.broadcast(
      v,
      dims,
      v.dims.map((_, i) => i + shift),
    );
  }
  /** Both stretched to their common dims. */
  together(...values: readonly Value[]): Value[] {
    const dims = this.broadcastDims(values.map((v) => v.dims));
    return values.map((v) => this.stretch(v, dims));
  }

  /** `x op number`, elementwise. */
  withScalar(op: string, x: Value, n: Num): Value {
    return this.g.one(op, [x, this.g.splat(x.dtype, x.dims, n)]);
  }
}
