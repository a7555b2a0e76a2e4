import { hashText } from "../../src/base/hash.ts";
import type { Engine, Loaded, Runnable } from "../../src/tune/engine.ts";

/** Runs candidates in this process; what they take is not measured but made up, so that tests do not depend on the machine. */
export class FakeEngine implements Engine {
  private readonly kept = new Map<number, Runnable>();
  private readonly milliseconds: (r: Runnable, round: number) => number;
  private next = 0;
  loads = 0;

  /** By default code takes between one and two milliseconds, equal code equally long. */
  constructor(milliseconds: (r: Runnable, round: number) => number = (r) => 1 + codeNumber(r)) {
    this.milliseconds = milliseconds;
  }
  /** Modules that are loaded now. */
  get loaded(): number {
    return this.kept.size;
  }

  async load(r: Runnable): Promise<Loaded> {
    this.loads++;
    const memory = new WebAssembly.Memory({ initial: r.pages });
    const bytes = new Uint8Array(memory.buffer);
    for (const f of r.fills) bytes.set(f.bytes, f.at);
    try {
      const { instance } = await WebAssembly.instantiate(r.module as BufferSource, { env: { memory } });
      (instance.exports.main as (...symbols: readonly number[]) => void)(...r.symbols);
    } catch (e) {
      return { kind: "trap", why: (e as Error).message };
    }
    const id = this.next++;
    this.kept.set(id, r);
    return { kind: "ran", id, outputs: r.outputs.map((o) => bytes.slice(o.at, o.at + o.bytes)) };
  }
  time(ids: readonly number[], rounds: number): Promise<readonly (readonly number[])[]> {
    const of = (id: number, round: number) => this.milliseconds(this.kept.get(id) as Runnable, round);
    return Promise.resolve(ids.map((id) => Array.from({ length: rounds }, (_, round) => of(id, round))));
  }
  unload(id: number): void {
    if (!this.kept.delete(id)) throw new Error(`module ${id} is not loaded`);
  }
  close(): Promise<void> {
    this.kept.clear();
    return Promise.resolve();
  }
}

/** A number of [0, 1) that the code decides. */
export function codeNumber(r: Runnable): number {
  return Number.parseInt(hashText(Array.from(r.module, (b) => String.fromCharCode(b)).join("")).slice(0, 8), 16) / 2 ** 32;
}
