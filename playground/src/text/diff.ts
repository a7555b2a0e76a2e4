import { diffArrays } from "diff";
import type { LineMark } from "../ui/code.tsx";

/** Two texts compared: the lines around changes, with a mark for each that is new, gone, or stands for lines left out. */
export interface Comparison {
  readonly text: string;
  readonly marks: ReadonlyMap<number, LineMark>;
  readonly added: number;
  readonly removed: number;
}

/** Unchanged lines shown before and after a change. */
const context = 3;
/** Milliseconds after which the texts count as too different to be compared. */
const patience = 5000;

/** Compares line by line; null when that would take too long. */
export function compareTexts(before: string, after: string): Comparison | null {
  const parts = diffArrays(before.split("\n"), after.split("\n"), { timeout: patience });
  if (parts === undefined) return null;
  const lines: string[] = [];
  const marks = new Map<number, LineMark>();
  let [added, removed] = [0, 0];
  parts.forEach((part, i) => {
    if (part.added || part.removed) {
      for (const line of part.value) marks.set(lines.push(line) - 1, part.added ? "added" : "removed");
      if (part.added) added += part.value.length;
      else removed += part.value.length;
      return;
    }
    const head = i === 0 ? 0 : context;
    const tail = i === parts.length - 1 ? 0 : context;
    if (part.value.length <= head + tail + 1) {
      lines.push(...part.value);
      return;
    }
    for (const line of part.value.slice(0, head)) lines.push(line);
    const left = part.value.length - head - tail;
    marks.set(lines.push(`⋯ ${left} unchanged lines`) - 1, "gap");
    for (const line of part.value.slice(part.value.length - tail)) lines.push(line);
  });
  return { text: lines.join("\n"), marks, added, removed };
}
