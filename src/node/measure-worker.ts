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
      readonly threads: { readonly count: number; readonly scratch: number; readonly scratchBytes: number } | null;
    }
  | { readonly kind: "time"; readonly request: number; readonly ids: readonly number[]; readonly rounds: number }
  | { readonly kind: "unload"; readonly id: number };

export type Answer =
  | { readonly request: number; readonly kind: "ran"; readonly outputs: readonly Uint8Array[] }
  | { readonly request: number; readonly kind: "trap"; readonly why: string }
  | { readonly request: number; readonly kind: "times"; readonly times: readonly (readonly number[])[] };

/** What the control block of a module for threads is like (`src/runtime/threads.ts`), handed to the workers as text. */
export interface ControlLayout {
  readonly block: Readonly<Record<"state" | "waiting" | "failed" | "maySleep" | "scratch" | "scratchBytes", number>>;
  readonly stop: number;
}

interface Port {
  on(event: "message", listener: (r: Request) => void): void;
  postMessage(a: Answer): void;
}

/** A thread beside the measuring worker: it works for one module at a time. */
export interface HelperPort {
  on(event: "message", listener: (m: HelperJob | { readonly id: number; readonly forget: true }) => void): void;
  postMessage(m: { readonly id: number; readonly says: "working" | "left" | "failed" }): void;
}
interface HelperJob {
  readonly id: number;
  readonly thread: number;
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
}
export interface Helper {
  on(event: "message", listener: (m: Parameters<HelperPort["postMessage"]>[0]) => void): void;
  postMessage(m: HelperJob | { readonly id: number; readonly forget: true }): void;
}

/**
 * Life of a helper. `work` returns when the module's state says stop; instances are kept until they are forgotten. The text of
 * this function is what the helper is started with, so it uses nothing from outside of itself.
 */
export function help(port: HelperPort, { block }: ControlLayout): void {
  const instances = new Map<number, WebAssembly.Instance>();
  port.on("message", (m) => {
    if ("forget" in m) {
      instances.delete(m.id);
      return;
    }
    const { memory } = m;
    const run = async () => {
      const instance = instances.get(m.id) ?? (await WebAssembly.instantiate(m.module, { env: { memory } }));
      instances.set(m.id, instance);
      port.postMessage({ id: m.id, says: "working" });
      try {
        (instance.exports.work as (thread: number) => void)(m.thread);
      } catch {
        // A trap in a kernel: the leader must not wait for this helper.
        const control = new Int32Array(memory.buffer);
        Atomics.store(control, block.failed / 4, 1);
        Atomics.sub(control, block.state / 4, 1);
        Atomics.store(control, block.waiting / 4, 0);
        Atomics.notify(control, block.waiting / 4);
      }
      port.postMessage({ id: m.id, says: "left" });
    };
    run().catch(() => port.postMessage({ id: m.id, says: "failed" }));
  });
}

/**
 * The worker in which candidates run. Its text is what the worker is started with, so it uses nothing from outside of
 * itself. Engines compile a function anew, in the background, when it has been called often, and put it in place between
 * turns of the event loop: timed stretches are repeated with pauses until they get no faster.
 *
 * Modules for threads share helpers, made by `start`, which work for one of them at a time: workers that look for work of
 * another candidate would take the processor from the one that is timed.
 */
export function serve(port: Port, control: ControlLayout, start: () => Helper): void {
  const stretchMs = 2;
  const warm = { leastMs: 80, mostMs: 1500, better: 0.98, calm: 5, pauseMs: 3 };
  type Team = { readonly id: number; readonly count: number; readonly module: WebAssembly.Module; readonly memory: WebAssembly.Memory };
  type Entry = { readonly run: () => void; readonly team: Team | null; each: number; isWarm: boolean };
  const loaded = new Map<number, Entry>();

  // A vector that is spilled where one page of the stack ends and another begins makes a kernel twice as slow, at one stack
  // pointer of thirty or so; where engines call from changes while they compile. Arguments that nobody reads move the stack.
  const paddings = Array.from({ length: 8 }, (_, i) => new Array<undefined>((i * 37) % 64).fill(undefined));

  const helpers: Helper[] = [];
  let working: Team | null = null;
  /** What the helpers of the team said since it was engaged, and who waits for that. */
  let said = { working: 0, left: 0, failed: 0 };
  let wake = () => {};
  const until = (isSo: () => boolean) =>
    new Promise<void>((resolve) => {
      wake = () => {
        if (isSo()) resolve();
      };
      wake();
    });
  const addHelper = (): void => {
    const h = start();
    h.on("message", (m) => {
      if (m.id !== working?.id) return;
      said[m.says]++;
      wake();
    });
    helpers.push(h);
  };
  /** Sets the helpers to work for a team, or for none. */
  const engage = async (t: Team | null): Promise<void> => {
    if (t === working) return;
    if (working !== null) {
      const [state, others] = [new Int32Array(working.memory.buffer), working.count - 1];
      Atomics.or(state, control.block.state / 4, control.stop);
      Atomics.notify(state, control.block.state / 4);
      await until(() => said.left + said.failed >= others);
      working = null;
    }
    if (t === null) return;
    while (helpers.length < t.count - 1) addHelper();
    Atomics.and(new Int32Array(t.memory.buffer), control.block.state / 4, ~control.stop);
    said = { working: 0, left: 0, failed: 0 };
    working = t;
    helpers.slice(0, t.count - 1).forEach((h, i) => h.postMessage({ id: t.id, thread: i + 1, module: t.module, memory: t.memory }));
    await until(() => said.working + said.failed >= t.count - 1);
    if (said.failed > 0) throw new Error(`${said.failed} of ${t.count - 1} threads did not start`);
  };
  const forget = async (t: Team | null): Promise<void> => {
    if (t === null) return;
    if (t === working) await engage(null);
    for (const h of helpers) h.postMessage({ id: t.id, forget: true });
  };

  const once = async (x: Entry, round: number): Promise<number> => {
    await engage(x.team);
    const repeats = Math.max(1, Math.min(100_000, Math.ceil(stretchMs / Math.max(x.each, 1e-4))));
    const padding = paddings[round % paddings.length] as readonly undefined[];
    const start = performance.now();
    for (let i = 0; i < repeats; i++) Reflect.apply(x.run, undefined, padding);
    return (performance.now() - start) / repeats;
  };
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const warmUp = async (x: Entry): Promise<void> => {
    const begun = performance.now();
    let [best, calm] = [Number.POSITIVE_INFINITY, 0];
    for (let round = 0; ; round++) {
      const t = await once(x, round);
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
    const { threads } = r;
    const memory = new WebAssembly.Memory(threads === null ? { initial: r.pages } : { initial: r.pages, maximum: r.pages, shared: true });
    const module = await WebAssembly.compile(r.module as BufferSource);
    const instance = await WebAssembly.instantiate(module, { env: { memory } });
    const bytes = new Uint8Array(memory.buffer);
    for (const f of r.fills) bytes.set(f.bytes, f.at);
    const words = new Int32Array(memory.buffer);
    if (threads !== null) {
      words[control.block.maySleep / 4] = 1;
      words[control.block.scratch / 4] = threads.scratch;
      words[control.block.scratchBytes / 4] = threads.scratchBytes;
    }
    const main = instance.exports.main as (...symbols: readonly number[]) => void;
    const run = () => {
      main(...r.symbols);
      if (threads !== null && Atomics.load(words, control.block.failed / 4) !== 0) throw new Error("a kernel failed in a thread");
    };
    const team = threads === null ? null : { id: r.id, count: threads.count, module, memory };
    let begun = 0;
    try {
      await engage(team);
      begun = performance.now();
      run();
    } catch (e) {
      await forget(team);
      throw e;
    }
    loaded.set(r.id, { run, team, each: performance.now() - begun, isWarm: false });
    return { request: r.request, kind: "ran", outputs: r.outputs.map((o) => bytes.slice(o.at, o.at + o.bytes)) };
  };
  const time = async (r: Extract<Request, { kind: "time" }>): Promise<Answer> => {
    const list = r.ids.map((id) => loaded.get(id) as Entry);
    for (const x of list) if (!x.isWarm) await warmUp(x);
    const times = list.map((): number[] => []);
    for (let round = 0; round < r.rounds; round++) {
      const order = list.map((_, i) => (round % 2 === 0 ? i : list.length - 1 - i));
      for (const i of order) times[i]?.push(await once(list[i] as Entry, round));
      await pause(0);
    }
    return { request: r.request, kind: "times", times };
  };
  const unload = async (id: number): Promise<void> => {
    const team = loaded.get(id)?.team ?? null;
    loaded.delete(id);
    await forget(team);
  };
  // One after the other: what is asked for while threads come and go waits.
  let queue: Promise<void> = Promise.resolve();
  port.on("message", (r) => {
    const answer = async () => {
      if (r.kind === "unload") return unload(r.id);
      const done = r.kind === "load" ? load(r) : time(r);
      await done.then(
        (a) => port.postMessage(a),
        (e: unknown) => port.postMessage({ request: r.request, kind: "trap", why: e instanceof Error ? e.message : String(e) }),
      );
    };
    queue = queue.then(answer);
  });
}
