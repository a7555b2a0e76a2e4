// Builds dist/ from src/. Removes what no source file makes any more, so that nothing stale is tested or packed.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, readdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { bundleBrowser } from "./bundle-browser.mjs";
import { bundleRuntime } from "./bundle-runtime.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const dist = `${root}dist`;
const info = `${root}.cache/build.tsbuildinfo`;

// The compiler trusts its record of what it wrote; without dist/ that record is void.
if (!existsSync(`${dist}/version.js`)) rmSync(info, { force: true });

for (const path of existsSync(dist) ? readdirSync(dist, { recursive: true }) : []) {
  const source = /^(.*?)(\.d\.ts|\.js)$/.exec(path)?.[1];
  if (source === undefined || existsSync(`${root}src/${source}.ts`)) continue;
  rmSync(`${dist}/${path}`, { force: true });
}

const tsc = spawnSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, "-p", "tsconfig.build.json"], { cwd: root, stdio: "inherit" });
// In a checkout, npx starts this very file.
if (existsSync(`${dist}/cli.js`)) chmodSync(`${dist}/cli.js`, 0o755);
if (existsSync(`${dist}/runtime/artifact.js`)) bundleRuntime(dist);
if (existsSync(`${dist}/worker/index.js`)) bundleBrowser(dist);
process.exit(tsc.status ?? 1);
