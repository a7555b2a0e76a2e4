/** A request to the worker; every one is answered, with its number. */
export type Request =
  | {
      readonly kind: "load";
      readonly request: number;
      readonly id: number;
      readonly module: Uint8Array;
      readonly pages: number;
      readonly fills: readonly { readonly at: number; readonly bytes: Uint8Array }[];
      readonly outputs: readonly { readonly at: number; readonly bytes: number }[];
      readonly symbols: readonly number[];
    }
  | { readonly kind: "time"; readonly request: number; readonly ids: readonly number[]; readonly rounds: number }
  | { readonly kind: "unload"; readonly id: number };

export type Answer =
  | { readonly request: number; readonly kind: "ran"; readonly outputs: readonly Uint8Array[] }
  | { readonly request: number; readonly kind: "trap"; readonly why: string }
  | { readonly request: number; readonly kind: "times"; readonly times: readonly (readonly number[])[] };

interface Port {
  on(event: "message", listener: (r: Request) => void): void;
  postMessage(a: Answer): void;
}

/**
 * The worker in which candidates run. Its text is what the worker is started with, so it uses nothing from outside of
 * itself. Engines compile a function anew, in the background, when it has been called often, and put it in place between
 * turns of the event loop: timed stretches are repeated with pauses until they get no faster.
 */
export function serve(port: Port): void {
  const stretchMs = 2;
  const warm = { leastMs: 80, mostMs: 1500, better: 0.98, calm: 5, pauseMs: 3 };
  const loaded = new Map<number, { run: () => void; each: number; isWarm: boolean }>();
  type Entry = { run: () => void; each: number; isWarm: boolean };

  const once = (x: Entry, ms: number): number => {
    const repeats = Math.max(1, Math.min(100_000, Math.ceil(ms / Math.max(x.each, 1e-4))));
    const start = performance.now();
    for (let i = 0; i < repeats; i++) x.run();
    return (performance.now() - start) / repeats;
  };
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const warmUp = async (x: Entry): Promise<void> => {
    const begun = performance.now();
    let [best, calm] = [Number.POSITIVE_INFINITY, 0];
    for (;;) {
      const t = once(x, stretchMs);
      calm = t < best * warm.better ? 0 : calm + 1;
      best = Math.min(best, t);
      x.each = best;
      const spent = performance.now() - begun;
      if ((calm >= warm.calm && spent >= warm.leastMs) || spent >= warm.mostMs) break;
      await pause(warm.pauseMs);
    }
    x.isWarm = true;
  };

  const load = async (r: Extract<Request, { kind: "load" }>): Promise<Answer> => {
    const memory = new WebAssembly.Memory({ initial: r.pages });
    const instance = await WebAssembly.instantiate(await WebAssembly.compile(r.module as BufferSource), { env: { memory } });
    const bytes = new Uint8Array(memory.buffer);
    for (const f of r.fills) bytes.set(f.bytes, f.at);
    const main = instance.exports.main as (...symbols: readonly number[]) => void;
    const run = () => main(...r.symbols);
    const start = performance.now();
    run();
    loaded.set(r.id, { run, each: performance.now() - start, isWarm: false });
    return { request: r.request, kind: "ran", outputs: r.outputs.map((o) => bytes.slice(o.at, o.at + o.bytes)) };
  };
  const time = async (r: Extract<Request, { kind: "time" }>): Promise<Answer> => {
    const list = r.ids.map((id) => loaded.get(id) as Entry);
    for (const x of list) if (!x.isWarm) await warmUp(x);
    const times = list.map((): number[] => []);
    for (let round = 0; round < r.rounds; round++) {
      const order = list.map((_, i) => (round % 2 === 0 ? i : list.length - 1 - i));
      for (const i of order) times[i]?.push(once(list[i] as Entry, stretchMs));
      await pause(0);
    }
    return { request: r.request, kind: "times", times };
  };
  port.on("message", (r) => {
    if (r.kind === "unload") {
      loaded.delete(r.id);
      return;
    }
    const answer = r.kind === "load" ? load(r) : time(r);
    answer.then(
      (a) => port.postMessage(a),
      (e: unknown) => port.postMessage({ request: r.request, kind: "trap", why: e instanceof Error ? e.message : String(e) }),
    );
  });
}
