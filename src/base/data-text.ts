import { type ConstantData, inlineConstant } from "./constant.ts";
import { type Dim, productOf } from "./dim.ts";
import { type DType, arrayOf } from "./dtype.ts";
import { bytesToHex, hexToBytes } from "./hex.ts";
import { type Num, readElement, roundTo, writeElement } from "./numeric.ts";
import { type Reader, printNumber } from "./text.ts";

/** Constants up to this many bytes are printed in the text; larger ones only by their size, and cannot be read back. */
const inlineLimit = 256;

/**
 * A constant's contents as IR text, which `readData` reads: `values(1.0, 2.5)`, or `hex("…")` where values would not give
 * the very same bytes, or `elided(4096)` for a large one.
 */
export function printData(data: ConstantData, dtype: DType, dims: readonly Dim[]): string {
  if (data.byteLength > inlineLimit) return `elided(${data.byteLength})`;
  const bytes = data.read(0, data.byteLength);
  const n = productOf(dims);
  if (typeof n === "number" && dtype.bytes(n) === bytes.length) {
    const array = new (arrayOf(dtype))(bytes.slice().buffer);
    const values = Array.from({ length: n }, (_, i) => readElement(dtype, array, i));
    const again = encode(dtype, values);
    if (again.every((b, i) => b === bytes[i]))
      return `values(${values.map((v) => (typeof v === "bigint" ? `${v}` : printNumber(v, dtype.isFloat))).join(", ")})`;
  }
  return `hex("${bytesToHex(bytes)}")`;
}

/** Reads what `printData` prints. @throws UserError `syntax` for a constant that was elided, or of another size than its type */
export function readData(r: Reader, dtype: DType, dims: readonly Dim[]): ConstantData {
  const at = r.peek();
  const n = productOf(dims);
  if (typeof n !== "number") return r.fail("a constant has no symbolic dims", at);
  if (r.accept("values")) {
    const values = r.list("(", ")", () => readValue(r, dtype));
    if (values.length !== n) r.fail(`${dtype}[${dims.join(", ")}] has ${n} elements, got ${values.length}`, at);
    return inlineConstant(encode(dtype, values));
  }
  if (r.accept("elided")) r.fail('this constant was too large to print; give its contents as values(…) or hex("…")', at);
  if (!r.accept("hex")) r.fail(`expected values(…) or hex("…"), got '${at.text}'`, at);
  r.expect("(");
  const text = r.string();
  r.expect(")");
  if (text.length !== 2 * dtype.bytes(n) || /[^0-9a-fA-F]/.test(text))
    r.fail(`${dtype}[${dims.join(", ")}] needs ${2 * dtype.bytes(n)} hexadecimal digits, got ${text.length} characters`, at);
  return inlineConstant(hexToBytes(text));
}

function encode(dtype: DType, values: readonly Num[]): Uint8Array {
  const bytes = new Uint8Array(dtype.bytes(values.length));
  const array = new (arrayOf(dtype))(bytes.buffer) as unknown as { [i: number]: number | bigint };
  values.forEach((v, i) => {
    writeElement(dtype, array, i, v);
  });
  return bytes;
}

function readValue(r: Reader, dtype: DType): Num {
  const at = r.peek();
  if (dtype.bits !== 64 || dtype.isFloat) {
    const v = r.number();
    const rounded = roundTo(dtype, v);
    if (!dtype.isFloat && rounded !== v) r.fail(`${v} is no ${dtype}`, at);
    return rounded;
  }
  const negative = r.accept("-");
  const text = r.take("number");
  if (!/^\d+$/.test(text)) r.fail(`${text} is no ${dtype}`, at);
  const v = negative ? -BigInt(text) : BigInt(text);
  if (roundTo(dtype, v) !== v) r.fail(`${v} is no ${dtype}`, at);
  return v;
}
