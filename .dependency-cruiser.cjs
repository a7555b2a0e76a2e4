// Which room may import which: the table of ARCHITECTURE.md. `scripts/check-imports.mjs` runs it, and fails if it inspected nothing.

/** Each room with what it may import besides itself. Type-only imports count as imports. */
const rooms = {
  base: [],
  scalar: ["base"],
  tensor: ["scalar", "base"],
  loop: ["scalar", "base"],
  schedule: ["tensor", "loop", "scalar", "base"],
  graph: ["tensor", "scalar", "base"],
  frontends: ["graph", "scalar", "base"],
  runtime: ["base"],
  targets: ["loop", "scalar", "runtime", "base"],
  data: ["runtime", "base"],
  ort: ["worker", "frontends", "targets", "runtime", "base"],
};
const rootFiles = "^src/version\\.ts$";
/** What drives the pipeline: for the rooms that compile models. */
const pipeline = ["^src/(index|load|importer)\\.ts$", rootFiles];
const rootsFor = (room) => (room === "ort" ? pipeline : room === "targets" || room === "frontends" ? [rootFiles] : []);
const notTest = { pathNot: "\\.test\\.ts$" };

const directions = Object.entries(rooms).map(([room, allowed]) => ({
  name: `${room}-imports`,
  comment: `src/${room}/ may import ${allowed.length === 0 ? "no other room" : allowed.map((r) => `src/${r}/`).join(", ")}.`,
  severity: "error",
  from: { path: `^src/${room}/`, ...notTest },
  to: { path: "^src/", pathNot: [`^src/(${[room, ...allowed].join("|")})/`, ...rootsFor(room)] },
}));

module.exports = {
  forbidden: [
    ...directions,
    {
      name: "no-cycles",
      comment:
        "No cycle of imports that happen at run time. Types may refer to each other within a room (an op and the builder it is given); between rooms the table rules that out too.",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "runtime-stands-alone",
      comment: "The artifact's JavaScript is made from src/runtime/: beside it there is room for the errors and for hexadecimal text alone.",
      severity: "error",
      from: { path: "^src/runtime/", ...notTest },
      to: { pathNot: "^src/(runtime/|base/(errors|hex)\\.ts)", dependencyTypesNot: ["type-only", "type-import"] },
    },
    {
      name: "node-in-one-place",
      comment: "Only src/node/ and the command line use what only Node has; all else runs in a browser.",
      severity: "error",
      from: { path: "^src/", pathNot: ["^src/node/", "^src/cli", "\\.test\\.ts$"] },
      to: { dependencyTypes: ["core"], dependencyTypesNot: ["type-only", "type-import"] },
    },
    {
      name: "core-does-not-import-node",
      comment: "Nothing but the command line and src/node/ itself imports src/node/.",
      severity: "error",
      from: { path: "^src/", pathNot: ["^src/node/", "^src/cli", "\\.test\\.ts$"] },
      to: { path: "^src/node/" },
    },
    {
      name: "pipeline-knows-no-tuner",
      comment: "The tuner drives the pipeline; the pipeline never imports it.",
      severity: "error",
      from: { path: "^src/", pathNot: ["^src/tune/", "^src/cli", "^src/node/", "\\.test\\.ts$"] },
      to: { path: "^src/tune/" },
    },
    {
      name: "explorer-needs-no-node",
      comment: "The explorer runs in a page's worker: it imports all rooms but src/node/ and the command line.",
      severity: "error",
      from: { path: "^src/explorer/", ...notTest },
      to: { path: "^src/(node|cli|check|tune)/" },
    },
    {
      name: "worker-is-small",
      comment: "src/worker/ is a page's side of a compiler that runs elsewhere: the page gets the runtime and the errors, never the compiler.",
      severity: "error",
      from: { path: "^src/worker/", pathNot: ["\\.test\\.ts$", "^src/worker/thread/"] },
      to: { path: "^src/", pathNot: ["^src/(worker|runtime|base)/", rootFiles], dependencyTypesNot: ["type-only", "type-import"] },
    },
    {
      name: "pipeline-knows-no-explorer",
      comment: "The explorer and the worker drive the pipeline; the pipeline never imports them.",
      severity: "error",
      from: { path: "^src/", pathNot: ["^src/(explorer|worker|node|cli|ort)/", "^src/cli", "\\.test\\.ts$"] },
      to: { path: "^src/(explorer|worker)/" },
    },
    {
      name: "tests-are-leaves",
      comment: "No source file imports a test.",
      severity: "error",
      from: { path: "^src/", ...notTest },
      to: { path: "\\.test\\.ts$|^test/" },
    },
    {
      name: "resolvable",
      comment: "Every import resolves.",
      severity: "error",
      from: { path: "^src/" },
      to: { couldNotResolve: true },
    },
    {
      name: "declared-dependencies",
      comment: "Packages used by the library are declared as dependencies.",
      severity: "error",
      from: { path: "^src/", ...notTest },
      to: { dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown"] },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: {
      extensions: [".ts", ".mjs", ".js"],
      exportsFields: ["exports"],
      conditionNames: ["node", "import", "default", "types"],
    },
  },
};
