import { type DType, bool, f32, i16, i32, i64, u8 } from "../../src/base/dtype.ts";
import { type HostTensor, hostFrom } from "../../src/graph/host.ts";
import type { AttrSpec } from "./onnx.ts";

/** A small model of one node: its operands in order, null for one that is left out. */
export interface Small {
  readonly in: readonly (HostTensor | null)[];
  readonly attrs?: Readonly<Record<string, AttrSpec>>;
  /** How many results there are; one if absent. */
  readonly outputs?: number;
  /** Operands that are constants of the model, by their numbers. */
  readonly fixed?: readonly number[];
  /** Of the domain's opset; 1 if absent. */
  readonly version?: number;
}
export type SmallModels = Readonly<Record<string, (d: DType) => Small>>;

/** Numbers of both signs that all float dtypes hold exactly. */
export const reals = (d: DType, ...dims: number[]): HostTensor => hostFrom(d, dims, (i) => (((7 * i + 3) % 23) - 11) / 8);
export const integers = (d: DType, dims: readonly number[], of: (i: number) => number): HostTensor =>
  hostFrom(d, dims, (i) => (d.bits === 64 && d.isInteger ? BigInt(of(i)) : of(i)));
/** Elements over the dtype's range. */
export const bytes = (d: DType, ...dims: number[]): HostTensor =>
  integers(d, dims, (i) => ((37 * i + 11) % 2 ** Math.min(8, d.bits)) - (d.kind === "int" ? 2 ** (Math.min(8, d.bits) - 1) : 0));
export const scalar = (d: DType, v: number): HostTensor => integers(d, [], () => v);
const list = (d: DType, ...v: number[]): HostTensor => integers(d, [v.length], (i) => v[i] as number);
const positive = (d: DType, ...dims: number[]): HostTensor => hostFrom(d, dims, (i) => 0.5 + (i % 5) / 8);

const small = (...dims: number[]): HostTensor => hostFrom(f32, dims, (i) => (4 + (i % 5)) / 1024);

/** A tensor of integers with scale and zero point: three operands. */
const quantized = (d: DType, ...dims: number[]): HostTensor[] => [bytes(d, ...dims), scalar(f32, 0.0625), scalar(d, d.kind === "int" ? -3 : 119)];
const target = (d: DType): HostTensor[] => [scalar(f32, 0.125), scalar(d, d.kind === "int" ? 5 : 131)];
const unary =
  (make: (d: DType) => Small) =>
  (d: DType): Small =>
    make(d);
const float = (...dims: number[]) => unary((d) => ({ in: [reals(d, ...dims)] }));
const heads = { num_heads: 2 };
const conv = { kernel_shape: [2, 2], strides: [1, 1], pads: [0, 0, 1, 1] };
const pool = { kernel_shape: [2, 2], strides: [1, 1] };
const cache = (d: DType): HostTensor[] => [reals(d, 3, 4), positive(d, 3, 4)];

const attention: SmallModels = {
  Attention: (d) => ({
    in: [reals(d, 2, 3, 8), reals(d, 8, 24), reals(d, 24), list(i32, 3, 2), reals(d, 2, 2, 2, 2, 4)],
    attrs: { ...heads, unidirectional: 1 },
    outputs: 2,
  }),
  QAttention: (d) => ({
    in: [bytes(d, 1, 3, 8), bytes(d, 8, 24), reals(f32, 24), scalar(f32, 1 / 64), scalar(f32, 1 / 64), null, scalar(d, 1), scalar(d, 2)],
    attrs: heads,
  }),
  MultiHeadAttention: (d) => ({
    in: [reals(d, 2, 3, 8), reals(d, 2, 5, 8), reals(d, 2, 5, 8), reals(d, 24), integers(i32, [2, 5], (i) => Number(i % 4 !== 1))],
    attrs: heads,
  }),
  GroupQueryAttention: (d) => ({
    in: [
      reals(d, 2, 1, 64),
      reals(d, 2, 1, 32),
      reals(d, 2, 1, 32),
      reals(d, 2, 2, 5, 16),
      reals(d, 2, 2, 5, 16),
      list(i32, 4, 2),
      scalar(i32, 5),
      reals(d, 8, 8),
      positive(d, 8, 8),
    ],
    attrs: { num_heads: 4, kv_num_heads: 2, do_rotary: 1, local_window_size: 3, softcap: { float: 4 } },
    outputs: 3,
  }),
  RelativePositionBias: (d) => ({
    in: [reals(d, 8, 3), list(i64, 21), list(i64, 21)],
    attrs: { max_distance: 16, is_bidirectional: 1 },
    fixed: [1, 2],
  }),
  RotaryEmbedding: (d) => ({ in: [reals(d, 2, 3, 16), integers(i64, [2, 3], (i) => i % 3), ...cache(d)], attrs: heads }),
};

const normalization: SmallModels = {
  SkipLayerNormalization: (d) => ({
    in: [reals(d, 2, 3, 8), reals(d, 2, 3, 8), positive(d, 8), reals(d, 8), reals(d, 8)],
    outputs: 4,
  }),
  SkipSimplifiedLayerNormalization: (d) => ({ in: [reals(d, 2, 3, 8), reals(d, 2, 3, 8), positive(d, 8), reals(d, 8)], outputs: 1 }),
  SimplifiedLayerNormalization: (d) => ({ in: [reals(d, 2, 3, 8), positive(d, 8)] }),
  EmbedLayerNormalization: (d) => ({
    in: [
      integers(i32, [2, 3], (i) => (5 * i) % 7),
      integers(i32, [2, 3], (i) => i % 2),
      reals(d, 7, 8),
      reals(d, 5, 8),
      reals(d, 2, 8),
      positive(d, 8),
      reals(d, 8),
      integers(i32, [2, 3], (i) => Number(i < 5)),
    ],
    outputs: 2,
  }),
  QEmbedLayerNormalization: (d) => ({
    in: [
      integers(i32, [2, 3], (i) => (5 * i) % 7),
      integers(i32, [2, 3], (i) => i % 2),
      bytes(d, 7, 8),
      bytes(d, 5, 8),
      bytes(d, 2, 8),
      bytes(d, 8),
      bytes(d, 8),
      integers(i32, [2, 3], (i) => Number(i < 5)),
      ...[1 / 64, 1 / 128, 1 / 32, 1 / 256, 1 / 64].map((v) => scalar(f32, v)),
      ...[3, 100, 7, 0, 64].map((v) => scalar(d, v)),
    ],
    outputs: 2,
    fixed: [2, 3, 4, 5, 6],
  }),
  GroupNorm: (d) => ({ in: [reals(d, 2, 3, 3, 8), positive(f32, 8), reals(f32, 8)], attrs: { groups: 2, activation: 1 } }),
  SkipGroupNorm: (d) => ({
    in: [reals(d, 2, 3, 3, 8), positive(f32, 8), reals(f32, 8), reals(d, 2, 8), reals(d, 8)],
    attrs: { groups: 2, activation: 0 },
    outputs: 2,
  }),
};

const activations: SmallModels = {
  Gelu: float(2, 5),
  QuickGelu: float(2, 5),
  FastGelu: (d) => ({ in: [reals(d, 3, 5), reals(d, 5)] }),
  GemmFastGelu: (d) => ({ in: [reals(d, 3, 4), reals(d, 4, 5), reals(d, 5)] }),
  SwiGLU: (d) => ({ in: [reals(d, 3, 8)], attrs: { activation_alpha: { float: 1.5 }, activation_beta: { float: 1 }, limit: { float: 1 } } }),
  MoE: (d) => ({
    in: [reals(d, 5, 8), reals(d, 5, 4), reals(d, 4, 12, 8), reals(d, 4, 12), reals(d, 4, 8, 6), reals(d, 4, 8)],
    attrs: { k: 2, activation_type: "swiglu", swiglu_fusion: 1, normalize_routing_weights: 1 },
  }),
  QMoE: (d) => ({
    in: [
      reals(d, 5, 32),
      reals(d, 5, 4),
      bytes(u8, 4, 64, 16),
      positive(d, 4, 64),
      reals(d, 4, 64),
      bytes(u8, 4, 32, 16),
      positive(d, 4, 32),
      reals(d, 4, 32),
    ],
    attrs: { k: 2, activation_type: "swiglu", swiglu_fusion: 1, normalize_routing_weights: 1, expert_weight_bits: 4 },
    fixed: [2, 3, 5, 6],
  }),
  BiasGelu: (d) => ({ in: [reals(d, 3, 5), reals(d, 5)] }),
  BiasSplitGelu: (d) => ({ in: [reals(d, 1, 3, 8), reals(d, 8)] }),
  BiasAdd: (d) => ({ in: [reals(d, 2, 3, 4), reals(d, 4), reals(d, 2, 3, 4)] }),
  BiasSoftmax: (d) => ({ in: [reals(d, 2, 3, 4), reals(d, 2, 1, 4)], attrs: { axis: 2, is_inner_broadcast: 0 } }),
  BiasDropout: (d) => ({ in: [reals(d, 3, 4), reals(d, 4), reals(d, 3, 4)] }),
};

const products: SmallModels = {
  FusedConv: (d) => ({ in: [reals(d, 1, 2, 5, 5), reals(d, 3, 2, 2, 2), reals(d, 3)], attrs: { ...conv, activation: "Relu" } }),
  NhwcConv: (d) => ({ in: [reals(d, 1, 5, 5, 2), reals(d, 3, 2, 2, 2), reals(d, 3)], attrs: conv }),
  NhwcFusedConv: (d) => ({ in: [reals(d, 1, 5, 5, 2), reals(d, 3, 2, 2, 2), reals(d, 3)], attrs: { ...conv, activation: "Sigmoid" } }),
  FusedGemm: (d) => ({
    in: d.isFloat ? [reals(d, 3, 4), reals(d, 4, 5), reals(d, 5)] : [bytes(d, 3, 4), bytes(d, 4, 5), bytes(d, 5)],
    attrs: { activation: "Relu" },
  }),
  FusedMatMul: (d) => ({ in: [reals(d, 2, 4, 3), reals(d, 2, 4, 5)], attrs: { transA: 1, alpha: { float: 0.5 } } }),
  TransposeMatMul: (d) => ({ in: [reals(d, 3, 4), reals(d, 5, 4)], attrs: { transB: 1 } }),
  CDist: (d) => ({ in: [reals(d, 4, 3), reals(d, 5, 3)], attrs: { metric: "euclidean" } }),
  Inverse: (d) => ({ in: [hostFrom(d, [2, 3, 3], (i) => [4, 1, 0, 1, 3, 1, 0, 1, 2][i % 9] as number)] }),
  MatMulNBits: (d) => ({
    in: [reals(d, 3, 40), bytes(u8, 5, 3, 8), positive(d, 15), bytes(u8, 10)],
    attrs: { K: 40, N: 5, bits: 4, block_size: 16 },
    fixed: [1, 2, 3],
  }),
  MatMulBnb4: (d) => ({
    in: [reals(d, 3, 32), bytes(u8, 80), positive(d, 10)],
    attrs: { K: 32, N: 5, block_size: 16, quant_type: 1 },
    fixed: [1, 2],
  }),
  GatherBlockQuantized: (d) => ({
    in: [bytes(d, 6, d === u8 ? 16 : 32), list(i64, 3, 0, 5), positive(f32, 6, 2), d.isFloat ? null : bytes(d, 6, d === u8 ? 1 : 2)],
    attrs: { block_size: 16 },
    fixed: [0],
  }),
  MatMulIntegerToFloat: (d) => ({
    in: [bytes(d, 3, 4), bytes(d, 4, 5), scalar(f32, 0.5), positive(f32, 5), scalar(d, 3), bytes(d, 5), reals(f32, 5)],
  }),
  DynamicQuantizeMatMul: (d) => ({ in: [reals(f32, 3, 4), bytes(d, 4, 5), positive(f32, 5), bytes(d, 5), reals(f32, 5)] }),
  DynamicQuantizeLSTM: (d) => ({
    in: [
      reals(f32, 4, 2, 3),
      bytes(d, 1, 3, 20),
      bytes(d, 1, 5, 20),
      reals(f32, 1, 40),
      null,
      reals(f32, 1, 2, 5),
      reals(f32, 1, 2, 5),
      reals(f32, 1, 15),
      small(1, 20),
      bytes(d, 1, 20),
      small(1, 20),
      bytes(d, 1, 20),
    ],
    attrs: { hidden_size: 5 },
    fixed: [1, 2, 8, 9, 10, 11],
  }),
  QGemm: (d) => ({
    in: [...quantized(d, 3, 4), bytes(d, 5, 4), scalar(f32, 0.25), scalar(d, 2), bytes(i32, 5), ...target(d)],
    attrs: { transB: 1 },
  }),
  MulInteger: (d) => ({ in: [bytes(d, 3, 4), scalar(d, 3), bytes(d, 4), scalar(d, 7)] }),
  MatMulInteger16: (d) => ({ in: [bytes(d, 3, 4), bytes(i16, 4, 5)] }),
};

const quantizedOps: SmallModels = {
  QLinearAdd: (d) => ({ in: [...quantized(d, 3, 4), ...quantized(d, 4), ...target(d)] }),
  QLinearMul: (d) => ({ in: [...quantized(d, 3, 4), ...quantized(d, 4), ...target(d)] }),
  QLinearConcat: (d) => ({ in: [...target(d), ...quantized(d, 2, 3), ...quantized(d, 2, 2)], attrs: { axis: 1 } }),
  QLinearSigmoid: (d) => ({ in: [...quantized(d, 3, 4), scalar(f32, 1 / 256), scalar(d, 0)] }),
  QLinearLeakyRelu: (d) => ({ in: [...quantized(d, 3, 4), ...target(d)], attrs: { alpha: { float: 0.1 } } }),
  QLinearGlobalAveragePool: (d) => ({ in: [...quantized(d, 2, 3, 4, 4), ...target(d)] }),
  QLinearAveragePool: (d) => ({ in: [...quantized(d, 1, 2, 5, 5), ...target(d)], attrs: pool }),
  QLinearReduceMean: (d) => ({ in: [...quantized(d, 2, 3, 4), ...target(d)], attrs: { axes: [1], keepdims: 1 } }),
  QLinearSoftmax: (d) => ({ in: [...quantized(d, 3, 4), scalar(f32, 1 / 256), scalar(d, 0)], attrs: { axis: -1, opset: 13 } }),
  QLinearWhere: (d) => ({ in: [integers(bool, [3, 4], (i) => i % 2), ...quantized(d, 3, 4), ...quantized(d, 4), ...target(d)] }),
  QLinearConv: (d) => ({
    in: [...quantized(d, 1, 2, 5, 5), bytes(d, 3, 2, 2, 2), scalar(f32, 0.25), scalar(d, 1), ...target(d), bytes(i32, 3)],
    attrs: conv,
  }),
  QuantizeLinear: (d) => ({ in: [reals(d, 3, 4), positive(d, 4), bytes(u8, 4)], attrs: { axis: 1 } }),
  DequantizeLinear: (d) => ({ in: [bytes(d, 3, 4), positive(f32, 4), d.bits === 32 ? null : bytes(d, 4)], attrs: { axis: 1 } }),
  ReduceSumInteger: (d) => ({ in: [bytes(d, 3, 4)], attrs: { axes: [1], keepdims: 1 } }),
  NhwcMaxPool: (d) => ({ in: [bytes(d, 1, 5, 5, 2)], attrs: pool }),
};

const any = (d: DType, ...dims: number[]): HostTensor =>
  d.isFloat ? reals(d, ...dims) : integers(d, dims, (i) => (5 * i + 1) % (d === bool ? 2 : 7));
const tensors: SmallModels = {
  Trilu: (d) => ({ in: [any(d, 2, 4, 4), scalar(i64, 1)], attrs: { upper: 1 } }),
  ExpandDims: (d) => ({ in: [any(d, 2, 3), scalar(i32, 1)], fixed: [1] }),
  GridSample: (d) => ({
    in: [any(d, 1, 2, 4, 4), d.isFloat ? reals(d, 1, 3, 3, 2) : integers(d, [1, 3, 3, 2], (i) => i % 2)],
    attrs: { mode: "bilinear" },
  }),
  GatherND: (d) => ({ in: [any(d, 3, 4), integers(i64, [2, 1], (i) => i)] }),
  Pad: (d) => ({ in: [any(d, 2, 3), list(i64, 0, 1, 1, 0), scalar(d, 1)], attrs: { mode: "constant" }, fixed: [1] }),
  Unique: (d) => ({ in: [any(d, 9)], outputs: 3 }),
  Range: (d) => ({ in: [scalar(d, 1), scalar(d, 9), scalar(d, 2)], fixed: [0, 1, 2] }),
  IsAllFinite: (d) => ({ in: [reals(d, 3, 4), reals(d, 2)] }),
};

/** A model of each op of com.microsoft that has a mapping, in a dtype. */
export const microsoftModels: SmallModels = { ...attention, ...normalization, ...activations, ...products, ...quantizedOps, ...tensors };
