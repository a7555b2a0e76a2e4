import { PbfWriter } from "pbf";

/** Writes ONNX files: the few messages and fields that the models of these programs need. */

const types = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
  uint4: 21,
  int4: 22,
};

function message(write) {
  const w = new PbfWriter();
  write(w);
  return w.finish();
}

/** `raw`: the elements' bytes; `location`: a file that they are in instead. */
function tensor(name, { type, dims, raw, location }) {
  return message((w) => {
    for (const d of dims) w.writeVarintField(1, d);
    w.writeVarintField(2, types[type]);
    w.writeStringField(8, name);
    if (raw !== undefined) w.writeBytesField(9, raw);
    if (location === undefined) return;
    w.writeBytesField(
      13,
      message((e) => {
        e.writeStringField(1, "location");
        e.writeStringField(2, location);
      }),
    );
    w.writeVarintField(14, 1);
  });
}

/** A number is an int, an array ints, `{ float }` a float, a text a string. */
function attribute(name, value) {
  return message((w) => {
    w.writeStringField(1, name);
    if (typeof value === "number") w.writeVarintField(3, value);
    else if (typeof value === "string") w.writeStringField(4, value);
    else if (Array.isArray(value)) for (const v of value) w.writeVarintField(8, v);
    else w.writeFloatField(2, value.float);
    w.writeVarintField(20, typeof value === "number" ? 2 : typeof value === "string" ? 3 : Array.isArray(value) ? 7 : 1);
  });
}

function node([op, inputs, outputs, attributes = {}]) {
  return message((w) => {
    for (const i of inputs) w.writeStringField(1, i);
    for (const o of outputs) w.writeStringField(2, o);
    w.writeStringField(3, `${op}:${outputs[0]}`);
    w.writeStringField(4, op);
    for (const [k, v] of Object.entries(attributes)) w.writeBytesField(5, attribute(k, v));
  });
}

/** A dim is a size, a name, or null: not known. */
function value(name, [type, dims]) {
  const dim = (d) =>
    message((w) => (typeof d === "number" ? w.writeVarintField(1, d) : typeof d === "string" ? w.writeStringField(2, d) : undefined));
  const shape = message((w) => {
    for (const d of dims) w.writeBytesField(1, dim(d));
  });
  const tensorType = message((w) => {
    w.writeVarintField(1, types[type]);
    w.writeBytesField(2, shape);
  });
  return message((w) => {
    w.writeStringField(1, name);
    w.writeBytesField(
      2,
      message((t) => t.writeBytesField(1, tensorType)),
    );
  });
}

/** nodes: [op, inputs, outputs, attributes]; inputs and outputs: [type, dims] by name; constants: { type, dims, raw } by name. */
export function onnx({ nodes, inputs, outputs, constants = {}, opset = 17 }) {
  const graph = message((w) => {
    for (const n of nodes) w.writeBytesField(1, node(n));
    w.writeStringField(2, "graph");
    for (const [k, t] of Object.entries(constants)) w.writeBytesField(5, tensor(k, t));
    for (const [k, v] of Object.entries(inputs)) w.writeBytesField(11, value(k, v));
    for (const [k, v] of Object.entries(outputs)) w.writeBytesField(12, value(k, v));
  });
  return message((w) => {
    w.writeVarintField(1, 8);
    w.writeStringField(2, "tilewright's tests");
    w.writeBytesField(7, graph);
    w.writeBytesField(
      8,
      message((o) => {
        o.writeStringField(1, "");
        o.writeVarintField(2, opset);
      }),
    );
  });
}

/** A constant of the elements of a typed array. */
export function constant(type, dims, array) {
  return { type, dims, raw: new Uint8Array(array.buffer, array.byteOffset, array.byteLength) };
}

/** The same numbers at every run: uniform in [-1, 1). */
export function numbers(n, seed = 1) {
  let x = seed;
  return Float32Array.from({ length: n }, () => {
    x = (Math.imul(x, 1103515245) + 12345) & 0x7fffffff;
    return x / 0x40000000 - 1;
  });
}
