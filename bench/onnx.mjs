// As much of the ONNX format as the small models here need, written by hand (the message and field numbers are those of
// onnx.proto).

/** A varint of a field's key or value; all here are below 2^32. */
function varint(n) {
  const out = [];
  let rest = n >>> 0;
  for (; rest >= 0x80; rest >>>= 7) out.push((rest & 0x7f) | 0x80);
  return Buffer.from([...out, rest]);
}
const number = (field, n) => Buffer.concat([varint(field << 3), varint(n)]);
const bytes = (field, b) => Buffer.concat([varint((field << 3) | 2), varint(b.length), b]);
const text = (field, s) => bytes(field, Buffer.from(s));
const message = (field, ...parts) => bytes(field, Buffer.concat(parts));

const float = 1;
const opset = 17;

/** TensorProto: dims 1, data_type 2, name 8, raw_data 9. A constant of a graph is its field 5. */
function constant(name, dims, data) {
  const raw = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return message(5, ...dims.map((d) => number(1, d)), number(2, float), text(8, name), bytes(9, raw));
}
/** ValueInfoProto: name 1, type 2 (tensor_type 1: elem_type 1, shape 2: dim 1: dim_value 1). */
function value(field, name, dims) {
  const shape = message(2, ...dims.map((d) => message(1, number(1, d))));
  return message(field, text(1, name), message(2, message(1, number(1, float), shape)));
}
const input = (name, dims) => value(11, name, dims);
const output = (name, dims) => value(12, name, dims);

/** AttributeProto: name 1, i 3, ints 8, type 20 (2: INT, 7: INTS). An attribute of a node is its field 5. */
const integer = (name, n) => message(5, text(1, name), number(3, n), number(20, 2));
const integers = (name, list) => message(5, text(1, name), ...list.map((n) => number(8, n)), number(20, 7));

/** NodeProto: input 1, output 2, name 3, op_type 4. A node of a graph is its field 1. */
function node(type, inputs, outputs, ...attributes) {
  return message(1, ...inputs.map((n) => text(1, n)), ...outputs.map((n) => text(2, n)), text(3, type.toLowerCase()), text(4, type), ...attributes);
}
/** ModelProto: ir_version 1, graph 7 (name 2), opset_import 8 (domain 1, version 2). */
const model = (name, ...parts) => Buffer.concat([number(1, 8), message(7, text(2, name), ...parts), message(8, text(1, ""), number(2, opset))]);

/** c = a · b for a[m, k] and b[k, n]; b is a constant of the model, or an input when `right` is null. */
export function matmulModel({ m, k, n }, right) {
  const b = right === null ? input("b", [k, n]) : constant("b", [k, n], right);
  return model("matmul", node("MatMul", ["a", "b"], ["c"]), b, input("a", [m, k]), output("c", [m, n]));
}

/**
 * y = act(conv(x, w) + b), one image: `{ channels, size, filters, kernel, stride, groups, act }`, all of them square; `act`
 * is "relu", "relu6" or null.
 */
export function convModel(c, weights, bias) {
  const [pad, out] = [padOf(c), outSize(c)];
  const square = (n) => [n, n];
  const attributes = [
    integers("kernel_shape", square(c.kernel)),
    integers("strides", square(c.stride)),
    integers("pads", [pad, pad, pad, pad]),
    integer("group", c.groups),
  ];
  const shape = [1, c.filters, out, out];
  const conv = node("Conv", ["x", "w", "b"], [c.act === null ? "y" : "sum"], ...attributes);
  const scalar = (name, v) => constant(name, [], new Float32Array([v]));
  const act = {
    relu: () => [node("Relu", ["sum"], ["y"])],
    relu6: () => [node("Clip", ["sum", "low", "high"], ["y"]), scalar("low", 0), scalar("high", 6)],
    none: () => [],
  }[c.act ?? "none"]();
  return model(
    "conv",
    conv,
    ...act,
    constant("w", [c.filters, c.channels / c.groups, c.kernel, c.kernel], weights),
    constant("b", [c.filters], bias),
    input("x", [1, c.channels, c.size, c.size]),
    output("y", shape),
  );
}
export const padOf = (c) => Math.floor(c.kernel / 2);
export const outSize = (c) => Math.floor((c.size + 2 * padOf(c) - c.kernel) / c.stride) + 1;
