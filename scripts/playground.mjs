// `npm run playground`: installs what the page needs, builds it (static files, in playground/dist) and serves it, until Ctrl-C.
// With --build it is only built; with --test it is built and tried in a browser instead, where there is one.
import { install, requireNode, root, runOrExit } from "./setup.mjs";

const [how, ...rest] = process.argv.slice(2);
if ((how !== undefined && how !== "--test" && how !== "--build") || rest.length > 0) {
  console.error(`unknown arguments: ${process.argv.slice(2).join(" ")}\nUsage: npm run playground [-- --build | --test]`);
  process.exit(2);
}
requireNode();
install();
const folder = `${root}playground/`;
install(folder);

const node = (script, ...args) => runOrExit(process.execPath, [script, ...args], "See above.", { cwd: folder });
if (how === "--test") node(`${root}node_modules/typescript/bin/tsc`, "-p", "tsconfig.json", "--noEmit");
node(`${folder}node_modules/vite/bin/vite.js`, "build", "--logLevel", how === undefined ? "warn" : "info");
if (how === "--test") node(`${root}node_modules/vitest/vitest.mjs`, "run");
if (how !== undefined) process.exit(0);

// Imported here: it has to be installed first.
const { preview } = await import("../playground/node_modules/vite/dist/node/index.js");
const server = await preview({ root: folder });
console.log("The playground is served at:");
server.printUrls();
