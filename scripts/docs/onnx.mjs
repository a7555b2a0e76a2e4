// The ONNX ops that the frontend maps, by family.
import { readdirSync } from "node:fs";
import { code, generated, table } from "./text.mjs";

/** docs/onnx.md */
export async function onnxPage(dist, distUrl) {
  const { oldestOpset, newestOpset } = await dist("frontends/onnx/ops/registry.js");
  const families = await familiesIn(dist, distUrl, "");
  const around = [];
  for (const [domain, folder] of [
    ["com.microsoft", "microsoft/"],
    ["ai.onnx.ml", "ml/"],
  ])
    around.push(`## ${domain}`, familyTable(await familiesIn(dist, distUrl, folder)));
  return [
    generated,
    "# ONNX ops that can be compiled",
    `${families.reduce((n, [, ops]) => n + ops.length, 0)} ops of the default domain, opsets ${oldestOpset} to ${newestOpset}, and the functions that a model file brings with it. An op may still be refused for how it is used (a dtype, a size that depends on data): \`npx tilewright inspect MODEL\` tells.`,
    familyTable(families),
    ...around,
  ].join("\n\n");
}

/** The ops that the modules of a folder map, by family: the name of the table that holds them. */
async function familiesIn(dist, distUrl, folder) {
  const files = readdirSync(new URL(`frontends/onnx/ops/${folder}`, distUrl))
    .filter((f) => f.endsWith(".js") && f !== "registry.js" && f !== "table.js")
    .sort();
  const families = [];
  for (const f of files) {
    for (const [name, mappings] of Object.entries(await dist(`frontends/onnx/ops/${folder}${f}`))) {
      if (name.endsWith("Ops") && name !== "ownDomainOps") families.push([name.slice(0, -3), Object.keys(mappings).sort()]);
    }
  }
  return families;
}

function familyTable(families) {
  return table(
    ["family", "ops"],
    families.map(([name, ops]) => [name, ops.map(code).join(" ")]),
  );
}
