import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { constant, numbers, onnx } from "./onnx.mjs";

/** The models of the programs: made here, by name. */

const ints = (values) => constant("int64", [values.length], BigInt64Array.from(values, BigInt));

const models = {
  /** The first model of the original's examples: a product of two matrices. */
  matmul: () =>
    onnx({
      nodes: [["MatMul", ["a", "b"], ["c"]]],
      inputs: { a: ["float32", [3, 4]], b: ["float32", [4, 3]] },
      outputs: { c: ["float32", [3, 3]] },
    }),
  /** Two layers, any number of rows; two outputs. */
  layers: () =>
    onnx({
      nodes: [
        ["MatMul", ["x", "w1"], ["p1"]],
        ["Add", ["p1", "b1"], ["s1"]],
        ["Relu", ["s1"], ["hidden"]],
        ["MatMul", ["hidden", "w2"], ["logits"]],
        ["Softmax", ["logits"], ["probabilities"], { axis: 1 }],
      ],
      inputs: { x: ["float32", ["batch size", 8]] },
      outputs: { probabilities: ["float32", ["batch size", 5]], hidden: ["float32", ["batch size", 16]] },
      constants: {
        w1: constant("float32", [8, 16], numbers(128, 3)),
        b1: constant("float32", [16], numbers(16, 5)),
        w2: constant("float32", [16, 5], numbers(80, 7)),
      },
    }),
  /** Rows of a table for numbers of words, and their mean where a mask is 1. */
  embedding: () =>
    onnx({
      nodes: [
        ["Gather", ["table", "input_ids"], ["rows"]],
        ["Cast", ["attention_mask"], ["mask"], { to: 1 }],
        ["Unsqueeze", ["mask", "last"], ["mask3"]],
        ["Mul", ["rows", "mask3"], ["masked"]],
        ["ReduceSum", ["masked", "middle"], ["sum"], { keepdims: 0 }],
        ["ReduceSum", ["mask", "middle"], ["count"], { keepdims: 1 }],
        ["Div", ["sum", "count"], ["embedding"]],
      ],
      inputs: { input_ids: ["int64", ["batch", "sequence"]], attention_mask: ["int64", ["batch", "sequence"]] },
      outputs: { embedding: ["float32", ["batch", 12]] },
      constants: { table: constant("float32", [50, 12], numbers(600, 11)), last: ints([-1]), middle: ints([1]) },
    }),
  /** Where a condition holds, the one, else the other; and the condition's opposite. */
  choice: () =>
    onnx({
      nodes: [
        ["Where", ["condition", "a", "b"], ["chosen"]],
        ["Not", ["condition"], ["other"]],
      ],
      inputs: { condition: ["bool", ["n"]], a: ["float32", ["n"]], b: ["float32", ["n"]] },
      outputs: { chosen: ["float32", ["n"]], other: ["bool", ["n"]] },
    }),
  /** One tensor in many types. */
  casts: () => {
    const types = {
      float32: 1,
      uint8: 2,
      int8: 3,
      uint16: 4,
      int16: 5,
      int32: 6,
      int64: 7,
      bool: 9,
      float16: 10,
      float64: 11,
      uint32: 12,
      uint64: 13,
    };
    return onnx({
      nodes: Object.entries(types).map(([t, to]) => ["Cast", ["x"], [t], { to }]),
      inputs: { x: ["int32", [2, 3]] },
      outputs: Object.fromEntries(Object.keys(types).map((t) => [t, [t, [2, 3]]])),
    });
  },
  /** Inputs of many types, each given back; sums of the whole numbers of 64 bits. */
  identities: () => {
    const types = ["float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "bool", "float16", "float64", "uint32", "uint64"];
    return onnx({
      nodes: [...types.map((t) => ["Identity", [`${t}_in`], [t]]), ["Add", ["int64_in", "int64_in"], ["sum"]]],
      inputs: Object.fromEntries(types.map((t) => [`${t}_in`, [t, ["n"]]])),
      outputs: { ...Object.fromEntries(types.map((t) => [t, [t, ["n"]]])), sum: ["int64", ["n"]] },
    });
  },
  /** Floats of 16 bits, through and through. */
  half: () =>
    onnx({
      nodes: [
        ["Mul", ["x", "x"], ["square"]],
        ["Add", ["square", "x"], ["y"]],
      ],
      inputs: { x: ["float16", ["n"]] },
      outputs: { y: ["float16", ["n"]] },
    }),
  /** The state of a decoder: what was seen grows by what is new, and its running sum is given. */
  growing: () =>
    onnx({
      nodes: [
        ["Concat", ["past", "x"], ["present"], { axis: 1 }],
        ["ReduceSum", ["present", "axis"], ["total"], { keepdims: 0 }],
      ],
      inputs: { x: ["float32", ["batch", "new", 4]], past: ["float32", ["batch", "past_length", 4]] },
      outputs: { present: ["float32", ["batch", "total_length", 4]], total: ["float32", ["batch", 4]] },
      constants: { axis: ints([1]) },
    }),
  /** The largest values and their places; places of what is not 0. */
  places: () =>
    onnx({
      nodes: [
        ["TopK", ["x", "k"], ["values", "indices"]],
        ["NonZero", ["x"], ["nonzero"]],
      ],
      inputs: { x: ["float32", [1, 10]] },
      outputs: { values: ["float32", [1, 3]], indices: ["int64", [1, 3]], nonzero: ["int64", [2, "count"]] },
      constants: { k: ints([3]) },
    }),
  /** Bytes, and back. */
  quantized: () =>
    onnx({
      nodes: [
        ["QuantizeLinear", ["x", "scale", "zero"], ["bytes"]],
        ["DequantizeLinear", ["bytes", "scale", "zero"], ["y"]],
      ],
      inputs: { x: ["float32", ["n"]] },
      outputs: { bytes: ["uint8", ["n"]], y: ["float32", ["n"]] },
      constants: { scale: constant("float32", [], Float32Array.of(0.125)), zero: constant("uint8", [], Uint8Array.of(128)) },
    }),
  /** Two numbers in a byte. */
  nibbles: () =>
    onnx({
      opset: 21,
      nodes: [["DequantizeLinear", ["nibbles", "scale"], ["y"]]],
      inputs: { nibbles: ["int4", [5]] },
      outputs: { y: ["float32", [5]] },
      constants: { scale: constant("float32", [], Float32Array.of(0.125)) },
    }),
  /** Convolution, pooling, a linear layer: pictures of 8 by 8. */
  picture: () =>
    onnx({
      nodes: [
        ["Conv", ["image", "w"], ["c"], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }],
        ["Relu", ["c"], ["r"]],
        ["GlobalAveragePool", ["r"], ["g"]],
        ["Flatten", ["g"], ["f"]],
        ["Gemm", ["f", "m", "b"], ["logits"]],
      ],
      inputs: { image: ["float32", ["N", 3, "H", "W"]] },
      outputs: { logits: ["float32", ["N", 7]] },
      constants: {
        w: constant("float32", [6, 3, 3, 3], numbers(162, 13)),
        m: constant("float32", [6, 7], numbers(42, 17)),
        b: constant("float32", [7], numbers(7, 19)),
      },
    }),
  /** Its weights are in `external.bin`. */
  external: () =>
    onnx({
      nodes: [["Mul", ["x", "w"], ["y"]]],
      inputs: { x: ["float32", [4]] },
      outputs: { y: ["float32", [4]] },
      constants: { w: { type: "float32", dims: [4], location: "external.bin" } },
    }),
  /** A number alone. */
  scalar: () =>
    onnx({
      nodes: [["Add", ["x", "x"], ["y"]]],
      inputs: { x: ["float32", []] },
      outputs: { y: ["float32", []] },
    }),
};

const externalData = new Uint8Array(Float32Array.of(1, 10, 100, 1000).buffer);

/** Writes all models to a folder, as NAME.onnx. */
export function writeModels(folder) {
  for (const [name, make] of Object.entries(models)) writeFileSync(join(folder, `${name}.onnx`), make());
  writeFileSync(join(folder, "external.bin"), externalData);
}
