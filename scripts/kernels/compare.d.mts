import type { KernelSnapshot, Snapshot } from "./snapshot.mjs";

export interface Pair {
  readonly before: KernelSnapshot | null;
  readonly after: KernelSnapshot | null;
}
export type Pairs = Readonly<Record<"same" | "renamed" | "changed" | "appeared" | "vanished", readonly Pair[]>>;
export function compareSnapshots(before: Snapshot, after: Snapshot): Pairs;
export function differs(pairs: Pairs): boolean;
export function reportOf(name: string, before: Snapshot, after: Snapshot, pairs: Pairs): string[];
export function withoutTexts(snapshot: Snapshot): Snapshot;
