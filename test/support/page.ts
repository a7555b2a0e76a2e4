import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { browser } from "./browser.ts";

/** A page in a browser that stays open, and says things by sending them to `/said` of its server. */
export interface Page {
  /** What the page says next; fails when it says nothing for long. */
  readonly heard: () => Promise<string>;
  readonly close: () => Promise<void>;
}

/** Collects what pages say. `middleware` is for the server. */
export class Ear {
  private readonly said: string[] = [];
  private waiting: ((text: string) => void) | null = null;

  readonly middleware = (request: IncomingMessage, response: ServerResponse, next: () => void): void => {
    if (!request.url?.endsWith("/said")) {
      next();
      return;
    }
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      const text = Buffer.concat(pieces).toString();
      response.end();
      if (this.waiting !== null) this.waiting(text);
      else this.said.push(text);
    });
  };

  next(): Promise<string> {
    const first = this.said.shift();
    if (first !== undefined) return Promise.resolve(first);
    return new Promise((resolve) => {
      const late = setTimeout(() => this.waiting?.("the page said nothing for 60 seconds"), 60_000);
      this.waiting = (text) => {
        clearTimeout(late);
        this.waiting = null;
        resolve(text);
      };
    });
  }
}

const flags =
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";

/** Opens a page; one must close it. */
export function openPage(url: string, ear: Ear): Page {
  const profile = mkdtempSync(join(tmpdir(), "tilewright-page-"));
  // With a debugging port the browser stays until it is ended.
  const args = [...flags.split(" "), "--remote-debugging-port=0", `--user-data-dir=${profile}`, url];
  const child = spawn(browser as string, args, { stdio: "ignore", detached: true });
  const ended = new Promise<void>((done) => child.on("exit", () => done()));
  return {
    heard: () => ear.next(),
    async close() {
      // Its helpers too: they are one group.
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      await ended;
      try {
        rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
      } catch {
        // A helper of the browser may still be writing: the system's temporary folder may keep it.
      }
    },
  };
}
