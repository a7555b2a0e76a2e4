// `npm run test:ort`: programs for onnxruntime-node and onnxruntime-web, run with those and with tilewright/ort, and compared.
// `--dist DIR` tries a build that lies elsewhere.
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { build, install, requireNode, root } from "./setup.mjs";

const { values } = parseArgs({ options: { dist: { type: "string" } } });
requireNode();
install();
install(join(root, "test/hosts/ort/"));
if (values.dist === undefined) build();
const dist = resolve(values.dist ?? join(root, "dist"));
process.exit(spawnSync(process.execPath, [join(root, "test/hosts/ort/run.mjs"), dist], { stdio: "inherit" }).status ?? 1);
