import { UserError } from "../base/errors.ts";
import { errorInfo } from "../worker/errors.ts";
import { type Explored, explore } from "./explore.ts";
import type { Answer, Cancel, Port, Request } from "./protocol.ts";
import { Runner } from "./run.ts";

/** Answers requests that come in through a port, one after the other; it is what the worker does. */
export function serveExplorer(port: Port): void {
  const server = new Server((a, transfer) => port.postMessage(a, transfer));
  port.addEventListener("message", (e: MessageEvent<Request | Cancel>) => server.hear(e.data));
}

type Say = (a: Answer, transfer: Transferable[]) => void;

class Server {
  private readonly say: Say;
  private explored: Explored | null = null;
  private runner: Runner | null = null;
  private queue: Promise<void> = Promise.resolve();
  private readonly cancelled = new Set<number>();

  constructor(say: Say) {
    this.say = say;
  }

  hear(message: Request | Cancel): void {
    if (message.kind === "cancel") {
      this.cancelled.add(message.id);
      return;
    }
    this.queue = this.queue.then(() => this.answer(message));
  }

  private async answer(request: Request): Promise<void> {
    const { id } = request;
    try {
      this.check(id);
      const get = await this.result(request);
      this.say({ kind: "result", id, get }, []);
    } catch (e) {
      this.say({ kind: "error", id, error: errorInfo(e) }, []);
    }
    this.cancelled.delete(id);
  }

  private check(id: number): void {
    if (this.cancelled.has(id)) throw new DOMException("the request was cancelled", "AbortError");
  }

  private async result(r: Request): Promise<unknown> {
    switch (r.kind) {
      case "open":
        this.close();
        this.explored = explore(r.give.bytes, r.give.options, (progress) => this.say({ kind: "progress", id: r.id, progress }, []));
        return this.explored.exploration;
      case "text":
        return this.opened().text(r.give);
      case "graph":
        return this.opened().graph(r.give.step);
      case "memory":
        return this.opened().memory(r.give.sizes);
      case "run":
        return this.running().run(r.give);
      case "profile":
        return this.running().profile(r.give, { pause: () => this.pause(r.id) });
      case "machine":
        return this.running().machine();
      default:
        throw r satisfies never;
    }
  }

  /** Lets a `cancel` come in. */
  private async pause(id: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve));
    this.check(id);
  }

  private opened(): Explored {
    if (this.explored === null) throw new UserError("not-opened", "no model was opened yet");
    return this.explored;
  }
  private running(): Runner {
    this.runner ??= new Runner(this.opened());
    return this.runner;
  }
  private close(): void {
    this.runner?.dispose();
    this.runner = null;
    this.explored = null;
  }
}
