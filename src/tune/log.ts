import { UserError } from "../base/errors.ts";
import { readOrder, readPortableSchedule } from "../schedule/database.ts";
import type { PortableSchedule } from "../schedule/portable.ts";
import { modelledColumn } from "./features.ts";

/**
 * What came of a schedule that was tried: `ok` with its time relative to the default's; or it gave wrong results, trapped,
 * did not come to an end, could not be built, or does so much more than the default that it was not run.
 */
export const outcomes = ["ok", "wrong", "trap", "hang", "unbuildable", "slow"] as const;
export type TrialOutcome = (typeof outcomes)[number];

/** One line of the log beside a database, from which a later call goes on. */
export interface TrialRecord {
  readonly kernel: string;
  readonly machine: string;
  readonly schedule: PortableSchedule;
  readonly outcome: TrialOutcome;
  /** Time relative to the default schedule's; only of `ok`. */
  readonly ratio: number | null;
  /** What the cost model saw, for fitting it again; only of `ok`. */
  readonly row: readonly number[] | null;
}

/** What came of an order of dims that was tried for a group of tensors; its ratio is of all kernels that the order changes. */
export interface LayoutTrial {
  readonly group: string;
  readonly machine: string;
  readonly order: readonly number[];
  readonly outcome: TrialOutcome;
  /** Time relative to the order's before; only of `ok`. */
  readonly ratio: number | null;
}

/** A line of the log. */
export type LogRecord = TrialRecord | LayoutTrial;
export const isLayoutTrial = (r: LogRecord): r is LayoutTrial => "order" in r;
export const isScheduleTrial = (r: LogRecord): r is TrialRecord => !isLayoutTrial(r);

/** Rows of another version of the features say nothing to this one. */
const rowLength = modelledColumn + 1;

/** One line. */
export function printTrial(t: LogRecord): string {
  if (isLayoutTrial(t)) return `${JSON.stringify([t.group, t.machine, t.outcome, t.ratio, { order: t.order }])}\n`;
  return `${JSON.stringify([t.kernel, t.machine, t.outcome, t.ratio, t.schedule, t.row])}\n`;
}

/**
 * Reads a log. Its last line may be incomplete, for a run may end at any time; it is left out then.
 * @throws UserError `tune-log`, naming the line, for any other line that is no record
 */
export function parseTrials(text: string, name: string): LogRecord[] {
  const lines = text.split("\n");
  // What follows the last line break was not written to its end.
  lines.pop();
  return lines.map((line, i) => parseLine(line, `${name}, line ${i + 1}`));
}

function parseLine(line: string, at: string): LogRecord {
  const fail = (what: string): never => {
    throw new UserError("tune-log", `${at}: ${what}; delete the line, or the whole file to start anew`);
  };
  let v: unknown;
  try {
    v = JSON.parse(line);
  } catch (e) {
    return fail(`is no JSON (${(e as Error).message})`);
  }
  if (!Array.isArray(v) || (v.length !== 6 && v.length !== 5))
    return fail("expected [kernel, machine, outcome, ratio, schedule, row] or [group, machine, outcome, ratio, {order}]");
  const [kernel, machine, outcome, ratio, schedule, row] = v as readonly unknown[];
  const known = outcomes.find((o) => o === outcome);
  if (typeof kernel !== "string" || typeof machine !== "string" || known === undefined)
    return fail("expected a kernel or group, a machine and an outcome");
  const isRatio = typeof ratio === "number" && Number.isFinite(ratio) && ratio > 0;
  if (known === "ok" && !isRatio) return fail("expected a time relative to the default's");
  if (v.length === 5) {
    const order = readOrder(typeof schedule === "object" && schedule !== null && "order" in schedule ? schedule.order : schedule, (what) =>
      fail(what),
    );
    return { group: kernel, machine, outcome: known, ratio: isRatio ? ratio : null, order };
  }
  const numbers = Array.isArray(row) && row.length === rowLength && row.every((x) => typeof x === "number" && Number.isFinite(x));
  return {
    kernel,
    machine,
    outcome: known,
    ratio: isRatio ? ratio : null,
    schedule: readPortableSchedule(schedule, (what) => fail(what)),
    row: numbers ? (row as readonly number[]) : null,
  };
}
