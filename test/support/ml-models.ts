import { type DType, f32, i64, u8 } from "../../src/base/dtype.ts";
import { type HostTensor, hostToBytes } from "../../src/graph/host.ts";
import { type SmallModels, integers, reals } from "./microsoft-models.ts";
import type { AttrSpec, ElemName, TensorSpec } from "./onnx.ts";

/** Rows of features of a dtype. */
const rows = (d: DType): HostTensor => (d.isFloat ? reals(d, 5, 4) : integers(d, [5, 4], (i) => ((7 * i + 3) % 11) - 4));
const numbers = (n: number): { floats: number[] } => ({ floats: Array.from({ length: n }, (_, i) => (((5 * i + 2) % 13) - 6) / 8) });
const tensor = (t: HostTensor): { tensor: TensorSpec } => ({
  tensor: { dtype: t.dtype.name as ElemName, dims: t.dims.map(Number), raw: hostToBytes(t) },
});

/** Two trees of two comparisons and three leaves each, as versions 1 to 4 have them. */
const branches: Readonly<Record<string, AttrSpec>> = {
  nodes_treeids: [0, 0, 0, 0, 0, 1, 1, 1, 1, 1],
  nodes_nodeids: [0, 1, 2, 3, 4, 0, 1, 2, 3, 4],
  nodes_featureids: [0, 2, 0, 0, 0, 3, 0, 1, 0, 0],
  nodes_values: { floats: [0.25, -0.5, 0, 0, 0, 1, 0, 0.125, 0, 0] },
  nodes_modes: {
    strings: ["BRANCH_LEQ", "BRANCH_LT", "LEAF", "LEAF", "LEAF", "BRANCH_GT", "LEAF", "BRANCH_GTE", "LEAF", "LEAF"],
  },
  nodes_truenodeids: [1, 3, 0, 0, 0, 1, 0, 3, 0, 0],
  nodes_falsenodeids: [2, 4, 0, 0, 0, 2, 0, 4, 0, 0],
};
const weights = (kind: string, ids: readonly number[]): Readonly<Record<string, AttrSpec>> => ({
  [`${kind}_treeids`]: [0, 0, 0, 1, 1, 1],
  [`${kind}_nodeids`]: [2, 3, 4, 1, 3, 4],
  [`${kind}_ids`]: ids,
  [`${kind}_weights`]: numbers(6),
});

/** A model of each op of ai.onnx.ml that has a mapping, in a dtype. */
export const mlModels: SmallModels = {
  LabelEncoder: (d) => ({
    in: [d.isFloat ? reals(d, 3, 4) : integers(d, [3, 4], (i) => i % 5)],
    attrs: {
      keys_tensor: tensor(d.isFloat ? reals(d, 4) : integers(d, [4], (i) => i)),
      values_tensor: tensor(integers(i64, [4], (i) => 10 * i)),
      default_tensor: tensor(integers(i64, [1], () => -1)),
    },
    version: 4,
  }),
  OneHotEncoder: (d) => ({ in: [integers(d, [3, 2], (i) => i % 4)], attrs: { cats_int64s: [0, 1, 3], zeros: 1 } }),
  ZipMap: () => ({ in: [reals(f32, 5, 3)], attrs: { classlabels_int64s: [4, 2, 9] } }),
  LinearRegressor: (d) => ({ in: [rows(d)], attrs: { coefficients: numbers(8), intercepts: numbers(2), targets: 2 } }),
  LinearClassifier: (d) => ({
    in: [rows(d)],
    attrs: { coefficients: numbers(12), intercepts: numbers(3), classlabels_ints: [5, 6, 8], post_transform: "SOFTMAX" },
    outputs: 2,
  }),
  Scaler: (d) => ({ in: [rows(d)], attrs: { offset: numbers(4), scale: { floats: [2, 0.5, 1, 4] } } }),
  Normalizer: (d) => ({ in: [rows(d)], attrs: { norm: "L2" } }),
  Binarizer: (d) => ({ in: [rows(d)], attrs: { threshold: { float: 0.5 } } }),
  Imputer: (d) => ({
    in: [rows(d)],
    attrs: d.isFloat
      ? { imputed_value_floats: numbers(4), replaced_value_float: { float: 0.25 } }
      : { imputed_value_int64s: [7], replaced_value_int64: 2 },
  }),
  ArrayFeatureExtractor: (d) => ({ in: [rows(d), integers(i64, [1, 2], (i) => 3 - 2 * i)] }),
  FeatureVectorizer: (d) => ({ in: [rows(d), rows(d)], attrs: { inputdimensions: [4, 3] } }),
  SVMRegressor: (d) => ({
    in: [rows(d)],
    attrs: {
      kernel_type: "RBF",
      kernel_params: { floats: [0.5, 0, 0] },
      n_supports: 3,
      support_vectors: numbers(12),
      coefficients: numbers(3),
      rho: numbers(1),
    },
  }),
  SVMClassifier: (d) => ({
    in: [rows(d)],
    attrs: {
      kernel_type: "POLY",
      kernel_params: { floats: [0.5, 1, 2] },
      support_vectors: numbers(24),
      coefficients: numbers(12),
      rho: numbers(3),
      prob_a: { floats: [-2, -1.5, -1] },
      prob_b: { floats: [0, 0.125, -0.125] },
      vectors_per_class: [2, 2, 2],
      classlabels_ints: [1, 2, 3],
    },
    outputs: 2,
  }),
  TreeEnsembleRegressor: (d) => ({
    in: [rows(d)],
    attrs: { ...branches, ...weights("target", [0, 0, 0, 1, 1, 1]), n_targets: 2 },
    version: 3,
  }),
  TreeEnsembleClassifier: (d) => ({
    in: [rows(d)],
    attrs: { ...branches, ...weights("class", [0, 1, 2, 0, 1, 2]), classlabels_int64s: [3, 1, 7], post_transform: "SOFTMAX" },
    outputs: 2,
    version: 3,
  }),
  TreeEnsemble: (d) => ({
    in: [rows(d)],
    attrs: {
      tree_roots: [0, 2],
      nodes_featureids: [0, 2, 3],
      nodes_modes: tensor(integers(u8, [3], (i) => [0, 1, 3][i] as number)),
      nodes_splits: tensor(reals(d, 3)),
      nodes_truenodeids: [1, 0, 3],
      nodes_falsenodeids: [2, 1, 4],
      nodes_trueleafs: [0, 1, 1],
      nodes_falseleafs: [1, 1, 1],
      leaf_targetids: [0, 1, 0, 1, 0],
      leaf_weights: tensor(reals(d, 5)),
      n_targets: 2,
    },
    version: 5,
  }),
};
