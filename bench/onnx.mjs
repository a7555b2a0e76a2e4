// As much of the ONNX format as the matrix multiplications here need: models of one node, written by hand (the message and
// field numbers are those of onnx.proto).

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

/** TensorProto: dims 1, data_type 2, name 8, raw_data 9. */
function tensor(field, name, dims, data) {
  const raw = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return message(field, ...dims.map((d) => number(1, d)), number(2, float), text(8, name), bytes(9, raw));
}
/** ValueInfoProto: name 1, type 2 (tensor_type 1: elem_type 1, shape 2: dim 1: dim_value 1). */
function value(field, name, dims) {
  const shape = message(2, ...dims.map((d) => message(1, number(1, d))));
  return message(field, text(1, name), message(2, message(1, number(1, float), shape)));
}

/** c = a · b for square matrices; b is a constant of the model, or an input when `constant` is null. */
export function matmulModel(size, constant) {
  const dims = [size, size];
  const node = message(1, text(1, "a"), text(1, "b"), text(2, "c"), text(3, "matmul"), text(4, "MatMul"));
  const b = constant === null ? value(11, "b", dims) : tensor(5, "b", dims, constant);
  const graph = message(7, node, text(2, "matmul"), b, value(11, "a", dims), value(12, "c", dims));
  return Buffer.concat([number(1, 8), graph, message(8, text(1, ""), number(2, opset))]);
}
