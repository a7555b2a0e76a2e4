import type { Scalars } from "../scalar/scalars.ts";
import { constantsFrom } from "../schedule/choose.ts";
import { identifyKernel } from "../schedule/kernel-key.ts";
import { collapseAxes, linearizeKernel } from "../schedule/linearize.ts";
import { type Kernel, type Tensor, type TensorFunction, readsOf, rootOf, writesOf } from "../tensor/ir.ts";

/** The kernels that differ under two layouts of a function, alone, as a function under each. Inputs and results are the same tensors. */
export interface Affected {
  readonly before: TensorFunction;
  readonly after: TensorFunction;
  /** The outputs that are compared; the other outputs are inputs that have to stay as they are. */
  readonly results: readonly Tensor[];
}

/**
 * Compares a function under two assignments of layouts, kernel by kernel, as they are linearised. `plain` is the function before
 * that. Null where no kernel that runs when the model runs has changed.
 */
export function affectedKernels(sc: Scalars, plain: TensorFunction, before: TensorFunction, after: TensorFunction): Affected | null {
  const known = new Set(plain.tensors);
  const [old, now] = [new Side(sc, before, known), new Side(sc, after, known)];
  const changed = new Set([...old.keys.keys(), ...now.keys.keys()].filter((t) => old.keys.get(t) !== now.keys.get(t)));
  const [a, b] = [old.select(changed), now.select(changed)];
  if (!a.some((k) => !old.ahead.has(k)) && !b.some((k) => !now.ahead.has(k))) return null;
  const results = old.resultsOf(a);
  return { before: old.functionOf(a, results), after: now.functionOf(b, results), results };
}

/** One of the two assignments. */
class Side {
  /** What tells a kernel's code, by the tensor that the kernel stands for. */
  readonly keys = new Map<Tensor, string>();
  /** Kernels that run when the model is compiled. */
  readonly ahead = new Set<Kernel>();
  private readonly f: TensorFunction;
  private readonly known: ReadonlySet<Tensor>;
  private readonly constants: ReturnType<typeof constantsFrom>;
  private readonly writers = new Map<Tensor, Kernel[]>();

  constructor(sc: Scalars, f: TensorFunction, known: ReadonlySet<Tensor>) {
    this.f = f;
    this.known = known;
    this.constants = constantsFrom((t) => t.data !== null);
    for (const k of f.kernels) {
      this.constants.note(k);
      const writes = writesOf(k);
      if (writes.length > 0 && writes.every(this.constants.has)) this.ahead.add(k);
      const anchor = this.anchorOf(k);
      const { key } = identifyKernel(sc, collapseAxes(sc, linearizeKernel(sc, f, k)), this.constants.has);
      this.keys.set(anchor, `${this.keys.get(anchor) ?? ""}${key}`);
      for (const root of this.rootsOf(writes)) this.writers.set(root, [...(this.writers.get(root) ?? []), k]);
    }
  }

  /** The tensor that a kernel writes; for the copy of an input, which only one assignment may have, that input. */
  private anchorOf(k: Kernel): Tensor {
    const [first] = writesOf(k);
    return first !== undefined && this.known.has(first) ? first : (readsOf(k)[0] ?? (first as Tensor));
  }
  private rootsOf(tensors: readonly Tensor[]): Set<Tensor> {
    return new Set(tensors.map((t) => rootOf(this.f, t)));
  }

  /** The kernels that stand for these tensors, with the copies of inputs and what is computed ahead that they read. */
  select(changed: ReadonlySet<Tensor>): Kernel[] {
    const chosen = new Set<Kernel>();
    const open = this.f.kernels.filter((k) => changed.has(this.anchorOf(k)));
    for (let k = open.pop(); k !== undefined; k = open.pop()) {
      if (chosen.has(k)) continue;
      chosen.add(k);
      for (const t of this.rootsOf(readsOf(k))) for (const w of this.writers.get(t) ?? []) if (this.ahead.has(w) || !this.known.has(t)) open.push(w);
    }
    return this.f.kernels.filter((k) => chosen.has(k));
  }

  /** What selected kernels write for others, or for the model's user. */
  resultsOf(kernels: readonly Kernel[]): Tensor[] {
    const inside = new Set(kernels);
    const outside = this.rootsOf([...this.f.kernels.filter((k) => !inside.has(k)).flatMap(readsOf), ...this.f.outputs]);
    const written = [...this.rootsOf(kernels.filter((k) => !this.ahead.has(k)).flatMap(writesOf))].filter((t) => this.known.has(t));
    const found = written.filter((t) => outside.has(t));
    return found.length > 0 ? found : written;
  }

  functionOf(kernels: readonly Kernel[], results: readonly Tensor[]): TensorFunction {
    const { f } = this;
    const inside = new Set(kernels);
    const touched = new Set(kernels.flatMap((k) => [...readsOf(k), ...writesOf(k)]));
    const used = new Set([...touched, ...this.rootsOf([...touched])]);
    const isInside = (t: Tensor) => (this.writers.get(t) ?? []).length > 0 && (this.writers.get(t) ?? []).every((k) => inside.has(k));
    const inputs = f.tensors.filter((t) => used.has(t) && t.data === null && rootOf(f, t) === t && !isInside(t));
    return {
      name: "affected",
      symbols: f.symbols,
      inputs,
      outputs: [...results, ...inputs.filter((t) => !results.includes(t))],
      tensors: f.tensors.filter((t) => used.has(t)),
      kernels,
      layouts: new Map([...f.layouts].filter(([t]) => used.has(t))),
    };
  }
}
