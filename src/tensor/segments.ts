import { Names } from "../base/text.ts";
import type { Expr } from "../scalar/expr.ts";
import type { Scalars } from "../scalar/scalars.ts";
import {
  type Body,
  type Control,
  type Kernel,
  type Layout,
  Tensor,
  type TensorFunction,
  allKernels,
  bodiesOf,
  mapStage,
  readsOf,
  rootOf,
  writesOf,
} from "./ir.ts";

/**
 * Passes on tensor IR work on kernels that run one after the other, each once. Steps of the host program divide a function
 * into segments of such kernels: every segment, those in the bodies of branches and loops included, is handed to the pass
 * as a function of its own, whose inputs and outputs are what crosses its ends. So no pass needs to know of control.
 */
export function mapSegments(sc: Scalars, f: TensorFunction, pass: (f: TensorFunction) => TensorFunction): TensorFunction {
  if (f.kernels.every((k) => k.control === undefined)) return pass(f);
  const s = new Segments(sc, f, pass);
  const kernels = s.block(f.kernels, new Set(f.outputs));
  return s.changed ? { ...f, kernels, tensors: s.tensors(kernels), layouts: s.layouts } : f;
}

class Segments {
  layouts: ReadonlyMap<Tensor, Layout>;
  changed = false;
  private readonly sc: Scalars;
  private readonly f: TensorFunction;
  private readonly pass: (f: TensorFunction) => TensorFunction;
  private readonly made: Tensor[] = [];
  private readonly names = new Names();
  private readonly kernelNames = new Names();

  constructor(sc: Scalars, f: TensorFunction, pass: (f: TensorFunction) => TensorFunction) {
    this.sc = sc;
    this.f = f;
    this.pass = pass;
    this.layouts = f.layouts;
    for (const t of f.tensors) this.names.fresh(t.name);
    for (const k of allKernels(f.kernels)) if (k.control !== undefined) this.kernelNames.fresh(k.name);
  }

  /** `after` is what is read behind the block. */
  block(kernels: readonly Kernel[], after: ReadonlySet<Tensor>): Kernel[] {
    const parts: (Kernel | Kernel[])[] = [];
    for (const k of kernels) {
      const last = parts[parts.length - 1];
      if (k.control !== undefined) parts.push(k);
      else if (Array.isArray(last)) last.push(k);
      else parts.push([k]);
    }
    const needed = new Set(after);
    const out: (readonly Kernel[])[] = [];
    for (const p of parts.reverse()) {
      if (Array.isArray(p)) {
        for (const k of p) for (const t of writesOf(k)) if (needed.has(rootOf(this.f, t))) needed.add(t);
        out.push(this.segment(p, needed));
        for (const k of p) for (const t of readsOf(k)) needed.add(t);
      } else {
        // What a step reads may be read again: in a loop by the next turn.
        for (const t of readsOf(p)) needed.add(t);
        for (const t of writesOf(p)) needed.add(t);
        out.push([{ ...p, control: this.control(p.control as Control, needed) }]);
      }
    }
    return out.reverse().flat();
  }

  private control(c: Control, after: ReadonlySet<Tensor>): Control {
    const body = (b: Body): Body => ({ ...b, kernels: this.block(b.kernels, new Set([...after, ...b.outputs])) });
    if (c.kind === "if") return { ...c, bodies: [body(c.bodies[0]), body(c.bodies[1])] };
    return c.kind === "loop" ? { ...c, bodies: [body(c.bodies[0])] } : c;
  }

  private segment(kernels: readonly Kernel[], needed: ReadonlySet<Tensor>): readonly Kernel[] {
    const written = new Set(kernels.flatMap(writesOf));
    const read = new Set(kernels.flatMap(readsOf));
    // A buffer that is filled through views of it is written here, too.
    for (const t of [...written]) for (const of of this.buffersOf(t)) written.add(of);
    const around = [...read].flatMap((t) => this.buffersOf(t));
    const inputs = [...read].filter((t) => t.data === null && !written.has(t));
    const tensors = [...new Set([...read, ...written, ...around])];
    const whole: TensorFunction = {
      ...this.f,
      inputs,
      outputs: [...written].filter((t) => needed.has(t)),
      tensors,
      kernels,
      layouts: this.layouts,
    };
    const done = this.pass(whole);
    if (done !== whole) this.changed = true;
    const layouts = new Map([...this.layouts].filter(([t]) => !tensors.includes(t)));
    const renamed = this.renamed(done, new Set(tensors));
    for (const [t, l] of done.layouts) {
      const view = l.view === null ? null : { ...l.view, of: renamed.get(l.view.of) ?? l.view.of };
      layouts.set(renamed.get(t) ?? t, { ...l, view });
    }
    this.layouts = layouts;
    return done.kernels.map((k) => this.rename(k, renamed));
  }

  /** The tensors that hold a view, from the inside out. */
  private buffersOf(t: Tensor): Tensor[] {
    const of = this.layouts.get(t)?.view?.of;
    return of === undefined ? [] : [of, ...this.buffersOf(of)];
  }

  /** Tensors that the pass made get names of their own in the whole function. */
  private renamed(done: TensorFunction, known: ReadonlySet<Tensor>): Map<Tensor, Tensor> {
    const map = new Map<Tensor, Tensor>();
    for (const t of done.tensors) {
      if (known.has(t)) continue;
      const name = this.names.fresh(t.name);
      const own = name === t.name ? t : new Tensor(this.sc.freshId(), name, t.dtype, t.dims, t.data, t.origin);
      if (own !== t) map.set(t, own);
      this.made.push(own);
    }
    return map;
  }
  private rename(k: Kernel, tensors: ReadonlyMap<Tensor, Tensor>): Kernel {
    const name = this.kernelNames.fresh(k.name);
    const used = tensors.size > 0 && [...readsOf(k), ...writesOf(k)].some((t) => tensors.has(t));
    if (!used) return name === k.name ? k : { ...k, name };
    const { sc } = this;
    const expr = (e: Expr): Expr =>
      sc.rebuild([e], (x, args) =>
        x.op === "load" && tensors.has(x.attr as Tensor) ? sc.load(tensors.get(x.attr as Tensor) as Tensor, args) : null,
      )[0] as Expr;
    const stages = k.stages.map((s) => {
      const mapped = mapStage(s, expr);
      return { ...mapped, writes: mapped.writes.map((w) => ({ ...w, tensor: tensors.get(w.tensor) ?? w.tensor })) };
    });
    return { ...k, name, stages };
  }

  /** What is still used, in the order in which it was declared, and then what was made. */
  tensors(kernels: readonly Kernel[]): Tensor[] {
    const used = new Set<Tensor>([...this.f.inputs, ...this.f.outputs]);
    const visit = (list: readonly Kernel[]): void => {
      for (const k of list) {
        for (const t of [...readsOf(k), ...writesOf(k)]) used.add(t);
        if (k.control !== undefined)
          for (const b of bodiesOf(k.control)) {
            for (const t of b.outputs) used.add(t);
            visit(b.kernels);
          }
      }
    };
    visit(kernels);
    for (const t of [...used]) used.add(rootOf({ ...this.f, layouts: this.layouts }, t));
    return [...new Set([...this.f.tensors, ...this.made])].filter((t) => used.has(t));
  }
}
