import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { expect, it } from "vitest";
import { usualCaches } from "../../targets/c/machine.ts";
import { processorCaches } from "./processor.ts";

function folderOf(entries: Record<string, Record<string, string>>): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "caches-"));
  for (const [entry, files] of Object.entries(entries)) {
    fs.mkdirSync(path.join(folder, entry));
    for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(folder, entry, name), `${text}\n`);
  }
  return folder;
}

it("reads the sizes of a core's data caches, and takes usual ones where nothing is told", () => {
  const folder = folderOf({
    index0: { level: "1", type: "Data", size: "48K", coherency_line_size: "64" },
    index1: { level: "1", type: "Instruction", size: "96K", coherency_line_size: "64" },
    index2: { level: "2", type: "Unified", size: "2M", coherency_line_size: "64" },
    index3: { level: "3", type: "Unified", size: "32768K", coherency_line_size: "64" },
  });
  expect(processorCaches(folder)).toEqual({ lineBytes: 64, l1Bytes: 48 * 1024, l2Bytes: 2 ** 21 });
  fs.rmSync(folder, { recursive: true });
  expect(processorCaches(folder)).toEqual(usualCaches);
  const broken = folderOf({ index0: { level: "1", type: "Data", size: "much", coherency_line_size: "64" } });
  expect(processorCaches(broken)).toEqual(usualCaches);
  fs.rmSync(broken, { recursive: true });
});
