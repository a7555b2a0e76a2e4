/**
 * One stream of what the pipeline did: step by step, the time taken, the rewrite rules that fired and, when somebody
 * listens for it, the IR's text after the step. `TILEWRIGHT_DEBUG` and `--dump-ir` read it.
 */
export interface TraceEvent {
  readonly step: string;
  readonly stage: string;
  readonly ms: number;
  readonly changed: boolean;
  readonly rules: Readonly<Record<string, number>>;
  /** Prints the IR after the step; costly, so only called on demand. */
  readonly text: () => string;
}

export type TraceListener = (event: TraceEvent) => void;

export class Trace {
  readonly events: Omit<TraceEvent, "text">[] = [];
  private readonly listeners: readonly TraceListener[];
  private readonly clock: () => number;
  constructor(listeners: readonly TraceListener[] = [], clock: () => number = () => performance.now()) {
    this.listeners = listeners;
    this.clock = clock;
  }
  /** Runs one step and reports it. `print` renders its result. */
  step<T>(stage: string, step: string, run: (rules: Map<string, number>) => T, print: (result: T) => string, before: unknown = undefined): T {
    const rules = new Map<string, number>();
    const start = this.clock();
    const result = run(rules);
    const event = { step, stage, ms: this.clock() - start, changed: result !== before, rules: Object.fromEntries(rules) };
    this.events.push(event);
    for (const l of this.listeners) l({ ...event, text: () => print(result) });
    return result;
  }
}
