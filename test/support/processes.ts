import { spawn } from "node:child_process";

export interface ProcessOptions {
  readonly cwd: string;
  /** Beside this process's own. */
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: Uint8Array;
}

/** Runs a command beside this process; gives what it wrote. Rejects with what it said when it fails. */
export function runProcess(command: string, args: readonly string[], o: ProcessOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: o.cwd, env: { ...process.env, ...o.env } });
    const [out, err]: [Buffer[], Buffer[]] = [[], []];
    child.stdout.on("data", (d: Buffer) => out.push(d));
    child.stderr.on("data", (d: Buffer) => err.push(d));
    child.on("error", reject);
    child.stdin.on("error", () => {
      // It ended before it had read all; its status says why.
    });
    child.on("close", (status, signal) => {
      if (status === 0) resolve(Buffer.concat(out));
      else
        reject(
          new Error(`${command} ${args.join(" ").slice(0, 2000)} ended with ${status ?? signal}:\n${Buffer.concat(err).toString().slice(0, 6000)}`),
        );
    });
    child.stdin.end(o.input);
  });
}

/** Runs tasks, two at a time. */
export async function twoAtATime(tasks: readonly (() => Promise<unknown>)[]): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let t = tasks[next++]; t !== undefined; t = tasks[next++]) await t();
  };
  await Promise.all([worker(), worker()]);
}
