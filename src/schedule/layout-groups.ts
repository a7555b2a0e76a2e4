import { hashText } from "../base/hash.ts";
import { loadsOf } from "../scalar/expr.ts";
import { mentions } from "../scalar/index.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { type Kernel, type Tensor, type TensorFunction, readsOf, stageExprs, writesOf } from "../tensor/ir.ts";
import { constantsFrom } from "./choose.ts";
import { identifyKernel } from "./kernel-key.ts";
import { collapseAxes, linearizeKernel } from "./linearize.ts";

/** Tensors of fewer dims stay row-major. */
const leastRank = 3;

/**
 * The tensors of a function before layouts are assigned, in groups that pointwise stages, windows and views tie together: the
 * tensors of a group get one order of dims. A group is called by one of its tensors.
 */
export class TensorGroups {
  /** Inputs, outputs and constants: their order is not ours to choose. */
  readonly fixed: ReadonlySet<Tensor>;
  private readonly f: TensorFunction;
  private readonly parent = new Map<Tensor, Tensor>();
  private readonly members = new Map<Tensor, Tensor[]>();
  private readonly kernels = new Map<Tensor, Set<Kernel>>();

  constructor(f: TensorFunction) {
    this.f = f;
    this.fixed = new Set([...f.inputs, ...f.outputs, ...f.tensors.filter((t) => t.data !== null)]);
    for (const k of f.kernels) this.tie(k);
    for (const [t, l] of f.layouts) if (l.view !== null) this.join(t, l.view.of);
    for (const k of f.kernels)
      for (const t of [...readsOf(k), ...writesOf(k)]) this.kernels.set(this.find(t), (this.kernels.get(this.find(t)) ?? new Set()).add(k));
    for (const t of f.tensors) {
      if (!this.isFree(t)) continue;
      const g = this.find(t);
      this.members.set(g, [...(this.members.get(g) ?? []), t]);
    }
  }

  /** May it lie in another order than row-major? A view lies as its buffer does. */
  isFree(t: Tensor): boolean {
    return !this.fixed.has(t) && t.dims.length >= leastRank && (this.f.layouts.get(t)?.view ?? null) === null;
  }

  /** The groups with tensors whose order is free, and these tensors. */
  get free(): ReadonlyMap<Tensor, readonly Tensor[]> {
    return this.members;
  }

  /** The group of a tensor. */
  find(t: Tensor): Tensor {
    let r = t;
    for (let p = this.parent.get(r); p !== undefined; p = this.parent.get(r)) r = p;
    return r;
  }

  /** The kernels that read or write a group's tensors, in the order in which they run. */
  touching(group: Tensor): Iterable<Kernel> {
    return this.kernels.get(group) ?? [];
  }

  /**
   * For each free group a hash of its structure: the kernels that touch it, all row-major, and which of their operands are the
   * group's. Names do not count, so equal blocks of a model, and of another one, have equal keys.
   */
  keys(sc: Scalars): ReadonlyMap<Tensor, string> {
    const constants = constantsFrom((t) => t.data !== null);
    const texts = new Map<Tensor, string[]>();
    for (const k of this.f.kernels) {
      constants.note(k);
      const operands = [...writesOf(k), ...readsOf(k)];
      const near = new Set(operands.map((t) => this.find(t)).filter((g) => this.members.has(g)));
      if (near.size === 0) continue;
      const { key } = identifyKernel(sc, collapseAxes(sc, linearizeKernel(sc, this.f, k)), constants.has);
      for (const g of near) {
        const roles = operands.flatMap((t, i) =>
          this.find(t) === g ? [`${i}:${t.dims.map((d) => (typeof d === "number" ? d : "?")).join("x")}`] : [],
        );
        texts.set(g, [...(texts.get(g) ?? []), `${key} ${roles.join(" ")}`]);
      }
    }
    return new Map([...texts].map(([g, lines]) => [g, hashText(lines.sort().join("\n"))]));
  }

  private join(a: Tensor, b: Tensor): void {
    const [x, y] = [this.find(a), this.find(b)];
    if (x !== y) this.parent.set(x, y);
  }

  /** Pointwise reads of a tensor of the same dims tie it to the result; so does a window that slides over it. */
  private tie(k: Kernel): void {
    for (const s of k.stages) {
      for (const w of s.writes) {
        if (this.fixed.has(w.tensor)) continue;
        for (const l of loadsOf(...stageExprs(s))) {
          const t = l.attr as Tensor;
          if (this.fixed.has(t) || t.dims.length !== w.tensor.dims.length || t.dims.length < leastRank) continue;
          if (l.args.every((e, d) => w.index[d]?.variable != null && mentions(e, w.index[d]?.variable as never))) this.join(t, w.tensor);
        }
      }
    }
  }
}
