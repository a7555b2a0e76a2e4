import fs from "node:fs";
import path from "node:path";

/**
 * Where TypeScript looks for the types of `./model.onnx`: with `"moduleResolution": "bundler"` in `model.onnx.d.ts`, with
 * `nodenext` (and `allowArbitraryExtensions`) in `model.d.onnx.ts`. A file of the second kind is an error under the first
 * setting, so there is only ever one of them.
 */
export type TypeResolution = "bundler" | "nodenext";

const mark = "// Made by tilewright/vite from";

/** The declaration file of a model, by how its users resolve modules. */
function fileFor(model: string, resolution: TypeResolution): string {
  const { dir, name, ext } = path.parse(model);
  return path.join(dir, resolution === "bundler" ? `${name}${ext}.d.ts` : `${name}.d${ext}.ts`);
}

/**
 * Writes the types of an import beside its model, where they are not there already. An import with a query cannot have a
 * file of its name: it gets an ambient module, in a file that TypeScript reads if it is among a project's files.
 * @throws what writing throws
 */
export function writeTypes(model: string, query: string, artifact: string, resolution: TypeResolution): void {
  const base = path.basename(model);
  const types = fs.readFileSync(path.join(artifact, "model.d.ts"), "utf8");
  if (query === "") {
    put(fileFor(model, resolution), `${mark} ${base}: do not edit.\n${types}`);
    removeOurs(fileFor(model, resolution === "bundler" ? "nodenext" : "bundler"));
    return;
  }
  // References hold for a whole file only.
  const references = types.match(/^\/\/\/ <reference .*\n/gm)?.join("") ?? "";
  const inside = types
    .replaceAll(/^\/\/\/ <reference .*\n/gm, "")
    .replace(/^(?=.)/gm, "  ")
    .trimEnd();
  const name = `${base}.${query.replace(/[^A-Za-z0-9]+/g, "-")}.d.ts`;
  put(
    path.join(path.dirname(model), name),
    `${mark} ${base}: do not edit.\n${references}declare module ${JSON.stringify(`*/${base}?${query}`)} {\n${inside}\n}\n`,
  );
}

/** A file of the user's own, without our mark, stays as it is. */
function put(file: string, text: string): void {
  const old = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : null;
  if (old === text || (old !== null && !old.startsWith(mark))) return;
  fs.writeFileSync(file, text);
}
function removeOurs(file: string): void {
  if (fs.existsSync(file) && fs.readFileSync(file, "utf8").startsWith(mark)) fs.rmSync(file);
}
