import { randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { UserError } from "../base/errors.ts";
import { type ScheduleDatabase, type TunedSchedules, emptyDatabase, parseDatabase, printDatabase } from "../schedule/database.ts";
import { type LogRecord, printTrial } from "../tune/log.ts";
import { readFile, reason } from "./files.ts";

/** What measured times hold for: the target and its features, threads if there are several, the processor, the engine's major version. */
export function machineId(relaxed: boolean, threads = 1): string {
  const cpu = os.cpus()[0]?.model.replace(/\s+/g, " ").trim() ?? `unknown ${os.arch()}`;
  return `wasm${relaxed ? " relaxed" : ""}${threads > 1 ? `, ${threads} threads` : ""}, V8 ${process.versions.v8.split(".")[0]}, ${cpu}`;
}

/** Reads a database of schedules. @throws UserError `file` when it cannot be read, `database` when it is malformed */
function readDatabase(file: string): ScheduleDatabase {
  return parseDatabase(new TextDecoder().decode(readFile(file)), file);
}

/** The file's database, or an empty one where there is no such file. */
export function readDatabaseIfThere(file: string): ScheduleDatabase {
  return fs.existsSync(file) ? readDatabase(file) : emptyDatabase;
}

/** Writes a database beside its place and moves it there, so that there is always a whole one. @throws UserError `file` */
export function writeDatabase(file: string, db: ScheduleDatabase): void {
  const temporary = path.join(path.dirname(file), `.${path.basename(file)}-${process.pid}-${randomBytes(4).toString("hex")}`);
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(temporary, printDatabase(db));
    fs.renameSync(temporary, file);
  } catch (e) {
    fs.rmSync(temporary, { force: true });
    throw new UserError("file", `${file}: cannot be written (${reason(e)})`);
  }
}

/** The schedules of a file for this machine. @throws UserError */
export function tunedSchedules(file: string, note?: (text: string) => void): TunedSchedules {
  return { database: readDatabase(file), machine: machineId, ...(note === undefined ? {} : { note }) };
}

/** The file beside a database in which everything that was tried gets a line, at once: whatever ends the process, nothing is tried twice. */
export class TrialLog {
  private readonly file: string;
  private fd: number | null = null;
  constructor(file: string) {
    this.file = file;
  }
  readonly add = (t: LogRecord): void => {
    try {
      this.fd ??= openLog(this.file);
      fs.writeSync(this.fd, printTrial(t));
    } catch (e) {
      throw new UserError("file", `${this.file}: cannot be written (${reason(e)})`);
    }
  };
  close(): void {
    if (this.fd !== null) fs.closeSync(this.fd);
    this.fd = null;
  }
}

/** Opens the log at its end; a last line that was not written whole is cut off. */
function openLog(file: string): number {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  if (fs.existsSync(file)) {
    const text = fs.readFileSync(file);
    const whole = text.lastIndexOf(10) + 1;
    if (whole < text.length) fs.truncateSync(file, whole);
  }
  return fs.openSync(file, "a");
}
