// `npm run test:hosts`: the same artifacts in every host that can be had here.
import { readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { bundlerHosts } from "./bundlers.mjs";
import { chromiumHosts, chromiumMissing } from "./chromium.mjs";
import { firefoxHosts } from "./firefox.mjs";
import { prepare } from "./prepare.mjs";
import { processHosts } from "./processes.mjs";
import { compareStart } from "./speed.mjs";
import { head, judge, printTable } from "./table.mjs";
import { workerdHosts } from "./workerd.mjs";

const groups = [processHosts, workerdHosts, chromiumHosts, firefoxHosts, bundlerHosts];
/** Of model.js and the one module that is loaded, for the model of examples/digits. */
const mostBytes = 60_000;
/** How much sooner the first result has to be there than onnxruntime-web's. */
const leastQuicker = 10;

/** Fills the table with the build in `dist`. Only hosts whose name holds one of `names` are tried, all without any. Resolves to whether all is well. */
export async function testHosts(dist, names) {
  const folder = prepare(dist);
  const wanted = ({ name }) => names.length === 0 || names.some((n) => name.toLowerCase().includes(n.toLowerCase()));
  const faults = [];
  try {
    const filled = await fillTable(folder, wanted, faults);
    if (filled === 0) faults.push("no host was tried");
    printSizes(join(folder, "digits-default"), faults);
    if (names.length === 0) await printStart(folder, faults);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  for (const fault of faults) console.log(`FAILED: ${fault}`);
  return faults.length === 0;
}

async function fillTable(folder, wanted, faults) {
  const [rows, notes, untried, refused] = [[head], new Map(), [], []];
  let [hashes, filled] = [null, 0];
  for (const { hosts, refusals, close } of groups.map((open) => open())) {
    for (const host of hosts.filter(wanted)) {
      if (host.missing !== null) {
        untried.push(`${host.name}: not tried: ${host.missing}`);
        continue;
      }
      const start = performance.now();
      const row = await rowOf(host, folder);
      hashes ??= [row.run?.text, row.threads?.text?.hash];
      const { cells, faults: wrong } = judge(host, row, hashes);
      if (row.threads?.text?.threads === 1) cells[2] += ` ${noteOf(notes, row.threads.text.reason)}`;
      rows.push([host.name, ...cells, ((performance.now() - start) / 1e3).toFixed(1)]);
      faults.push(...wrong.map((w) => `${host.name}: ${w}`));
      filled++;
    }
    for (const host of refusals.filter(wanted)) if (host.missing === null) refused.push(await refusal(host, folder, faults));
    await close();
  }
  printTable(rows);
  for (const [reason, mark] of notes) console.log(`${mark} ${reason}`);
  for (const line of [...untried, ...refused]) console.log(line);
  return filled;
}

/** A host that cannot even report has failed in all cells. */
async function rowOf(host, folder) {
  try {
    return await host.run(folder);
  } catch (e) {
    return { load: { ok: false, text: e.message } };
  }
}

/** Reasons for one thread stand below the table. */
function noteOf(notes, reason) {
  if (!notes.has(reason)) notes.set(reason, `[${notes.size + 1}]`);
  return notes.get(reason);
}

/** Where a policy forbids WebAssembly, the error has to say what to do. */
async function refusal(host, folder, faults) {
  const error = await host.run(folder).catch((e) => e);
  const right = error.name === "UserError" && error.code === host.code && host.words.test(error.message);
  if (!right) faults.push(`${host.name}: expected an error '${host.code}' with ${host.words}, got ${error.name} '${error.code}': ${error.message}`);
  return `${host.name}: ${right ? `refused with UserError '${error.code}'` : "FAILED"}`;
}

function printSizes(artifact, faults) {
  const script = statSync(join(artifact, "model.js")).size;
  const { modules, shared_launches } = JSON.parse(readFileSync(join(artifact, "model.json"), "utf8"));
  const kB = (bytes) => `${(bytes / 1e3).toFixed(1)} kB`;
  console.log(`digits: model.js ${kB(script)}, ${modules.map((m) => `${m.file} ${kB(m.bytes)}`).join(", ")}`);
  // Those for threads are loaded only where threads share something.
  const largest = Math.max(...modules.filter((m) => !m.shared || shared_launches > 0).map((m) => m.bytes));
  console.log(`digits: model.js and the module that is loaded: at most ${kB(script + largest)} (less than ${kB(mostBytes)} is asked for)`);
  if (script + largest >= mostBytes) faults.push(`the digits artifact has ${script + largest} bytes of code, not less than ${mostBytes}`);
}

async function printStart(folder, faults) {
  if (chromiumMissing !== null) return console.log(`time to the first result: not measured: ${chromiumMissing}`);
  const { ours, theirs, version } = await compareStart(folder);
  console.log(
    `digits: from files at hand to the first result in Chromium ${ours.toFixed(0)} ms; onnxruntime-web ${version} ${theirs.toFixed(0)} ms, ${(theirs / ours).toFixed(1)} times as long (${leastQuicker} is asked for)`,
  );
  if (!(theirs >= leastQuicker * ours)) faults.push("the first result is not 10 times as quick as onnxruntime-web's");
}
