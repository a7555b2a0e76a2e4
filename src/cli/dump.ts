import path from "node:path";
import type { TraceListener } from "../base/trace.ts";
import { writeFile } from "../node/files.ts";

/** Writes the IR after every step that changed it: `00-graph-source.tw`, `01-graph-fold-constants.tw`, … */
export class IrDump {
  private readonly folder: string;
  private count = 0;
  constructor(folder: string) {
    this.folder = folder;
  }
  readonly listener: TraceListener = (e) => {
    if (!e.changed) return;
    const text = e.text();
    if (text !== "") this.write(e.stage, e.step, text);
  };
  write(stage: string, step: string, text: string): void {
    const number = String(this.count++).padStart(2, "0");
    writeFile(path.join(this.folder, `${number}-${stage}-${step}.${stage === "schedule" ? "txt" : stage === "code" ? "wat" : "tw"}`), text);
  }
}
