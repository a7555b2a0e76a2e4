import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The blocks of code of the pages, and what comments above them tell their test. */

export const root = fileURLToPath(new URL("../..", import.meta.url));

/**
 * What a comment `<!-- test: NAME ARGUMENT -->` above a block may say:
 * `skip REASON`: it is not run; `file NAME`: it is that file; `status N`: its last command ends with that status; `in DIR`: it
 * is run there; `numbers`: the numbers that it shows may be any; `parse`: its commands are read, not run; `prints`: it is
 * what the block above prints; `types`: it is type-checked, not run; `shows TEXT`: the page shows that in a browser;
 * `fragment OPEN CLOSE`: it is to be read between these; `after COMMAND`: that is run first;
 * `edit FILE`: it is a change of that file of the sources.
 */
export const directiveNames = ["skip", "file", "status", "in", "numbers", "parse", "prints", "types", "shows", "fragment", "after", "edit"] as const;
export type DirectiveName = (typeof directiveNames)[number];
export type Directives = Readonly<Partial<Record<DirectiveName, string>>>;

export interface Block {
  readonly page: string;
  /** The line of the opening fence, from 1. */
  readonly line: number;
  readonly language: string;
  readonly text: string;
  readonly directives: Directives;
}

/** The name that a test gives a block. */
export const placeOf = (b: Block): string => `${b.page}:${b.line}`;

/** The pages whose blocks are tested: the README and all of docs/. */
export function pages(): string[] {
  const docs = readdirSync(join(root, "docs"))
    .filter((f) => f.endsWith(".md"))
    .sort();
  return ["README.md", ...docs.map((f) => `docs/${f}`)];
}

/**
 * The blocks of a page in order. `given` has directives for blocks that carry none, by their first line.
 * @throws Error for a directive that there is none of, or one above no block
 */
export function blocksOf(page: string, given: Readonly<Record<string, Directives>> = {}): Block[] {
  const lines = readFileSync(join(root, page), "utf8").split("\n");
  const blocks: Block[] = [];
  let directives: Record<string, string> = {};
  for (let i = 0; i < lines.length; ++i) {
    const line = lines[i] as string;
    const directive = /^<!-- test: (\S+) ?(.*?) -->$/.exec(line);
    if (directive !== null) {
      const [, name = "", argument = ""] = directive;
      if (!directiveNames.some((n) => n === name))
        throw new Error(`${page}:${i + 1}: there is no directive '${name}'; there are: ${directiveNames.join(", ")}`);
      directives[name] = argument;
      continue;
    }
    const fence = /^( *)(```+)(\w*)/.exec(line);
    if (fence === null) {
      if (Object.keys(directives).length > 0 && line.trim() !== "")
        throw new Error(`${page}:${i + 1}: expected the block that the directives are for`);
      continue;
    }
    const [, indent = "", ticks = "", language = ""] = fence;
    const end = lines.findIndex((l, k) => k > i && l.trim() === ticks);
    if (end < 0) throw new Error(`${page}:${i + 1}: the block does not end`);
    const text = lines
      .slice(i + 1, end)
      .map((l) => (l.startsWith(indent) ? l.slice(indent.length) : l))
      .join("\n");
    blocks.push({ page, line: i + 1, language, text, directives: { ...given[lines[i + 1] ?? ""], ...directives } });
    directives = {};
    i = end;
  }
  return blocks;
}

/** A command of a shell block, and what the block shows of its output; null where it shows nothing. */
export interface ShellCommand {
  readonly command: string;
  readonly output: string | null;
}

/** The commands of a shell block: lines after `$ `, or all lines where there is none. A line that ends in `\` goes on. */
export function shellCommands(text: string): ShellCommand[] {
  const joined = text.replaceAll(/\\\n\s*/g, "");
  const lines = joined.split("\n");
  if (!lines.some((l) => l.startsWith("$ "))) {
    const commands = lines.map((l) => l.replace(/(^|\s+)#.*$/, "").trim()).filter((l) => l !== "");
    return commands.map((command) => ({ command, output: null }));
  }
  const found: { command: string; lines: string[] }[] = [];
  for (const l of lines) {
    if (l.startsWith("$ ")) found.push({ command: l.slice(2), lines: [] });
    else found.at(-1)?.lines.push(l);
  }
  return found.map(({ command, lines: shown }) => ({ command, output: shown.join("\n").trim() === "" ? null : shown.join("\n").trim() }));
}

const number = /(?:(?<![\w.])-)?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?/g;
const measured = /^ ?(?:ms|s|µs|microseconds|GFLOP\/s|%)(?![\p{L}\p{N}])/u;
const shape = (line: string): string => line.replaceAll(number, "#").replaceAll(/-{3,}/g, "---").replaceAll(/\s+/g, " ").trim();

/** Do two numbers as printed say the same? Sizes change a little with the compiler; counts of a few things do not. */
function agree(shown: string, got: string): boolean {
  if (shown === got) return true;
  const [a, b] = [shown, got].map((t) => Number(t.replaceAll(",", ""))) as [number, number];
  const exact = Number.isInteger(a) && Number.isInteger(b) && Math.max(a, b) < 100;
  return !exact && Math.abs(a - b) <= 0.15 * Math.max(Math.abs(a), Math.abs(b));
}

function lineAgrees(shown: string, got: string, anyNumbers: boolean): boolean {
  const [wanted, whole] = shown.endsWith("…") ? [shown.slice(0, -1), false] : [shown, true];
  if (whole ? shape(wanted) !== shape(got) : !shape(got).startsWith(shape(wanted))) return false;
  if (anyNumbers) return true;
  const [a, b] = [[...wanted.matchAll(number)], [...got.matchAll(number)]];
  return a.every((m, i) => measured.test(wanted.slice(m.index + m[0].length)) || agree(m[0], b[i]?.[0] ?? ""));
}

/**
 * The first line shown that the output does not have, or the first of the output that is not shown; null when they agree. A
 * shown line `…` stands for any lines, one that ends so for all that begin as it does. Times and rates may be any numbers, other numbers differ by little.
 */
export function firstMismatch(shown: string, got: string, anyNumbers: boolean): string | null {
  const expected = shown.trim().split("\n");
  const lines = got.trim().split("\n");
  let at = 0;
  for (let i = 0; i < expected.length; ++i) {
    const line = expected[i] as string;
    if (line.trim() === "…") {
      const next = expected[i + 1];
      if (next === undefined) return null;
      while (at < lines.length && !lineAgrees(next, lines[at] as string, anyNumbers)) ++at;
      continue;
    }
    if (at >= lines.length || !lineAgrees(line, lines[at] as string, anyNumbers)) return `shown: ${line}\ngot:   ${lines[at] ?? "(the end)"}`;
    ++at;
  }
  return at < lines.length ? `not shown: ${lines[at]}` : null;
}
