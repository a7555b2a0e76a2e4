import { batch, computed, signal } from "@preact/signals";
import type { ErrorInfo, Exploration, KernelView, ProfileView, ProgressView, RunView } from "../../src/explorer/types.ts";

/** What the page shows, as signals. Views read them; they change here or in `open.ts`. */

export const tabIds = ["overview", "graph", "steps", "kernels", "timing", "memory", "run"] as const;
export type TabId = (typeof tabIds)[number];

export type Phase =
  | { readonly kind: "empty" }
  | { readonly kind: "working"; readonly name: string; readonly progress: ProgressView | null }
  /** `error`: the model could not even be read. */
  | { readonly kind: "failed"; readonly name: string; readonly error: ErrorInfo }
  | { readonly kind: "ready"; readonly name: string };

export const phase = signal<Phase>({ kind: "empty" });
export const exploration = signal<Exploration | null>(null);
export const tab = signal<TabId>("overview");

/** The chosen kernel, step of the compiler, and step whose graph is drawn. */
export const kernel = signal(0);
export const step = signal(0);
export const graphStep = signal(0);
/** Nodes of the model's file that are highlighted everywhere, by name. */
export const picked = signal<ReadonlySet<string>>(new Set());
/** What open sizes are taken to be, for the memory plan and for runs. */
export const sizes = signal<Readonly<Record<string, number>>>({});
export const profile = signal<ProfileView | null>(null);
export const lastRun = signal<RunView | null>(null);

export const program = computed(() => exploration.value?.program ?? null);

/** Kernels by the nodes that they serve. */
const kernelsByOrigin = computed(() => {
  const map = new Map<string, KernelView[]>();
  for (const k of program.value?.kernels ?? []) {
    for (const o of k.origins) {
      const list = map.get(o) ?? [];
      map.set(o, list);
      list.push(k);
    }
  }
  return map;
});

/** Is this the name of a node that a kernel serves? */
export const isServed = (name: string): boolean => kernelsByOrigin.value.has(name);

/** The kernels that serve any of these nodes, in their order. */
export function kernelsOf(origins: Iterable<string>): KernelView[] {
  const found = new Set<KernelView>();
  for (const o of origins) for (const k of kernelsByOrigin.value.get(o) ?? []) found.add(k);
  return [...found].sort((a, b) => a.kernel - b.kernel);
}

/** A model was compiled, as far as it went. */
export function show(name: string, e: Exploration): void {
  batch(() => {
    exploration.value = e;
    phase.value = { kind: "ready", name };
    kernel.value = busiestKernel(e);
    step.value = firstStep(e);
    graphStep.value = e.steps.find((s) => s.graph)?.step ?? 0;
    picked.value = new Set();
    sizes.value = e.program?.memory.sizes ?? {};
    profile.value = null;
    lastRun.value = null;
    if (e.error !== null) tab.value = "overview";
  });
}

/** The first step that changed something, so that there is something to see. */
function firstStep(e: Exploration): number {
  return e.steps.find((s) => s.text && s.changed && s.before !== null)?.step ?? e.steps.find((s) => s.text)?.step ?? 0;
}

/** The kernel that does most of the arithmetic, for a start. */
function busiestKernel(e: Exploration): number {
  const work = new Map<number, number>();
  for (const l of e.program?.launches ?? []) work.set(l.kernel, (work.get(l.kernel) ?? 0) + (l.flops ?? 0));
  return [...work].reduce((best, at) => (at[1] > best[1] ? at : best), [0, 0])[0];
}

export function goTo(id: TabId): void {
  tab.value = id;
}
export function openKernel(k: number): void {
  batch(() => {
    kernel.value = k;
    tab.value = "kernels";
  });
}
/** Shows where nodes are in the graph of the model as it was read. */
export function openNodes(origins: readonly string[]): void {
  batch(() => {
    picked.value = new Set(origins);
    graphStep.value = exploration.value?.steps.find((s) => s.graph)?.step ?? 0;
    tab.value = "graph";
  });
}
