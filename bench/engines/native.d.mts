interface BenchModel {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly dir: string | null;
  readonly inputs: readonly { readonly name: string; readonly data: ArrayBufferView; readonly dims: readonly number[] }[];
}
interface Engine {
  readonly runModel: () => Readonly<Record<string, { readonly data: ArrayLike<number> }>>;
  readonly run: () => void;
  readonly stretch: (repeats: number) => Promise<unknown>;
  readonly dispose: () => void;
}
export function loadNative(dist: string): Promise<object>;
export function startNativeEngine(tw: object, model: BenchModel, options: { readonly threads: number; readonly profile?: boolean }): Promise<Engine>;
export function timedEngine(tw: object, engine: Engine, inputs: BenchModel["inputs"], threads: number): Engine;
