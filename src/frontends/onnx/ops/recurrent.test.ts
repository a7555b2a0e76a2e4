import { describe, expect, test } from "vitest";
import type { AttrSpec, ModelSpec, ValueSpec } from "../../../../test/support/onnx.ts";
import { failure } from "../../../../test/support/onnx.ts";
import { runBoth } from "../../../../test/support/onnx-run.ts";
import { f32, i32 } from "../../../base/dtype.ts";
import { type HostTensor, hostFrom } from "../../../graph/host.ts";
import { seededRandom } from "../../../schedule/random.ts";

const [time, batch, width, hidden] = [5, 3, 4, 6];
const gates = { RNN: 1, GRU: 3, LSTM: 4 } as const;
type Op = keyof typeof gates;

interface Case {
  readonly op: Op;
  readonly direction: "forward" | "reverse" | "bidirectional";
  readonly lengths?: readonly number[];
  readonly clip?: number;
  readonly linear?: boolean;
  readonly peepholes?: boolean;
  readonly coupled?: boolean;
  readonly batchFirst?: boolean;
  /** The number of steps is only known when the model runs. */
  readonly symbolic?: boolean;
  readonly steps?: number;
  readonly activations?: readonly string[];
  readonly functions?: readonly ((x: number) => number)[];
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const defaults: Readonly<Record<Op, readonly ((x: number) => number)[]>> = {
  RNN: [Math.tanh],
  GRU: [sigmoid, Math.tanh],
  LSTM: [sigmoid, Math.tanh, Math.tanh],
};

interface Inputs {
  readonly x: HostTensor;
  readonly w: HostTensor;
  readonly r: HostTensor;
  readonly b: HostTensor;
  readonly h: HostTensor;
  readonly c: HostTensor;
  readonly p: HostTensor;
}

/** ONNX's equations for one sequence and direction, in double precision: the hidden states of all steps, and the final ones. */
function reference(k: Case, t: Inputs, d: number, n: number, backwards: boolean): { all: number[][]; h: number[]; c: number[] } {
  const steps = k.steps ?? time;
  const count = gates[k.op];
  const at = (v: HostTensor, ...index: number[]): number => Number(v.data[index.reduce((f, i, a) => f * (v.dims[a] as number) + i, 0)]);
  const [f, g, last] = (k.functions ?? defaults[k.op]) as [(x: number) => number, (x: number) => number, (x: number) => number];
  const clip = (x: number): number => (k.clip === undefined ? x : Math.max(-k.clip, Math.min(k.clip, x)));
  const input = (s: number, row: number): number => {
    let sum = at(t.b, d, row);
    for (let i = 0; i < width; i++) sum += at(t.w, d, row, i) * (k.batchFirst === true ? at(t.x, n, s, i) : at(t.x, s, n, i));
    return sum;
  };
  const product = (row: number, v: readonly number[]): number => v.reduce((sum, y, j) => sum + at(t.r, d, row, j) * y, 0);
  const bias = (row: number): number => at(t.b, d, count * hidden + row);
  const start = (v: HostTensor): number[] => Array.from({ length: hidden }, (_, j) => (k.batchFirst === true ? at(v, n, d, j) : at(v, d, n, j)));
  let [h, c] = [start(t.h), start(t.c)];
  const all = Array.from({ length: steps }, () => new Array<number>(hidden).fill(0));
  const cells: Readonly<Record<Op, (s: number) => void>> = {
    RNN(s) {
      h = h.map((_, j) => f(clip(input(s, j) + product(j, h) + bias(j))));
    },
    GRU(s) {
      const gate = (m: number) => h.map((_, j) => f(clip(input(s, m * hidden + j) + product(m * hidden + j, h) + bias(m * hidden + j))));
      const [z, r] = [gate(0), gate(1)] as [number[], number[]];
      const reset = h.map((v, j) => v * (r[j] as number));
      const candidate = h.map((_, j) => {
        const row = 2 * hidden + j;
        const recurrent = k.linear === true ? (r[j] as number) * (product(row, h) + bias(row)) : product(row, reset) + bias(row);
        return g(clip(input(s, row) + recurrent));
      });
      h = h.map((v, j) => (1 - (z[j] as number)) * (candidate[j] as number) + (z[j] as number) * v);
    },
    LSTM(s) {
      const sum = (m: number, j: number) => input(s, m * hidden + j) + product(m * hidden + j, h) + bias(m * hidden + j);
      const peep = (m: number, j: number, v: number) => (k.peepholes === true ? at(t.p, d, m * hidden + j) * v : 0);
      const next = c.map((v, j) => {
        const i = f(clip(sum(0, j) + peep(0, j, v)));
        const forget = k.coupled === true ? 1 - i : f(clip(sum(2, j) + peep(2, j, v)));
        return forget * v + i * g(clip(sum(3, j)));
      });
      h = next.map((v, j) => f(clip(sum(1, j) + peep(1, j, v))) * last(v));
      c = next;
    },
  };
  const length = k.lengths?.[n] ?? steps;
  for (let s = 0; s < length; s++) {
    const now = backwards ? length - 1 - s : s;
    cells[k.op](now);
    all[now] = h;
  }
  return { all, h, c };
}

function modelOf(k: Case): ModelSpec {
  const ways = k.direction === "bidirectional" ? 2 : 1;
  const steps = k.symbolic === true ? "time" : (k.steps ?? time);
  const state = k.batchFirst === true ? [batch, ways, hidden] : [ways, batch, hidden];
  const inputs: Record<string, ValueSpec> = {
    x: ["f32", k.batchFirst === true ? [batch, steps, width] : [steps, batch, width]],
    w: ["f32", [ways, gates[k.op] * hidden, width]],
    r: ["f32", [ways, gates[k.op] * hidden, hidden]],
    b: ["f32", [ways, 2 * gates[k.op] * hidden]],
    h: ["f32", state],
    ...(k.lengths === undefined ? {} : { lengths: ["i32", [batch]] }),
    ...(k.op === "LSTM" ? { c: ["f32", state], p: ["f32", [ways, 3 * hidden]] } : {}),
  };
  const attrs: Record<string, AttrSpec> = {
    hidden_size: hidden,
    direction: k.direction,
    ...(k.clip === undefined ? {} : { clip: { float: k.clip } }),
    ...(k.linear === true ? { linear_before_reset: 1 } : {}),
    ...(k.coupled === true ? { input_forget: 1 } : {}),
    ...(k.batchFirst === true ? { layout: 1 } : {}),
    ...(k.activations === undefined
      ? {}
      : { activations: { strings: k.activations }, activation_alpha: { floats: [0.3] }, activation_beta: { floats: [0.4] } }),
  };
  const named = [
    "x",
    "w",
    "r",
    "b",
    k.lengths === undefined ? "" : "lengths",
    "h",
    ...(k.op === "LSTM" ? ["c", k.peepholes === true ? "p" : ""] : []),
  ];
  const outputs = k.op === "LSTM" ? ["y", "yh", "yc"] : ["y", "yh"];
  return { opset: 14, inputs, nodes: [{ op: k.op, in: named, out: outputs, attrs }], outputs };
}

function expectClose(got: HostTensor | undefined, want: readonly number[], what: string): void {
  expect(got?.data.length, what).toBe(want.length);
  expect(Math.max(...want.map((v, i) => Math.abs(v - Number(got?.data[i])))), what).toBeLessThan(2e-6);
}

async function check(k: Case): Promise<void> {
  const m = modelOf(k);
  const random = seededRandom(7);
  const sizes = (name: string): number[] => (m.inputs?.[name]?.[1] ?? []).map((d) => (d === "time" ? (k.steps ?? time) : Number(d)));
  const draw = (name: string, scale: number): HostTensor =>
    hostFrom(f32, name in (m.inputs ?? {}) ? sizes(name) : [1], () => scale * (2 * random() - 1));
  const t: Inputs = { x: draw("x", 1), w: draw("w", 0.8), r: draw("r", 0.8), b: draw("b", 1), h: draw("h", 1), c: draw("c", 1), p: draw("p", 1) };
  const given = { ...t, lengths: hostFrom(i32, [batch], (n) => k.lengths?.[n] ?? 0) };
  const inputs = Object.keys(m.inputs ?? {}).map((name) => given[name as keyof typeof given]);
  const ways = k.direction === "bidirectional" ? [false, true] : [k.direction === "reverse"];
  const done = ways.map((backwards, d) => Array.from({ length: batch }, (_, n) => reference(k, t, d, n, backwards)));
  const steps = Array.from({ length: k.steps ?? time }, (_, s) => s);
  const sequences = Array.from({ length: batch }, (_, n) => n);
  const y =
    k.batchFirst === true
      ? sequences.flatMap((n) => steps.flatMap((s) => done.flatMap((d) => d[n]?.all[s] ?? [])))
      : steps.flatMap((s) => done.flatMap((d) => d.flatMap((r) => r.all[s] ?? [])));
  const final = (which: "h" | "c") =>
    k.batchFirst === true ? sequences.flatMap((n) => done.flatMap((d) => d[n]?.[which] ?? [])) : done.flatMap((d) => d.flatMap((r) => r[which]));
  for (const got of await runBoth(m, inputs)) {
    expectClose(got[0], y, "Y");
    expectClose(got[1], final("h"), "Y_h");
    if (k.op === "LSTM") expectClose(got[2], final("c"), "Y_c");
  }
}

describe.each(["RNN", "GRU", "LSTM"] as const)("%s", (op) => {
  test("in both directions, over sequences of different lengths", () => check({ op, direction: "bidirectional", lengths: [5, 2, 0] }));
  test("backwards over a symbolic number of steps", () => check({ op, direction: "reverse", symbolic: true }));
  test("with the batch first, and bounds on what goes into activations", () =>
    check({ op, direction: "bidirectional", batchFirst: true, clip: 0.5 }));
  test("of one step, without a loop", () => check({ op, direction: "bidirectional", steps: 1 }));
});
test("GRU whose reset gate works on the product", () => check({ op: "GRU", direction: "forward", linear: true, lengths: [1, 5, 3] }));
test("LSTM with peepholes", () => check({ op: "LSTM", direction: "forward", peepholes: true, symbolic: true }));
test("LSTM with coupled gates", () => check({ op: "LSTM", direction: "reverse", coupled: true }));
test("alphas and betas go to the activations that take them", () =>
  check({
    op: "LSTM",
    direction: "forward",
    activations: ["Sigmoid", "Softsign", "HardSigmoid"],
    functions: [sigmoid, (x) => x / (1 + Math.abs(x)), (x) => Math.max(0, Math.min(1, 0.3 * x + 0.4))],
  }));

test("weights of another size, and unknown activations, are errors that say so", () => {
  const m = modelOf({ op: "GRU", direction: "forward" });
  const wrong = { ...m, inputs: { ...m.inputs, r: ["f32", [1, 17, hidden]] as ValueSpec } };
  expect(failure(wrong).message).toContain("rows of R: 17 has to be 18");
  expect(failure(modelOf({ op: "RNN", direction: "forward", activations: ["Cosine"] })).message).toContain("activation 'Cosine'");
});
