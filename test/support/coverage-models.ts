import { type DType, findDType, i64 } from "../../src/base/dtype.ts";
import { newestOpset } from "../../src/frontends/onnx/ops/registry.ts";
import { type HostTensor, hostFrom, hostToBytes } from "../../src/graph/host.ts";
import { type AttrSpec, type ElemName, type NodeSpec, elem, graph, model } from "./onnx.ts";

/** Models, for the coverage table, of ops that ONNX has no case of one node for, or none that another dtype fits in. */

interface Small {
  readonly nodes: readonly NodeSpec[];
  /** The operands `x` (of the dtype), and others. */
  readonly values?: Readonly<Record<string, HostTensor>>;
}

/** Small whole numbers, some of them negative where the dtype has such. */
function wholes(d: DType, dims: readonly number[]): HostTensor {
  const low = d.kind === "uint" || d.kind === "bool" || d.bits < 3 || d.name === "f8e8m0" ? 0 : -2;
  const most = d.kind === "bool" || d.bits < 3 ? 2 : 6;
  return hostFrom(d, dims, (i) => {
    const v = low + ((5 * i + 1) % most);
    return d.isInteger && d.bits === 64 ? BigInt(v) : v;
  });
}

const number = (v: number): HostTensor => hostFrom(i64, [], () => BigInt(v));
const node = (op: string, ins: readonly string[], out: string, attrs: Readonly<Record<string, AttrSpec>> = {}): NodeSpec => ({
  op,
  in: ins,
  out: [out],
  attrs,
});
const nameOf = (d: DType): ElemName => d.name as ElemName;
const code = (d: DType): number => elem[nameOf(d)];

/** Another dtype of the same width. */
function twin(d: DType): DType {
  const kind = d.kind === "uint" ? "i" : "u";
  return findDType(`${kind}${d.kind === "bool" ? 8 : d.bits}`) as DType;
}

const x = (d: DType, ...dims: number[]) => ({ x: wholes(d, dims) });
const two = node("SequenceConstruct", ["x", "x"], "s");
const optional = (d: DType): Small => ({ nodes: [node("Optional", ["x"], "o"), node("OptionalGetElement", ["o"], "y")], values: x(d, 2, 2) });
const drawn = (op: string, d: DType): Small => ({ nodes: [node(op, [], "y", { dtype: code(d), shape: [2, 3], seed: { float: 3 } })] });
/** ONNX draws floats only, whatever the operand whose shape is taken is of. */
const drawnLike = (op: string, d: DType): Small => ({ nodes: [node(op, ["x"], "y", { dtype: elem.f32, seed: { float: 3 } })], values: x(d, 2, 3) });

const models: Readonly<Record<string, (d: DType) => Small>> = {
  BitCast: (d) => ({ nodes: [node("BitCast", ["x"], "y", { to: code(twin(d)) })], values: x(d, 2, 4) }),
  Constant: (d) => ({
    nodes: [node("Constant", [], "y", { value: { tensor: { dtype: nameOf(d), dims: [2, 4], raw: hostToBytes(wholes(d, [2, 4])) } } })],
  }),
  GlobalLpPool: (d) => ({ nodes: [node("GlobalLpPool", ["x"], "y", { p: 2 })], values: x(d, 1, 2, 3, 3) }),
  MaxRoiPool: (d) => ({
    nodes: [node("MaxRoiPool", ["x", "rois"], "y", { pooled_shape: [2, 2] })],
    values: { ...x(d, 1, 2, 4, 4), rois: hostFrom(d, [1, 5], (i) => [0, 0, 1, 3, 3][i] as number) },
  }),
  Multinomial: (d) => ({ nodes: [node("Multinomial", ["x"], "y", { sample_size: 4, seed: { float: 3 } })], values: x(d, 2, 3) }),
  Optional: optional,
  OptionalGetElement: optional,
  OptionalHasElement: (d) => ({ nodes: [node("Optional", ["x"], "o"), node("OptionalHasElement", ["o"], "y")], values: x(d, 2, 2) }),
  RandomNormal: (d) => drawn("RandomNormal", d),
  RandomUniform: (d) => drawn("RandomUniform", d),
  RandomNormalLike: (d) => drawnLike("RandomNormalLike", d),
  RandomUniformLike: (d) => drawnLike("RandomUniformLike", d),
  Scan: (d) => ({
    nodes: [
      {
        op: "Scan",
        in: ["s", "x"],
        out: ["last", "y"],
        attrs: {
          num_scan_inputs: 1,
          body: {
            graph: graph({
              nodes: [node("Identity", ["item"], "next"), node("Identity", ["state"], "before")],
              inputs: { state: [nameOf(d), [4]], item: [nameOf(d), [4]] },
              outputs: ["next", "before"],
            }),
          },
        },
      },
    ],
    values: { s: wholes(d, [4]), ...x(d, 3, 4) },
  }),
  ConcatFromSequence: (d) => ({ nodes: [two, node("ConcatFromSequence", ["s"], "y", { axis: 1 })], values: x(d, 2, 2) }),
  SequenceAt: (d) => ({ nodes: [two, node("SequenceAt", ["s", "at"], "y")], values: { ...x(d, 2, 2), at: number(1) } }),
  SequenceConstruct: (d) => ({ nodes: [two, node("ConcatFromSequence", ["s"], "y", { axis: 0 })], values: x(d, 2, 2) }),
  SequenceEmpty: (d) => ({
    nodes: [
      node("SequenceEmpty", [], "e", { dtype: code(d) }),
      node("SequenceInsert", ["e", "x"], "s"),
      node("ConcatFromSequence", ["s"], "y", { axis: 0 }),
    ],
    values: x(d, 2, 2),
  }),
  SequenceErase: (d) => ({
    nodes: [two, node("SequenceErase", ["s"], "t"), node("ConcatFromSequence", ["t"], "y", { axis: 0 })],
    values: x(d, 2, 2),
  }),
  SequenceInsert: (d) => ({
    nodes: [two, node("SequenceInsert", ["s", "x", "at"], "t"), node("ConcatFromSequence", ["t"], "y", { axis: 0 })],
    values: { ...x(d, 2, 2), at: number(1) },
  }),
  SequenceLength: (d) => ({ nodes: [two, node("SequenceLength", ["s"], "y")], values: x(d, 2, 2) }),
  SequenceMap: (d) => ({
    nodes: [
      two,
      node("SequenceMap", ["s"], "t", {
        body: { graph: graph({ nodes: [node("Identity", ["item"], "same")], inputs: { item: [nameOf(d), [2, 2]] }, outputs: ["same"] }) },
      }),
      node("ConcatFromSequence", ["t"], "y", { axis: 0 }),
    ],
    values: x(d, 2, 2),
  }),
};

/** The model of an op in a dtype, with its inputs; null where the op has none of its own. */
export function ownModel(op: string, d: DType): { readonly model: Uint8Array; readonly values: ReadonlyMap<string, HostTensor> } | null {
  const make = models[op];
  if (make === undefined) return null;
  const { nodes, values = {} } = make(d);
  const inputs = Object.fromEntries(Object.entries(values).map(([name, t]) => [name, [nameOf(t.dtype), t.dims]] as const));
  return { model: model({ opset: newestOpset, nodes, inputs, outputs: ["y"] }), values: new Map(Object.entries(values)) };
}
