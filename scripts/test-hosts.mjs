// `npm run test:hosts`: one artifact in every JavaScript host that can be had here. Arguments choose hosts by parts of their names.
// `--dist DIR` tries a build that lies elsewhere.
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { build, install, requireNode, root } from "./setup.mjs";

const { values, positionals } = parseArgs({ options: { dist: { type: "string" } }, allowPositionals: true });
requireNode();
install();
install(join(root, "test/hosts/"));
if (values.dist === undefined) build();
const { testHosts } = await import("../test/hosts/main.mjs");
const well = await testHosts(resolve(values.dist ?? join(root, "dist")), positionals);
process.exit(well ? 0 : 1);
