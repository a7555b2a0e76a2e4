import path from "node:path";
import { Progress } from "../progress.ts";
import type { Logger, ResolvedConfig } from "./plugin-types.ts";

/** What the terminal shows of the models that are being compiled: a line of progress, and one about each that is done. */
export class Report {
  private readonly logger: Logger;
  private readonly root: string;
  /** A development server's lines begin with the time. */
  private readonly style: { readonly timestamp: boolean };
  private readonly progress = new Progress();
  private readonly started = new Map<string, number>();

  constructor({ logger, root, command }: ResolvedConfig) {
    this.logger = logger;
    this.root = root;
    this.style = { timestamp: command === "serve" };
  }

  /** A model's name in messages. */
  nameOf(file: string): string {
    const below = path.relative(this.root, file);
    return below.startsWith("..") || path.isAbsolute(below) ? file : below.split(path.sep).join("/");
  }

  step(model: string, text: string): void {
    if (!this.started.has(model)) {
      this.started.set(model, performance.now());
      if (!process.stderr.isTTY) this.logger.info(`tilewright: compiling ${model}`, this.style);
    }
    this.progress.show(`tilewright: compiling ${model}: ${text}`);
  }

  /** Told once of each model; nothing is said of one from the cache, which took no step. */
  done(model: string, text: string | null): void {
    const start = this.started.get(model);
    this.end(model);
    if (start === undefined || text === null) return;
    this.logger.info(`tilewright: ${model}: ${text}; ${((performance.now() - start) / 1e3).toFixed(1)} s`, this.style);
  }

  /** Ends the progress of a model that cannot be compiled; the error is told by Vite. */
  end(model: string): void {
    this.started.delete(model);
    this.progress.done();
  }

  warn(text: string): void {
    this.progress.done();
    this.logger.warn(`tilewright: ${text}`, this.style);
  }
}
