import path from "node:path";
import { Progress } from "../progress.ts";
import type { Logger } from "./plugin-types.ts";

/** What the terminal shows of the models that are being compiled: a line of progress, and one about each that is done. */
export class Report {
  private readonly logger: Logger;
  private readonly root: string;
  private readonly progress = new Progress();
  private readonly started = new Map<string, number>();

  constructor(logger: Logger, root: string) {
    this.logger = logger;
    this.root = root;
  }

  /** A model's name in messages. */
  nameOf(file: string): string {
    const below = path.relative(this.root, file);
    return below.startsWith("..") || path.isAbsolute(below) ? file : below.split(path.sep).join("/");
  }

  step(file: string, text: string): void {
    if (!this.started.has(file)) {
      this.started.set(file, performance.now());
      if (!process.stderr.isTTY) this.logger.info(`tilewright: compiling ${this.nameOf(file)}`, { timestamp: true });
    }
    this.progress.show(`tilewright: compiling ${this.nameOf(file)}: ${text}`);
  }

  /** `text` is null for a model from the cache, of which nothing is said. */
  done(file: string, text: string | null): void {
    const ms = performance.now() - (this.started.get(file) ?? performance.now());
    this.end(file);
    if (text !== null) this.logger.info(`tilewright: ${this.nameOf(file)}: ${text}; ${(ms / 1e3).toFixed(1)} s`, { timestamp: true });
  }

  /** Ends the progress of a model that cannot be compiled; the error is told by Vite. */
  end(file: string): void {
    this.started.delete(file);
    this.progress.done();
  }

  warn(text: string): void {
    this.progress.done();
    this.logger.warn(`tilewright: ${text}`, { timestamp: true });
  }
}
