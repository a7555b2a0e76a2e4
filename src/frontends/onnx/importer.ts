import { UnsupportedError, UserError, VerifyError } from "../../base/errors.ts";
import { GraphBuilder } from "../../graph/builder.ts";
import { isDataDependent } from "../../base/dim.ts";
import { CannotMap, type DeclaredDims, NodeContext, type OpMapping } from "./context.ts";
import { modernOperands, oldestRead } from "./legacy.ts";
import { type Binding, Operand, constantOperand, dataOperand } from "./operand.ts";
import { findMapping, hasMappings, oldestOpset } from "./ops/registry.ts";
import type { AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto } from "./proto.ts";
import { namesRead, nodeLabel, subgraphs } from "./scopes.ts";
import { Ints } from "./sizes.ts";
import { EqualSymbol, type Findings, NarrowSymbol, RaiseSymbol } from "./symbols.ts";
import { type ExternalDataResolver, readTensorProto } from "./tensor.ts";

/** A node, or a value of the model, that this version cannot compile. */
export interface Problem {
  readonly opType: string;
  readonly domain: string;
  /** Version of the domain's opset. */
  readonly version: number;
  readonly node: string;
  readonly reason: string;
}

/** A branch holds nodes that cannot be compiled, which are on the list already. */
class BranchFailed {}

/** Inlining functions may multiply nodes without end; a model has not got more than this. */
const maxNodes = 200_000;

/** The operands of the names of one graph; null for what comes of a node that could not be mapped. */
class Scope {
  private readonly values = new Map<string, Binding | null>();
  private readonly pending = new Map<string, TensorProto>();
  private readonly outer: Scope | null;
  constructor(outer: Scope | null, initializers: readonly TensorProto[] = []) {
    this.outer = outer;
    for (const t of initializers) this.pending.set(t.name, t);
  }
  define(name: string, o: Binding | null): void {
    this.values.set(name, o);
  }
  /** Initializers are opened when they are first read. */
  find(name: string, open: (t: TensorProto) => Operand | null): Binding | null {
    for (let s: Scope | null = this; s !== null; s = s.outer) {
      const o = s.values.get(name);
      if (o !== undefined) return o;
      const t = s.pending.get(name);
      if (t === undefined) continue;
      const opened = open(t);
      s.values.set(name, opened);
      return opened;
    }
    throw new UserError("undefined-value", `'${name}' is defined nowhere`);
  }
}

/** What a body of nodes is read under: its opsets, and the attributes of the call it stands for. */
interface Frame {
  readonly opsets: ReadonlyMap<string, number>;
  readonly attributes: ReadonlyMap<string, AttributeProto> | null;
  /** Origin of the call, before the node's own. */
  readonly path: string;
  readonly read: ReadonlySet<string>;
  /** What the graph says of the dims of its values. */
  readonly declared: ReadonlyMap<string, DeclaredDims>;
}

const functionKey = (domain: string, name: string, overload: string): string => `${domain}\n${name}\n${overload}`;
export const opsetMap = (opsets: ModelProto["opsets"]): Map<string, number> => new Map(opsets.map((o) => [o.domain, o.version]));

/** Turns nodes into graph ops, in order, and keeps a list of those that cannot be. */
export class Importer {
  readonly g = new GraphBuilder();
  readonly problems: Problem[] = [];
  private readonly resolver: ExternalDataResolver | null;
  /** Collect errors of single nodes as problems, too, instead of throwing the first. */
  readonly lenient: boolean;
  private readonly functions = new Map<string, FunctionProto>();
  private readonly calls: FunctionProto[] = [];
  private readonly reads = new Map<FunctionProto, ReadonlySet<string>>();
  private nodes = 0;

  constructor(model: ModelProto, resolver: ExternalDataResolver | null, lenient: boolean) {
    this.resolver = resolver;
    this.lenient = lenient;
    for (const f of model.functions) this.functions.set(functionKey(f.domain, f.name, f.overload), f);
  }

  /** Imports the main graph, its inputs bound; gives its outputs, null where one could not be made. */
  graph(graph: GraphProto, opsets: ModelProto["opsets"], inputs: ReadonlyMap<string, Binding | null>): (Binding | null)[] {
    const frame: Frame = { opsets: opsetMap(opsets), attributes: null, path: "", read: readBy(graph), declared: declaredIn(graph) };
    return this.body(graph, frame, inputs, null);
  }

  private body(graph: GraphProto, frame: Frame, inputs: ReadonlyMap<string, Binding | null>, outer: Scope | null): (Binding | null)[] {
    const scope = new Scope(outer, graph.initializers);
    for (const name of graph.sparseInitializers) {
      this.problems.push({
        opType: "sparse initializer",
        domain: "",
        version: frame.opsets.get("") ?? 0,
        node: name,
        reason: "sparse tensors are not supported",
      });
      scope.define(name, null);
    }
    for (const [name, o] of inputs) scope.define(name, o);
    this.run(graph.nodes, scope, frame);
    return graph.outputs.map((o) => this.find(scope, o.name, frame));
  }

  private run(nodes: readonly NodeProto[], scope: Scope, frame: Frame): void {
    for (const written of nodes) {
      if (++this.nodes > maxNodes) throw new UserError("too-many-nodes", `the model has more than ${maxNodes} nodes once its functions are inlined`);
      const node = frame.attributes === null ? written : withAttributes(written, frame.attributes);
      const results = this.node(node, scope, frame);
      node.outputs.forEach((name, i) => {
        if (name !== "") scope.define(name, results?.[i] ?? null);
        if (name !== "" && results !== null && (results[i] ?? null) === null && frame.read.has(name))
          this.report(node, frame, `its output ${i} ('${name}') is not supported`);
      });
    }
  }

  /** The operands of a node's outputs, or null when it could not be mapped (or depends on such a one). */
  private node(node: NodeProto, scope: Scope, frame: Frame): readonly (Binding | null)[] | null {
    const f = this.functions.get(functionKey(node.domain, node.opType, node.overload));
    const inputs = node.inputs.map((name) => (name === "" ? undefined : this.find(scope, name, frame)));
    if (f !== undefined) return this.call(f, node, inputs, frame);
    const mapping = this.mappingOf(node, frame);
    if (mapping === null) {
      for (const g of subgraphs(node)) this.listUnmapped(g, frame);
      return null;
    }
    if (inputs.includes(null)) return null;
    this.g.origin = [this.originOf(node, frame)];
    const version = frame.opsets.get(node.domain) ?? oldestOpset;
    const operands = inputs.map((o) => o ?? null);
    const context = new NodeContext({
      g: this.g,
      node,
      version,
      inputs: version < 7 && node.domain === "" ? modernOperands(this.g, node, operands) : operands,
      resolver: this.resolver,
      usedOutputs: node.outputs.map((name) => name !== "" && frame.read.has(name)),
      declared: node.outputs.map((name) => frame.declared.get(name) ?? null),
      inlineGraph: (graph, given = []) => this.inline(graph, given, scope, frame),
      attempt: (make) => this.attempt(make),
    });
    return this.guarded(node, frame, () => {
      const mapped = mapping.map(context);
      const results: readonly (Binding | null)[] = Array.isArray(mapped) ? mapped : [mapped as Binding];
      return results.map((o, i) => (o instanceof Operand ? this.refined(checkSizes(o), frame.declared.get(node.outputs[i] ?? "") ?? null) : o));
    });
  }

  /** Sizes that the model computes are those that it declares; a run checks it. */
  private refined(o: Operand, declared: DeclaredDims): Operand {
    if (declared?.length !== o.rank || !o.dims.some((d, i) => isDataDependent(d) && typeof declared[i] === "number")) return o;
    const dims = o.dims.map((d, i) => (isDataDependent(d) && typeof declared[i] === "number" ? declared[i] : d));
    return dataOperand(new Ints(this.g).refine(o.value, dims));
  }

  private readIn(f: FunctionProto): ReadonlySet<string> {
    const names = this.reads.get(f) ?? namesRead(f.nodes, f.outputs);
    this.reads.set(f, names);
    return names;
  }

  private mappingOf(node: NodeProto, frame: Frame): OpMapping | null {
    const version = frame.opsets.get(node.domain);
    const mapping = findMapping(node.opType, node.domain);
    // Mappings of ONNX's own ops are written for opset 7 on; most serve older ones, too.
    const least = node.domain === "" && mapping?.since === 7 ? oldestRead(node.opType) : (mapping?.since ?? 0);
    if (mapping === null)
      this.report(node, frame, hasMappings(node.domain) ? "no mapping for this op" : `no mapping for ops of the domain '${node.domain}'`);
    else if (version === undefined) this.report(node, frame, "the model imports no opset for its domain");
    else if (version < least) this.report(node, frame, `supported from opset ${least} on`);
    else return mapping;
    return null;
  }

  /** Lists what has no mapping inside of a graph that is not imported itself. */
  private listUnmapped(graph: GraphProto, frame: Frame): void {
    for (const n of graph.nodes) {
      if (!this.functions.has(functionKey(n.domain, n.opType, n.overload))) this.mappingOf(n, frame);
      for (const g of subgraphs(n)) this.listUnmapped(g, frame);
    }
  }

  private guarded<T>(node: NodeProto, frame: Frame, map: () => T): T | null {
    try {
      return map();
    } catch (e) {
      if (e instanceof CannotMap) {
        this.report(node, frame, e.reason);
        for (const g of subgraphs(node)) this.listUnmapped(g, frame);
      } else if (e instanceof BranchFailed) return null;
      else if (e instanceof UnsupportedError) this.report(node, frame, e.message);
      else if (e instanceof UserError || e instanceof VerifyError) {
        const located = locate(e, node);
        if (!this.lenient) throw located;
        this.report(node, frame, e.message);
      } else throw e;
      return null;
    }
  }

  private report(node: NodeProto, frame: Frame, reason: string): void {
    this.problems.push({
      opType: node.opType,
      domain: node.domain,
      version: frame.opsets.get(node.domain) ?? 0,
      node: this.originOf(node, frame),
      reason,
    });
  }

  private originOf(node: NodeProto, frame: Frame): string {
    return `${frame.path}${nodeLabel(node)}`;
  }

  private find(scope: Scope, name: string, frame: Frame): Binding | null {
    return scope.find(name, (t) => {
      try {
        return constantOperand(this.g, readTensorProto(t, this.resolver), name);
      } catch (e) {
        if (!(e instanceof UnsupportedError)) throw e;
        this.problems.push({ opType: "initializer", domain: "", version: frame.opsets.get("") ?? 0, node: name, reason: e.message });
        return null;
      }
    });
  }

  /** A subgraph in place of its node; it sees the names around it. */
  private inline(graph: GraphProto, given: readonly Binding[], scope: Scope, frame: Frame): readonly Binding[] {
    if (given.length !== graph.inputs.length)
      throw new UserError("invalid-model", `its graph '${graph.name}' takes ${graph.inputs.length} inputs, not ${given.length}`);
    const inputs = new Map(graph.inputs.map((i, k) => [i.name, given[k] as Binding]));
    const { origin } = this.g;
    const results = this.body(graph, { ...frame, read: readBy(graph), declared: declaredIn(graph) }, inputs, scope);
    this.g.origin = origin;
    return results.map((r) => {
      if (r === null) throw new BranchFailed();
      return r;
    });
  }

  private attempt<T>(make: () => T | null): T | null {
    const { length } = this.problems;
    const made = make();
    if (made === null) this.problems.length = length;
    return made;
  }

  /** A call of one of the model's functions: its body, under the call's attributes and the function's own opsets. */
  private call(f: FunctionProto, node: NodeProto, inputs: readonly (Binding | null | undefined)[], frame: Frame): (Binding | null)[] {
    if (this.calls.includes(f))
      throw new UserError("recursive-function", `function '${f.name}' calls itself (${[...this.calls.map((c) => c.name), f.name].join(" → ")})`);
    const attributes = new Map(f.defaults.map((a) => [a.name, a]));
    for (const [name, a] of node.attributes) attributes.set(name, a);
    const scope = new Scope(null);
    f.inputs.forEach((name, i) => {
      // An input that is left out stays undefined: nodes that pass it on leave theirs out, too.
      const given = inputs[i];
      if (given !== undefined) scope.define(name, given);
    });
    const missing = new Set(f.inputs.filter((_, i) => inputs[i] === undefined));
    const body = missing.size === 0 ? f.nodes : f.nodes.map((n) => ({ ...n, inputs: n.inputs.map((name) => (missing.has(name) ? "" : name)) }));
    const opsets = f.opsets.length === 0 ? frame.opsets : opsetMap(f.opsets);
    const inner: Frame = { opsets, attributes, path: `${this.originOf(node, frame)}/`, read: this.readIn(f), declared: new Map() };
    this.calls.push(f);
    this.run(body, scope, inner);
    this.calls.pop();
    return f.outputs.map((name) => (missing.has(name) ? null : this.find(scope, name, inner)));
  }
}

/** The largest size of a dimension: indices are i32. */
const largestDim = 2 ** 31 - 1;
/** @throws UserError `shape` for sizes that no index reaches */
function checkSizes(o: Operand): Operand {
  const large = o.dims.find((d) => typeof d === "number" && d > largestDim);
  if (large === undefined) return o;
  throw new UserError("shape", `a result has the shape [${o.dims.join(", ")}]; a dimension is at most ${largestDim}`);
}

function declaredIn(graph: GraphProto): ReadonlyMap<string, DeclaredDims> {
  return new Map([...graph.valueInfo, ...graph.outputs].filter((v) => v.kind === "tensor").map((v) => [v.name, v.dims]));
}

function readBy(graph: GraphProto): ReadonlySet<string> {
  return namesRead(
    graph.nodes,
    graph.outputs.map((o) => o.name),
  );
}

/** References to the function's attributes replaced by the call's; one that the call leaves out goes. */
function withAttributes(node: NodeProto, given: ReadonlyMap<string, AttributeProto>): NodeProto {
  if (![...node.attributes.values()].some((a) => a.refName !== "")) return node;
  const attributes = new Map<string, AttributeProto>();
  for (const [name, a] of node.attributes) {
    if (a.refName === "") attributes.set(name, a);
    else {
      const value = given.get(a.refName);
      if (value !== undefined) attributes.set(name, { ...value, name });
    }
  }
  return { ...node, attributes };
}

/** The error with the node it is about. */
function locate(e: UserError | VerifyError, node: NodeProto): UserError {
  const message = `node '${nodeLabel(node)}' (${node.opType}): ${e.message}`;
  return new UserError(e instanceof UserError ? e.code : "invalid-model", message);
}

/** Runs an import again for every bound that it finds a symbol to need, and for everything that one has to be equal to. */
export function withFindings<T>(run: (findings: Findings) => T): T {
  const [bounds, least, equal] = [new Map<string, number>(), new Map<string, number>(), new Map<string, number | string>()];
  for (;;) {
    try {
      return run({ bounds, least, equal });
    } catch (e) {
      if (e instanceof NarrowSymbol && (bounds.get(e.name) ?? Number.POSITIVE_INFINITY) > e.max) bounds.set(e.name, e.max);
      else if (e instanceof RaiseSymbol && (least.get(e.name) ?? 0) < e.min) least.set(e.name, e.min);
      else if (e instanceof EqualSymbol && !equal.has(e.name)) equal.set(e.name, e.to);
      else throw e;
    }
  }
}
