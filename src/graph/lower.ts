import type { ConstantData } from "../base/constant.ts";
import { InternalError } from "../base/errors.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { TensorBuilder } from "../tensor/builder.ts";
import type { Tensor, TensorFunction } from "../tensor/ir.ts";
import type { GraphFunction, Region, Value } from "./ir.ts";

/**
 * Graph IR to tensor IR: every op by its own `lower`, one kernel each; fusing them is tensor IR's business. Composites
 * must be decomposed before.
 */
export function lowerGraph(f: GraphFunction, sc: Scalars): TensorFunction {
  const b = new TensorBuilder(sc);
  const tensors = new Map<Value, Tensor>();
  const tensorOf = (v: Value): Tensor => {
    const t = tensors.get(v);
    if (t === undefined) throw new InternalError("lower", `value %${v.name} is used before its definition`);
    return t;
  };
  const lowerOps = (region: Region): void => {
    for (const op of region.ops) {
      const { def } = op;
      if (def.lower === undefined) throw new InternalError("lower", `op '${def.name}' has no lowering: it should have been decomposed`);
      const operands = op.operands.map(tensorOf);
      const results = op.results.map((r) => {
        const data = def.name === "constant" ? (op.attrs["data"] as ConstantData) : null;
        const t = b.tensor(r.name, r.dtype, r.dims, r.origin, data);
        tensors.set(r, t);
        return t;
      });
      def.lower({
        b,
        sc,
        operands,
        results,
        attrs: op.attrs as never,
        regions: op.regions,
        read: (k, index) => sc.load(operands[k] as Tensor, index),
        inline(r, params) {
          r.params.forEach((p, k) => {
            tensors.set(p, params[k] as Tensor);
          });
          lowerOps(r);
          return r.results.map(tensorOf);
        },
      });
    }
  };
  const inputs = f.params.map((p) => {
    const t = b.tensor(p.name, p.dtype, p.dims, p.origin);
    tensors.set(p, t);
    return t;
  });
  lowerOps(f);
  return b.finish(f.name, f.symbols, inputs, outputTensors(f, b, tensorOf, new Set(inputs)));
}

/** Results need a buffer of their own: one that is an input, a constant or named twice is copied. */
function outputTensors(f: GraphFunction, b: TensorBuilder, tensorOf: (v: Value) => Tensor, inputs: ReadonlySet<Tensor>): Tensor[] {
  const taken = new Set<Tensor>();
  return f.results.map((r) => {
    const t = tensorOf(r);
    if (!inputs.has(t) && t.data === null && !taken.has(t)) {
      taken.add(t);
      return t;
    }
    const copy = b.tensor(`${t.name}.out`, t.dtype, t.dims, t.origin);
    b.map(copy, (i) => b.sc.load(t, i));
    return copy;
  });
}
