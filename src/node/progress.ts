import type { TraceListener } from "../base/trace.ts";

/** A line on stderr that is overwritten by the next one; silent where stderr is no terminal. */
export class Progress {
  private shown = false;
  readonly listener: TraceListener = (e) => this.show(`${e.stage}: ${e.step}`);
  show(text: string): void {
    if (!process.stderr.isTTY) return;
    process.stderr.write(`\r\x1b[K${text.slice(0, (process.stderr.columns || 80) - 1)}`);
    this.shown = true;
  }
  done(): void {
    if (this.shown) process.stderr.write("\r\x1b[K");
    this.shown = false;
  }
}
