import { PbfReader } from "pbf";
import { UserError } from "../../base/errors.ts";

/** How deep messages may nest: deeper ones are an attack on the stack, not a model. */
const maxDepth = 100;

/** A message ends beyond the bytes that hold it: `atFileEnd` when those are the whole file, which was then cut off. */
export class WireError extends UserError {
  readonly atFileEnd: boolean;
  constructor(message: string, atFileEnd: boolean) {
    super(atFileEnd ? "truncated" : "malformed-protobuf", message);
    this.atFileEnd = atFileEnd;
  }
}

/**
 * Reads protobuf messages without trusting them: pbf decodes tags and varints, but reads past the end in silence, so every
 * step here is followed (or, where memory is at stake, preceded) by a check of its position. Bytes come out as views.
 */
export class WireReader {
  private readonly pbf: PbfReader;
  private readonly fileEnd: number;
  private end: number;
  private depth = 0;
  private readonly utf8 = new TextDecoder("utf-8");

  constructor(bytes: Uint8Array) {
    this.pbf = new PbfReader(bytes);
    this.fileEnd = bytes.byteLength;
    this.end = bytes.byteLength;
  }

  private check(): void {
    if (this.pbf.pos <= this.end) return;
    const file = this.end === this.fileEnd;
    throw new WireError(`byte ${this.end}: ${file ? "the file ends inside a field" : "a field reaches beyond the message that holds it"}`, file);
  }

  private need(bytes: number): void {
    if (this.pbf.pos + bytes > this.end) {
      this.pbf.pos += bytes;
      this.check();
    }
  }

  /** Calls `visit` with the number of every field of the current message; a field it does not read is skipped. */
  fields(visit: (field: number) => void): void {
    for (;;) {
      const field = this.guarded(() => this.pbf.nextField(this.end));
      this.check();
      if (this.pbf.pos >= this.end && field === 0) return;
      if (field === 0) throw new WireError(`byte ${this.pbf.pos}: field number 0`, false);
      visit(field);
      this.check();
    }
  }

  /** pbf throws plain errors for wire types and varints that do not exist. */
  private guarded<T>(read: () => T): T {
    try {
      return read();
    } catch (e) {
      // A varint that the end cuts off looks endless to pbf.
      this.need(1);
      throw new WireError(`byte ${this.pbf.pos}: ${e instanceof Error ? e.message : e}`, false);
    }
  }

  /** Reads a nested message with `body`. */
  message<T>(body: () => T): T {
    const length = this.length();
    const outer = this.end;
    if (++this.depth > maxDepth) throw new WireError(`byte ${this.pbf.pos}: messages nest deeper than ${maxDepth}`, false);
    this.end = this.pbf.pos + length;
    const result = body();
    this.depth--;
    this.end = outer;
    return result;
  }

  /** The length before delimited bytes, checked against the end of the message. */
  private length(): number {
    this.expect(2);
    const length = this.guarded(() => this.pbf.readVarint());
    this.check();
    const start = this.pbf.pos;
    this.need(length);
    this.pbf.pos = start;
    return length;
  }

  private expect(type: number): void {
    if (this.pbf.type !== type) throw new WireError(`byte ${this.pbf.pos}: wire type ${this.pbf.type}, expected ${type}`, false);
  }

  /** A view of delimited bytes; nothing is copied. */
  bytes(): Uint8Array {
    const length = this.length();
    const start = this.pbf.pos;
    this.pbf.pos = start + length;
    return this.pbf.buf.subarray(start, start + length);
  }
  string(): string {
    return this.utf8.decode(this.bytes());
  }

  /** A 64-bit integer, exact. */
  int64(): bigint {
    this.expect(0);
    return this.varint();
  }
  private varint(): bigint {
    const { buf } = this.pbf;
    let [low, high, shift] = [0, 0n, 0];
    for (;;) {
      this.need(1);
      const b = buf[this.pbf.pos++] as number;
      if (shift < 28) low |= (b & 0x7f) << shift;
      else high |= BigInt(b & 0x7f) << BigInt(shift);
      if (b < 0x80) return high === 0n ? BigInt(low) : BigInt.asIntN(64, high | BigInt(low));
      shift += 7;
      if (shift >= 70) throw new WireError(`byte ${this.pbf.pos}: a varint of more than 10 bytes`, false);
    }
  }
  /** A small integer (enum, version); what does not fit into a double exactly is rounded. */
  int(): number {
    return Number(this.int64());
  }
  float(): number {
    this.expect(5);
    this.need(4);
    return this.pbf.readFloat();
  }

  /** A repeated int64 field, packed or not. */
  int64s(into: bigint[]): void {
    if (this.pbf.type !== 2) {
      into.push(this.int64());
      return;
    }
    const length = this.length();
    const outer = this.end;
    this.end = this.pbf.pos + length;
    while (this.pbf.pos < this.end) into.push(this.varint());
    this.end = outer;
  }
  /** A repeated fixed-width field: the bytes of its elements, a view where they are packed. */
  fixed(width: 4 | 8): Uint8Array {
    if (this.pbf.type === 2) {
      const bytes = this.bytes();
      if (bytes.byteLength % width !== 0)
        throw new WireError(`byte ${this.pbf.pos}: ${bytes.byteLength} packed bytes for elements of ${width}`, false);
      return bytes;
    }
    this.expect(width === 4 ? 5 : 1);
    this.need(width);
    const start = this.pbf.pos;
    this.pbf.pos += width;
    return this.pbf.buf.subarray(start, start + width);
  }
}
