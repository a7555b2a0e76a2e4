// What a build of the compiler generates for a model: its kernels' loop IR and the bytes of code of each.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, join, parse } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** LEB128 numbers and names, as the binary format of WebAssembly has them. */
class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }
  byte() {
    return this.bytes[this.at++];
  }
  u32() {
    let [value, shift] = [0, 0];
    for (;;) {
      const b = this.byte();
      value |= (b & 0x7f) << shift;
      if (b < 0x80) return value >>> 0;
      shift += 7;
    }
  }
  name() {
    const length = this.u32();
    this.at += length;
    return new TextDecoder().decode(this.bytes.subarray(this.at - length, this.at));
  }
}

/** The code of each function of a module, by its name in the name section. */
export function codeOf(module) {
  const r = new Reader(module);
  r.at = 8;
  const bodies = [];
  const names = new Map();
  while (r.at < module.length) {
    const id = r.byte();
    const size = r.u32();
    const end = r.at + size;
    if (id === 10) {
      for (let n = r.u32(); n > 0; n--) {
        const bytes = r.u32();
        bodies.push(module.subarray(r.at, r.at + bytes));
        r.at += bytes;
      }
    } else if (id === 0 && r.name() === "name") readNames(r, end, names);
    r.at = end;
  }
  // Imported functions are numbered first; they have names, but no code.
  const imported = names.size - bodies.length;
  return new Map(bodies.map((body, i) => [names.get(imported + i), body]));
}

function readNames(r, end, names) {
  while (r.at < end) {
    const kind = r.byte();
    const size = r.u32();
    const next = r.at + size;
    if (kind === 1) for (let n = r.u32(); n > 0; n--) names.set(r.u32(), r.name());
    r.at = next;
  }
}

const hash = (...parts) => {
  const h = createHash("sha256");
  for (const p of parts) h.update(p);
  return h.digest("hex").slice(0, 16);
};
/** A kernel's loop IR, cut out of the text of a program that has nothing else. */
function kernelText(print, program, kernel) {
  const alone = { ...program, kernels: [kernel], main: [], allocations: [], weightSlots: [], inputs: [], outputs: [] };
  const lines = print.printProgram(alone).split("\n");
  const [start, end] = [lines.findIndex((l) => l.startsWith("  kernel @")), lines.findIndex((l) => l.startsWith("  main"))];
  if (start < 0 || end < start) throw new Error(`the text of a program with kernel '${kernel.name}' has another form than expected`);
  return lines
    .slice(start, end)
    .map((l) => l.slice(2))
    .join("\n");
}

/** Of a kernel's text, all but its name: numbers in names change with what stands before. */
const nameless = (name, text) => text.replace(`@${name}(`, "@(");

/**
 * The snapshot of a compiled model: `{ modules: { file: bytes }, kernels: [{ name, role, hash, bytes, origins, text }] }`.
 * A kernel's role is `run`, or `prepare` when it only makes weights; `main` stands for the program that launches them.
 * Bytes are those in the first module, null for what is not in it; the hash is that of text and code. `print` is the
 * build's `loop/print.js`.
 */
export function snapshotOf(compiled, artifact, print) {
  const code = codeOf(artifact.modules[0]);
  const origins = new Map(artifact.manifest.kernels.map((k) => [k.name, k.origins]));
  const entry = (role) => (k) => {
    const text = kernelText(print, compiled.program, k);
    const body = role === "run" ? code.get(k.name) : undefined;
    return {
      name: k.name,
      role,
      hash: hash(nameless(k.name, text), body ?? ""),
      bytes: body?.length ?? null,
      origins: origins.get(k.name) ?? [],
      text,
    };
  };
  const main = print.printProgram({ ...compiled.program, kernels: [] });
  const prepare = new Set(compiled.prepare.flatMap((p) => p.program.kernels));
  return {
    modules: Object.fromEntries(artifact.manifest.modules.map((m) => [m.file, m.bytes])),
    kernels: [
      // Not main's code: it calls kernels by their numbers, which say nothing.
      { name: "main", role: "main", hash: hash(main), bytes: code.get("main")?.length ?? null, origins: [], text: main },
      ...compiled.program.kernels.map(entry("run")),
      ...[...prepare].map(entry("prepare")),
    ],
  };
}

/** The snapshot of a model's file, made by the build in `dist`. */
async function snapshotFile(dist, file) {
  const part = (path) => import(pathToFileURL(join(dist, path)).href);
  const [{ importSource }, { buildArtifact }, { folderResolver }, print] = await Promise.all(
    ["importer.js", "load.js", "node/external-data.js", "loop/print.js"].map(part),
  );
  const source = importSource(readFileSync(file), { name: parse(file).name, resolver: folderResolver(dirname(file)) });
  const { artifact, compiled } = buildArtifact(source);
  return snapshotOf(compiled, artifact, print);
}

// A process for each model keeps their memory apart: `node snapshot.mjs DIST MODEL` prints the snapshot.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [dist, file] = process.argv.slice(2);
  const text = JSON.stringify(await snapshotFile(dist, file));
  // Whole, also into a pipe that takes it slowly.
  process.stdout.write(text);
}
