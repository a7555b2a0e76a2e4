import { describe, expect, test } from "vitest";
import { type ModelSpec, type ValueSpec, model } from "../../../../test/support/onnx.ts";
import { runBoth } from "../../../../test/support/onnx-run.ts";
import { f32 } from "../../../base/dtype.ts";
import { compileGraph } from "../../../compile.ts";
import { type HostTensor, hostFrom } from "../../../graph/host.ts";
import { seededRandom } from "../../../schedule/random.ts";
import { importOnnx } from "../import.ts";

const spec = (inputs: Record<string, ValueSpec>, attrs: Record<string, number | { readonly float: number }>, opset = 24): ModelSpec => ({
  opset,
  inputs,
  nodes: [{ op: "Attention", in: ["q", "k", "v", ...("mask" in inputs ? ["mask"] : [])], out: ["y"], attrs }],
  outputs: ["y"],
});

/** The definition, for [batch, heads, rows, features]; `allowed` says which keys a query sees. */
function reference(q: HostTensor, k: HostTensor, v: HostTensor, allowed: (i: number, j: number) => boolean): number[] {
  const [batch, heads, rows, features] = q.dims as [number, number, number, number];
  const [, shared, keys, depth] = [...k.dims.slice(0, 3), v.dims[3]] as [number, number, number, number];
  const out: number[] = [];
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < rows; i++) {
        const own = Math.floor(h / (heads / shared));
        const at = (t: HostTensor, heads: number, head: number, row: number, f: number) =>
          Number(t.data[((b * heads + head) * (t.dims[2] as number) + row) * (t.dims[3] as number) + f]);
        const scores = Array.from({ length: keys }, (_, j) =>
          allowed(i, j)
            ? Array.from({ length: features }, (_, f) => at(q, heads, h, i, f) * at(k, shared, own, j, f)).reduce((a, c) => a + c, 0) /
              Math.sqrt(features)
            : Number.NEGATIVE_INFINITY,
        );
        const top = Math.max(...scores);
        const e = scores.map((s) => (top === Number.NEGATIVE_INFINITY ? 0 : Math.exp(s - top)));
        const total = e.reduce((a, c) => a + c, 0);
        for (let f = 0; f < depth; f++) out.push(total === 0 ? 0 : e.reduce((sum, p, j) => sum + p * at(v, shared, own, j, f), 0) / total);
      }
  return out;
}
function expectClose(got: HostTensor | undefined, want: readonly number[]): void {
  expect(got?.data.length).toBe(want.length);
  want.forEach((w, i) => void expect(Math.abs(Number(got?.data[i]) - w)).toBeLessThanOrEqual(2e-6));
}

describe("Attention", () => {
  test("of symbolic lengths, grouped heads, causal", async () => {
    const random = seededRandom(1);
    const m = spec({ q: ["f32", [1, 4, "rows", 8]], k: ["f32", [1, 2, "keys", 8]], v: ["f32", [1, 2, "keys", 6]] }, { is_causal: 1 });
    for (const [rows, keys] of [
      [3, 3],
      [17, 30],
    ] as const) {
      const [q, k, v] = [
        [1, 4, rows, 8],
        [1, 2, keys, 8],
        [1, 2, keys, 6],
      ].map((d) => hostFrom(f32, d, () => random() - 0.5)) as [HostTensor, HostTensor, HostTensor];
      const want = reference(q, k, v, (i, j) => j <= i);
      for (const [y] of await runBoth(m, [q, k, v])) expectClose(y, want);
    }
  });
  test("a row that sees nothing is 0, whatever its scores", async () => {
    const q = hostFrom(f32, [1, 1, 4, 8], (i) => (i === 0 ? Number.POSITIVE_INFINITY : i / 32));
    const k = hostFrom(f32, [1, 1, 5, 8], (i) => (i % 7) / 7);
    const mask = hostFrom(f32, [4, 5], (i) => (i < 5 ? Number.NEGATIVE_INFINITY : 0));
    const m = spec({ q: ["f32", [1, 1, 4, 8]], k: ["f32", [1, 1, 5, 8]], v: ["f32", [1, 1, 5, 8]], mask: ["f32", [4, 5]] }, {});
    const want = reference(
      hostFrom(f32, q.dims, (i) => i / 32),
      k,
      k,
      (i) => i > 0,
    );
    for (const [y] of await runBoth(m, [q, k, k, mask])) expectClose(y, want);
  });

  const whole: ValueSpec = ["f32", [1, 12, 128, 64]];
  const few: ValueSpec = ["f32", [1, 4, 128, 64]];
  const packed: ValueSpec = ["f32", [1, 128, 768]];
  const heads = { q_num_heads: 12, kv_num_heads: 12 };
  test.each([
    ["plain", { q: whole, k: whole, v: whole }, {}],
    ["causal", { q: whole, k: whole, v: whole }, { is_causal: 1 }],
    ["causal with a soft cap", { q: whole, k: whole, v: whole }, { is_causal: 1, softcap: { float: 30 } }],
    ["a mask", { q: whole, k: whole, v: whole, mask: ["f32", [128, 128]] }, {}],
    ["heads packed", { q: packed, k: packed, v: packed }, heads],
    ["grouped heads", { q: whole, k: few, v: few }, { is_causal: 1 }],
  ] as const)("%s: scores are not stored", (_, inputs, attrs) => {
    const { program } = compileGraph(importOnnx(model(spec(inputs, attrs))).graph);
    const sizes = (program.placements ?? []).map((p) => Number(p.bytes.constant));
    const largest = Math.max(0, ...sizes);
    expect(largest).toBeLessThan(12 * 128 * 128 * 4);
  });
});
