import { UserError } from "../base/errors.ts";
import { bytesToHex } from "../base/hex.ts";

/** SHA-256 (FIPS 180-4): the engine's own where there is one, which pages that were not served over HTTPS lack. */

/** Compares files with the hashes that they should have, one after the other. */
export class HashCheck {
  /** A copy of what cannot be hashed where it lies; one serves for all files, so that they leave no garbage. */
  private copy = new Uint8Array(0);

  /**
   * @param expected the SHA-256 of the file's bytes, in hex
   * @throws UserError `artifact` where they have another
   */
  async compare(file: string, bytes: Uint8Array, expected: string): Promise<void> {
    const got = await this.sha256(bytes);
    if (got === expected) return;
    throw new UserError(
      "artifact",
      `${file}: its SHA-256 is ${got}, expected ${expected}: the file is damaged, or belongs to another build; fetch it again, or compile the model again`,
    );
  }

  private async sha256(bytes: Uint8Array): Promise<string> {
    const subtle = (globalThis as { readonly crypto?: { readonly subtle?: SubtleCrypto } }).crypto?.subtle;
    if (subtle === undefined) return sha256Here(bytes);
    const own = bytes.buffer instanceof ArrayBuffer ? bytes : this.copied(bytes);
    return bytesToHex(new Uint8Array(await subtle.digest("SHA-256", own as BufferSource)));
  }

  /** Memory that threads share is refused by engines: it might change meanwhile. */
  private copied(bytes: Uint8Array): Uint8Array {
    if (this.copy.length < bytes.length) this.copy = new Uint8Array(bytes.length);
    this.copy.set(bytes);
    return this.copy.subarray(0, bytes.length);
  }
}

/** The first 32 bits of the fractional parts of roots of the first primes. */
function rootBits(count: number, root: (p: number) => number): Int32Array {
  const primes: number[] = [];
  for (let n = 2; primes.length < count; n++) if (primes.every((p) => n % p !== 0)) primes.push(n);
  return Int32Array.from(primes, (p) => Math.floor((root(p) % 1) * 2 ** 32));
}

/** The same without help of the engine; all of the bytes are read where they lie. */
export function sha256Here(bytes: Uint8Array): string {
  const round = rootBits(64, Math.cbrt);
  const state = rootBits(8, Math.sqrt);
  const words = new Int32Array(64);
  const whole = bytes.length - (bytes.length % 64);
  for (let at = 0; at < whole; at += 64) mix(state, round, words, bytes, at);
  // What is left, a bit, zeros, and the number of bits.
  const last = new Uint8Array(bytes.length - whole < 56 ? 64 : 128);
  last.set(bytes.subarray(whole));
  last[bytes.length - whole] = 0x80;
  new DataView(last.buffer).setBigUint64(last.length - 8, BigInt(bytes.length) * 8n);
  for (let at = 0; at < last.length; at += 64) mix(state, round, words, last, at);
  const out = new DataView(new ArrayBuffer(32));
  state.forEach((x, i) => {
    out.setInt32(4 * i, x);
  });
  return bytesToHex(new Uint8Array(out.buffer));
}

const turned = (x: number, n: number) => (x >>> n) | (x << (32 - n));

/** Mixes a block of 64 bytes into the state. */
function mix(state: Int32Array, round: Int32Array, words: Int32Array, bytes: Uint8Array, at: number): void {
  for (let i = 0; i < 16; i++) {
    const k = at + 4 * i;
    words[i] = ((bytes[k] ?? 0) << 24) | ((bytes[k + 1] ?? 0) << 16) | ((bytes[k + 2] ?? 0) << 8) | (bytes[k + 3] ?? 0);
  }
  for (let i = 16; i < 64; i++) {
    const [x, y] = [words[i - 15] ?? 0, words[i - 2] ?? 0];
    const low = turned(x, 7) ^ turned(x, 18) ^ (x >>> 3);
    const high = turned(y, 17) ^ turned(y, 19) ^ (y >>> 10);
    words[i] = (words[i - 16] ?? 0) + low + (words[i - 7] ?? 0) + high;
  }
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = state;
  for (let i = 0; i < 64; i++) {
    const t = h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) + (round[i] ?? 0) + (words[i] ?? 0);
    const u = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = (d + t) | 0;
    d = c;
    c = b;
    b = a;
    a = (t + u) | 0;
  }
  [a, b, c, d, e, f, g, h].forEach((x, i) => {
    state[i] = (state[i] ?? 0) + x;
  });
}
