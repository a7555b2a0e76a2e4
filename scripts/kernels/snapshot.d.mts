export interface KernelSnapshot {
  readonly name: string;
  readonly role: "main" | "run" | "prepare";
  readonly hash: string;
  readonly bytes: number | null;
  readonly origins: readonly string[];
  readonly text?: string;
}
export interface Snapshot {
  readonly modules: Readonly<Record<string, number>>;
  readonly kernels: readonly KernelSnapshot[];
}
export function codeOf(module: Uint8Array): ReadonlyMap<string, Uint8Array>;
export function snapshotOf(compiled: object, artifact: object, print: object): Snapshot;
