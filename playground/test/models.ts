/** Models for the tests of the page, made as they are needed. */

/** Rows of which nobody knows how many. */
export const rows = `graph @rows {
  symbol rows in [1, 100000]
  input %x: f32[rows, 64]
  %e: f32[rows, 64] = exp(%x) from "exp"
  %y: f32[rows, 64] = softmax(%e) {axis = 1} from "softmax"
  output %y
}
`;

/** Blocks of a product, a function and a sum with what was two blocks before: three nodes each. */
export function largeGraph(blocks: number): string {
  const lines = ["graph @large {", "  input %v0: f32[4, 8]", "  input %w: f32[8, 8]"];
  for (let i = 1; i <= blocks; i++) {
    const at = `from "block${i}"`;
    lines.push(`  %p${i}: f32[4, 8] = dot(%v${i - 1}, %w) {batchA = [], batchB = [], contractA = [1], contractB = [0]} ${at}`);
    lines.push(`  %t${i}: f32[4, 8] = tanh(%p${i}) ${at}`);
    lines.push(`  %v${i}: f32[4, 8] = add(%t${i}, %v${Math.max(0, i - 3)}) ${at}`);
  }
  return `${lines.join("\n")}\n  output %v${blocks}\n}\n`;
}

/** A chain of ONNX nodes on a vector of four numbers, encoded by hand: they may be of ops that there are not. */
export function onnxModel(nodes: readonly { readonly op: string; readonly name: string }[]): Uint8Array {
  const port = (name: string) => message([1, name], [2, message([1, message([1, 1], [2, message([1, message([1, 4])])])])]);
  const encoded = nodes.map((n, i) => [1, message([1, `v${i}`], [2, `v${i + 1}`], [3, n.name], [4, n.op])] as const);
  const graph = message(...encoded, [2, "odd"], [11, port("v0")], [12, port(`v${nodes.length}`)]);
  return message([1, 8], [2, "a test"], [7, graph], [8, message([1, ""], [2, 17])]);
}

/** A message of protocol buffers: fields with small numbers, texts or messages. */
function message(...fields: readonly (readonly [number, number | string | Uint8Array])[]): Uint8Array {
  const bytes = fields.flatMap(([field, value]) => {
    if (typeof value === "number") return [field << 3, ...varint(value)];
    const data = typeof value === "string" ? new TextEncoder().encode(value) : value;
    return [(field << 3) | 2, ...varint(data.length), ...data];
  });
  return Uint8Array.from(bytes);
}
function varint(n: number): number[] {
  return n < 128 ? [n] : [(n & 127) | 128, ...varint(n >> 7)];
}
