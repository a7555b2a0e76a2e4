import { wasmMachine } from "../../src/targets/wasm/machine.ts";
import { type DType, arrayOf } from "../../src/base/dtype.ts";
import type { Num } from "../../src/base/numeric.ts";
import { Buffer, type For, type Kernel, type Program, type Stmt } from "../../src/loop/ir.ts";
import { kernelPasses } from "../../src/loop/passes/pipeline.ts";
import type { Expr } from "../../src/scalar/expr.ts";
import type { Scalars } from "../../src/scalar/scalars.ts";
import { emitModule } from "../../src/targets/wasm/module.ts";
import { variants } from "./relaxed.ts";

export interface Form {
  /** Vectors of four lanes, or one element at a time. */
  readonly lanes: 1 | 4;
  readonly relaxed: boolean;
}
/** The forms that this engine runs. */
export const forms: readonly Form[] = [{ lanes: 1, relaxed: false }, ...variants.map((relaxed): Form => ({ lanes: 4, relaxed }))];

/**
 * Builds the kernel `out[i] = f(in0[i], in1[i], …)` over as many elements as the inputs have (a multiple of four), sends it
 * through all loop passes and the WASM target, and runs it.
 */
export function runElementwise(
  sc: Scalars,
  form: Form,
  inputs: readonly { readonly dtype: DType; readonly values: readonly Num[] }[],
  out: DType,
  f: (sc: Scalars, ...args: Expr[]) => Expr,
): Num[] {
  const n = inputs[0]?.values.length ?? 0;
  if (n % 4 !== 0) throw new Error(`the number of elements must be a multiple of four, got ${n}`);
  const buffers = inputs.map((x, i) => new Buffer(sc.freshId(), `in${i}`, x.dtype, "param", null));
  const result = new Buffer(sc.freshId(), "out", out, "param", null);
  const [begin, end, outer] = [
    sc.variable("begin", undefined, { min: 0 }),
    sc.variable("end", undefined, { min: 0 }),
    sc.variable("i", undefined, { min: 0 }),
  ];
  const inner = sc.variable("l", undefined, { extent: sc.int(4) });
  const index = form.lanes === 4 ? sc.add(sc.mul(sc.var(outer), sc.int(4)), sc.var(inner)) : sc.var(outer);
  const store: Stmt = { kind: "store", buffer: result, index, value: f(sc, ...buffers.map((b) => sc.load(b, [index]))) };
  const vector: For = { kind: "for", variable: inner, begin: sc.int(0), end: sc.int(4), loop: "vector", body: [store] };
  const loop: For = {
    kind: "for",
    variable: outer,
    begin: sc.var(begin),
    end: sc.var(end),
    loop: "serial",
    body: form.lanes === 4 ? [vector] : [store],
  };
  let kernel: Kernel = { name: "kernel", params: [...buffers, result], begin, end, body: [loop], writes: new Set([result]) };
  for (const p of kernelPasses) kernel = p.run(sc, kernel, wasmMachine);

  const [arena, weights] = [sc.variable("arena", undefined, { min: 0 }), sc.variable("weights", undefined, { min: 0 })];
  const places = [...inputs.map((x) => x.dtype), out].map((d) => Math.ceil(d.bytes(n) / 64) * 64);
  const offsets = places.map((_, i) => places.slice(0, i).reduce((a, b) => a + b, 0));
  const at = (i: number) => sc.add(sc.var(arena), sc.int(offsets[i] as number));
  const program: Program = {
    name: "elementwise",
    symbols: [],
    symbolVariables: [],
    kernels: [kernel],
    arena,
    weights,
    main: [
      {
        kind: "launch",
        kernel,
        args: offsets.map((_, i) => at(i)),
        count: sc.int(n / form.lanes),
        grain: sc.int(64),
        threadsFrom: null,
        scratch: [],
        origin: [],
        inPlace: [],
      },
    ],
    allocations: [],
    arenaBytes: sc.int(places.reduce((a, b) => a + b, 0)),
    weightSlots: [],
    dataSymbols: [],
    report: null,
    faults: [],
    room: null,
    inputs: inputs.map((x, i) => ({ name: `in${i}`, dtype: x.dtype, dims: [n], address: at(i) })),
    outputs: [{ name: "out", dtype: out, dims: [n], address: at(inputs.length) }],
  };
  const bytes = emitModule(sc, [{ program, prefix: "" }], { relaxed: form.relaxed, shared: false, weightBytes: 0 });
  const memory = new WebAssembly.Memory({ initial: Math.ceil((1024 + places.reduce((a, b) => a + b, 0)) / 65536) + 1 });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes as BufferSource), { env: { memory } });
  const exports = instance.exports as Record<string, () => number>;
  inputs.forEach((x, i) => {
    const view = new (arrayOf(x.dtype))(memory.buffer, exports[`input_${i}`]?.() ?? 0, n);
    for (let k = 0; k < n; k++) view[k] = x.values[k] as never;
  });
  exports.main?.();
  return [...(new (arrayOf(out))(memory.buffer, exports.output_0?.() ?? 0, n) as ArrayLike<Num> & Iterable<Num>)];
}
