/** When which kernel ran: what a session with the option `enableProfiling` records. */

/** A launch of the program, as the trace shows it. */
export interface LaunchName {
  readonly kernel: string;
  /** The model's nodes that it computes. */
  readonly nodes: readonly string[];
}

/** An event of the Trace Event Format, which chrome://tracing and Perfetto show: microseconds. */
interface TraceEvent {
  readonly cat: string;
  readonly name: string;
  readonly ph: "X";
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur: number;
  readonly args: Readonly<Record<string, string>>;
}

/** More events than that are not kept: sessions may live long. */
const mostEvents = 1_000_000;

export class Profile {
  private events: TraceEvent[] = [];
  private start = performance.now();
  private last = 0;
  private recording = true;

  /** Forgets what was recorded, and records from now on. */
  restart(): void {
    this.events = [];
    this.start = performance.now();
    this.recording = true;
  }

  /** A run begins. */
  begin(): void {
    this.last = performance.now();
  }

  /** What a program calls when a launch of it has ended. */
  clock(launches: readonly LaunchName[]): (launch: number) => void {
    return (launch) => {
      const now = performance.now();
      const { kernel, nodes } = launches[launch] ?? { kernel: `launch ${launch}`, nodes: [] };
      this.add("Node", kernel, this.last, now, { nodes: nodes.join(" + ") });
      this.last = now;
    };
  }

  /** Something that took from `from` to `to` (milliseconds of `performance.now`). */
  add(category: string, name: string, from: number, to: number, args: Readonly<Record<string, string>> = {}): void {
    if (!this.recording || this.events.length === mostEvents) return;
    const ts = Math.round(1e3 * (from - this.start));
    this.events.push({ cat: category, name, ph: "X", pid: 0, tid: 0, ts, dur: Math.round(1e3 * (to - from)), args });
  }

  /** Ends the record; gives it as JSON text. */
  end(): string {
    this.recording = false;
    const { events } = this;
    this.events = [];
    return `[\n${events.map((e) => JSON.stringify(e)).join(",\n")}\n]\n`;
  }
}
