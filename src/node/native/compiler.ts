import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { UserError } from "../../base/errors.ts";

/** A C compiler of this machine. */
export interface CCompiler {
  /** The program, and arguments that belong to it (`CC` may hold some). */
  readonly command: string;
  readonly args: readonly string[];
  /** The first line that `--version` prints. */
  readonly version: string;
  /** What it makes code for, as far as it says so. */
  readonly machine: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Names tried where `CC` is not set. */
const usualNames = ["cc", "gcc", "clang"] as const;

/** How to get a compiler on this system. */
export function compilerAdvice(platform: NodeJS.Platform = process.platform): string {
  switch (platform) {
    case "darwin":
      return "xcode-select --install";
    case "win32":
      return "install clang (winget install LLVM.LLVM) or gcc (MSYS2), and set CC to it";
    default:
      return "install gcc or clang (Debian and Ubuntu: apt install gcc; Fedora: dnf install gcc; Alpine: apk add gcc musl-dev)";
  }
}

/** Flags that make a shared library of the emitted C; the order of floating-point operations stays as it is written. */
export const libraryFlags: readonly string[] = ["-std=c11", "-O2", "-ffp-contract=off", "-fPIC", "-shared", "-pthread"];

/**
 * The machine's C compiler: `CC` if it is set, else the first of cc, gcc and clang.
 * @throws UserError `compiler` where there is none, or `CC` cannot be run
 */
export function findCompiler(env: Environment = process.env): CCompiler {
  const asked = env.CC?.trim() ?? "";
  if (asked !== "") {
    const found = probe(asked, env);
    if (found !== null) return found;
    throw new UserError(
      "compiler",
      `CC is '${asked}', which cannot be run as a C compiler ('${asked} --version' fails); set CC to a working one, or unset it`,
    );
  }
  for (const name of usualNames) {
    const found = probe(name, env);
    if (found !== null) return found;
  }
  throw new UserError(
    "compiler",
    `native code needs a C compiler, but none of ${usualNames.join(", ")} was found on the PATH: ${compilerAdvice()}; or set CC. The target 'wasm' needs none`,
  );
}

/** All compilers found, for `doctor`; several names of one compiler are told one by one. */
export function listCompilers(env: Environment = process.env): CCompiler[] {
  const asked = env.CC?.trim() ?? "";
  const names = asked === "" || (usualNames as readonly string[]).includes(asked) ? usualNames : [asked, ...usualNames];
  return names.flatMap((n) => probe(n, env) ?? []);
}

/** Asks a compiler for its version; null when it is not there or does not answer. */
function probe(words: string, env: Environment): CCompiler | null {
  const [command = "", ...args] = words.split(/\s+/);
  const ask = (option: string): string | null => {
    const r = spawnSync(command, [...args, option], { encoding: "utf8", timeout: 10_000, env: { ...env, LC_ALL: "C" } });
    return r.status === 0 ? (r.stdout.split("\n")[0] ?? "").trim() : null;
  };
  const version = ask("--version");
  return version === null ? null : { command, args, version, machine: ask("-dumpmachine") ?? "" };
}

/** Output of a compiler that is kept, and lines of it that are shown. */
const keptBytes = 1 << 16;
const shownLines = 12;

/**
 * Compiles one C file to a shared library.
 * @throws UserError `compiler` with the first lines of what the compiler said; the signal's reason when aborted
 */
export async function compileLibrary(c: CCompiler, source: string, library: string, flags: readonly string[], signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  const args = [...c.args, ...flags, source, "-o", library, "-lm"];
  const { status, output } = await runToEnd(
    spawn(c.command, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, LC_ALL: "C" } }),
    signal,
  );
  signal?.throwIfAborted();
  if (status === 0) return;
  const lines = output.trim().split("\n");
  const shown = lines.slice(0, shownLines).map((l) => `  ${l.slice(0, 300)}`);
  if (lines.length > shownLines) shown.push(`  … and ${lines.length - shownLines} more lines`);
  throw new UserError(
    "compiler",
    `${[c.command, ...c.args].join(" ")} (${c.version}) could not compile the model's C code (${status === null ? "it was killed" : `exit status ${status}`}):\n${shown.join("\n")}\nIt has to be a C11 compiler that can link a shared library; CC chooses another one. If it is a current gcc or clang, please report this as a bug in tilewright`,
  );
}

function runToEnd(child: ChildProcess, signal: AbortSignal | undefined): Promise<{ readonly status: number | null; readonly output: string }> {
  const pieces: Buffer[] = [];
  let kept = 0;
  const keep = (piece: Buffer): void => {
    if (kept < keptBytes) pieces.push(piece.subarray(0, keptBytes - kept));
    kept += piece.length;
  };
  child.stdout?.on("data", keep);
  child.stderr?.on("data", keep);
  const kill = (): void => void child.kill("SIGKILL");
  signal?.addEventListener("abort", kill, { once: true });
  return new Promise((resolve) => {
    const done = (status: number | null, more = ""): void => {
      signal?.removeEventListener("abort", kill);
      resolve({ status, output: `${Buffer.concat(pieces).toString()}${more}` });
    };
    child.on("error", (e) => done(null, e.message));
    child.on("close", (status) => done(status));
  });
}
