/**
 * A picture as a PNG file in a data: URL, without a canvas. The pixels are stored, not compressed (RFC 1951, blocks of type
 * 0): the file is a little larger than its pixels, and no library is needed. PNG: W3C, Portable Network Graphics (3rd edition).
 */
const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const longestBlock = 65535;

/** @param rgba 4 bytes for each pixel, row by row from the top */
export function pngUrl(width: number, height: number, rgba: Uint8ClampedArray): string {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  // 8 bits for each channel, RGBA.
  header.set([8, 6], 8);
  const file = joined([
    Uint8Array.from(signature),
    ...chunk("IHDR", header),
    ...chunk("IDAT", zlibStored(scanlines(width, height, rgba))),
    ...chunk("IEND", new Uint8Array(0)),
  ]);
  return `data:image/png;base64,${base64(file)}`;
}

/** Each row after the number of its filter: none. */
function scanlines(width: number, height: number, rgba: Uint8ClampedArray): Uint8Array {
  const row = 4 * width;
  const lines = new Uint8Array(height * (row + 1));
  for (let y = 0; y < height; y++) lines.set(rgba.subarray(y * row, (y + 1) * row), y * (row + 1) + 1);
  return lines;
}

function zlibStored(data: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [Uint8Array.of(0x78, 0x01)];
  for (let at = 0; at === 0 || at < data.length; at += longestBlock) {
    const block = data.subarray(at, at + longestBlock);
    const n = block.length;
    parts.push(Uint8Array.of(at + longestBlock >= data.length ? 1 : 0, n & 255, n >> 8, ~n & 255, (~n >> 8) & 255), block);
  }
  parts.push(bigEndian(adler32(data)));
  return joined(parts);
}

function chunk(type: string, data: Uint8Array): Uint8Array[] {
  const named = joined([new TextEncoder().encode(type), data]);
  return [bigEndian(data.length), named, bigEndian(crc32(named))];
}

function adler32(data: Uint8Array): number {
  let [a, b] = [1, 0];
  for (const byte of data) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  return ((b << 16) | a) >>> 0;
}

function crc32(data: Uint8Array): number {
  let crc = ~0;
  for (const byte of data) {
    crc ^= byte;
    for (let k = 0; k < 8; k++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

function bigEndian(n: number): Uint8Array {
  return Uint8Array.of(n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

function base64(bytes: Uint8Array): string {
  let text = "";
  // In pieces: a call takes only so many arguments.
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}
