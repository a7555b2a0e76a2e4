/**
 * The bytes of a constant, wherever they are: in memory, or a range of a file that is read on demand, so that a model's
 * weights are never all in memory at once.
 */
export interface ConstantData {
  readonly byteLength: number;
  /** Reads `length` bytes from `offset`; the result may be a view and must not be written. */
  read(offset: number, length: number): Uint8Array;
  /** Identifies equal contents cheaply (same file range), for common subexpression elimination. */
  readonly key: string | null;
}

/** Constant bytes held in memory. */
export function inlineConstant(bytes: Uint8Array, key: string | null = null): ConstantData {
  return { byteLength: bytes.byteLength, read: (offset, length) => bytes.subarray(offset, offset + length), key };
}

/** All bytes of the constant, aligned so that any typed array can view them. */
export function alignedBytes(data: ConstantData): Uint8Array {
  return aligned(data.read(0, data.byteLength));
}

/** The bytes at an address that any typed array can view: themselves or a copy. */
export function aligned(bytes: Uint8Array): Uint8Array {
  // Not `slice`: subclasses (Node's Buffer) may give a view instead of a copy.
  return bytes.byteOffset % 8 === 0 ? bytes : new Uint8Array(bytes);
}
