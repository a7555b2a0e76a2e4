import { VerifyError } from "./errors.ts";
import type { Printer } from "./text.ts";

/**
 * The core of every verifier: collects all violations, each at the line of the printed IR that it is about, and throws
 * them together, inside the text.
 */
export class Violations {
  private readonly found: { readonly where: string; readonly message: string; readonly about: unknown }[] = [];
  /** What the violations noted from here on are about: a part of the IR that its printer has a line for. */
  about: unknown = null;

  /** Notes that `where` (a text that occurs in the printed IR, such as `%x` or `@stage`) breaks an invariant. */
  add(where: string, message: string): void {
    this.found.push({ where, message, about: this.about });
  }
  /** Notes the violation unless the condition holds. */
  check(condition: boolean, where: string, message: () => string): void {
    if (!condition) this.add(where, message());
  }
  get messages(): string[] {
    return this.found.map((v) => `${v.where}: ${v.message}`);
  }

  /** @throws VerifyError with every violation, under the line of what it is about, or else the first that mentions its place */
  throwIfAny(code: string, after: string, print: () => Printer): void {
    if (this.found.length === 0) return;
    const printed = print();
    const lines = printed.toString().trimEnd().split("\n");
    const notes = new Map<number, string[]>();
    const unplaced: string[] = [];
    const places = new Map<string, number>();
    for (const v of this.found) {
      const at = printed.places.get(v.about) ?? places.get(v.where) ?? lines.findIndex((l) => mentionsWord(l, v.where));
      if (!printed.places.has(v.about)) places.set(v.where, at);
      if (at < 0) unplaced.push(`// ^ ${v.where}: ${v.message}`);
      else notes.set(at, [...(notes.get(at) ?? []), `// ^ ${v.where}: ${v.message}`]);
    }
    const text = lines.flatMap((l, i) => [l, ...(notes.get(i) ?? []).map((n) => `${/^\s*/.exec(l)?.[0] ?? ""}${n}`)]);
    throw new VerifyError(
      code,
      `${this.found.length} violation${this.found.length === 1 ? "" : "s"} ${after}:\n${[...text, ...unplaced].join("\n")}`,
      this.messages,
    );
  }
}

/** Does the line hold the word, not only as a part of a longer name? */
function mentionsWord(line: string, word: string): boolean {
  for (let at = line.indexOf(word); at >= 0; at = line.indexOf(word, at + 1)) {
    // A name may go on after a dot or a slash, but does not end with one: `%x.` is `%x` at the end of a sentence.
    if (
      !/^(?:[A-Za-z0-9_$']|[./:-]+[A-Za-z0-9_$])/.test(line.slice(at + word.length, at + word.length + 8)) &&
      !/[A-Za-z0-9_]/.test(/^\w/.test(word) ? (line[at - 1] ?? "") : "")
    )
      return true;
  }
  return false;
}
