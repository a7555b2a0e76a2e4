import { mkdtempSync, openSync, closeSync, ftruncateSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type SuiteModel, compareSampled, readModel } from "../../bench/suite.mjs";
import { buildC } from "../../src/build-c.ts";
import { importSource } from "../../src/importer.ts";
import { folderResolver } from "../../src/node/external-data.ts";
import { arrayType } from "../../src/runtime/values.ts";
import type { CManifest } from "../../src/runtime/model.ts";
import { type LevelName, levels } from "../../src/targets/c/levels.ts";
import { type CompilerName, baseFlags } from "./c.ts";
import { runProcess } from "./processes.ts";

/** A program that opens the model, takes a level, reads the inputs, runs twice, and writes the outputs of each run. */
const driver = (n: string) => `#include "model.h"
#include <stdio.h>
#include <stdlib.h>
static void check(int status) {
  if (status == 0) return;
  fprintf(stderr, "%s\\n", ${n}_error(status));
  exit(status == ${n.toUpperCase()}_ERROR_LEVEL ? 3 : 1);
}
int main(int argc, char **argv) {
  struct ${n} *m;
  void *inputs[${n.toUpperCase()}_INPUTS], *outputs[${n.toUpperCase()}_OUTPUTS];
  if (argc != 4) return 1;
  check(${n}_open(&m, argv[1], atoi(argv[2])));
  check(${n}_level(m, argv[3]));
  for (int i = 0; i < ${n.toUpperCase()}_INPUTS; ++i) {
    const size_t bytes = (size_t)${n}_input_bytes(NULL, i);
    inputs[i] = malloc(bytes);
    if (inputs[i] == NULL || fread(inputs[i], 1, bytes, stdin) != bytes) return 1;
  }
  for (int i = 0; i < ${n.toUpperCase()}_OUTPUTS; ++i) outputs[i] = malloc((size_t)${n}_output_bytes(NULL, i));
  check(${n}_run(m, NULL, (const void *const *)inputs, outputs));
  for (int i = 0; i < ${n.toUpperCase()}_OUTPUTS; ++i) {
    fwrite(outputs[i], 1, (size_t)${n}_output_bytes(NULL, i), stdout);
    free(outputs[i]);
  }
  for (int i = 0; i < ${n.toUpperCase()}_INPUTS; ++i) free(inputs[i]);
  ${n}_close(m);
  return 0;
}
`;

/** A model of the suite as C for all levels, in a temporary folder, with a program that runs it. */
export class CModel {
  readonly model: SuiteModel;
  readonly manifest: CManifest;
  private readonly folder = mkdtempSync(join(tmpdir(), "tilewright-c-model-"));

  private constructor(model: SuiteModel, manifest: CManifest) {
    this.model = model;
    this.manifest = manifest;
  }

  static async make(name: string, dir: string): Promise<CModel> {
    const model = readModel(name, dir);
    const source = importSource(readFileSync(model.file), { name, resolver: folderResolver(dir) });
    const { artifact } = buildC(
      source,
      { threads: 3 },
      levels.map((l) => l.name),
    );
    const made = new CModel(model, artifact.manifest);
    for (const [file, text] of Object.entries(artifact.files)) writeFileSync(join(made.folder, file), text);
    writeFileSync(join(made.folder, "main.c"), driver(artifact.manifest.prefix));
    const weights = openSync(join(made.folder, "weights"), "w");
    ftruncateSync(weights, artifact.manifest.weight_bytes);
    await artifact.writeWeights((offset, bytes) => void writeSync(weights, bytes, 0, bytes.length, offset));
    closeSync(weights);
    return made;
  }

  /** Compiles with all code of the model; rejects with what the compiler says. */
  async compile(compiler: CompilerName, flags: readonly string[]): Promise<void> {
    await runProcess(compiler, [...baseFlags, ...flags], { cwd: this.folder });
  }

  /** Runs what was compiled at a level, and gives the worst deviation of the outputs; null where the processor has no such level. */
  async run(program: string, level: LevelName, threads: number): Promise<number | null> {
    const input = Buffer.concat(this.model.inputs.map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)));
    const args = [join(this.folder, "weights"), String(threads), level];
    let out: Buffer;
    try {
      out = await runProcess(join(this.folder, program), args, { cwd: this.folder, input });
    } catch (e) {
      if ((e as Error).message.includes(" ended with 3:")) return null;
      throw e;
    }
    let at = 0;
    return Math.max(
      ...this.manifest.outputs.map((port, i) => {
        const expected = this.model.outputs[i];
        if (expected === undefined || expected.name !== port.name) throw new Error(`output ${i} is ${port.name}, expected ${expected?.name}`);
        const count = expected.dims.reduce((a, b) => a * b, 1);
        const data = new (arrayType(port.dtype).make)(new Uint8Array(out.subarray(at)).buffer, 0, count);
        at += data.byteLength;
        return compareSampled(expected, { dims: expected.dims, data }).ratio;
      }),
    );
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
