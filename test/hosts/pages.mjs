// Pages, workers and extensions that run the probe and report to the server, written into the folder of artifacts.
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A page of one script. */
export const page = (script, type = "module") =>
  `<!doctype html>\n<meta charset="utf-8">\n<title>probe</title>\n<body><script type="${type}" src="${script}"></script>\n`;

/** A module that runs the probe on artifacts beside it, and does `then` with its `row`. */
export const probing = (then, digits = "./digits/model.js", rows = "./rows/model.js") => `import { probe } from "./probe.js";
import { load as digits } from "${digits}";
import { load as rows } from "${rows}";
const missing = () => digits({ weights: new URL("nowhere/model.bin", self.location.href) });
probe({ digits, rows, missing }).then((row) => {
  ${then}
});
`;

/** A module that reports how loading ends where a policy forbids it. */
const refused = (then) => `import { load } from "./digits/model.js";
load().then(() => ({ name: "none", message: "it loaded" }), (e) => ({ name: e.name, code: e.code, message: e.message })).then((row) => {
  ${then}
});
`;

/** The name to report under follows the hash of a page's address. */
export const reporting = 'fetch("/heard/" + location.hash.slice(1), { method: "POST", body: JSON.stringify(row) });';

/** Pages for each place of the server: `page.html`, `worker.html`, `service.html`, `inline.html`, `forbidden.html`. */
export function writePages(folder) {
  const put = (name, text) => writeFileSync(join(folder, name), text);
  put("page.js", probing(reporting));
  put("inline.js", probing(reporting, "./digits-inline/model.js", "./rows-inline/model.js"));
  put("in-worker.js", probing("postMessage(row);"));
  put(
    "worker.js",
    `const worker = new Worker("./in-worker.js", { type: "module" });
worker.onmessage = ({ data: row }) => { ${reporting} };
worker.onerror = (e) => { const row = { load: { ok: false, text: e.message } }; ${reporting} };
`,
  );
  put(
    "service.js",
    `await navigator.serviceWorker.register("./in-service.js", { type: "module" });
const { active } = await navigator.serviceWorker.ready;
navigator.serviceWorker.onmessage = ({ data: row }) => { ${reporting} };
active.postMessage("probe");
`,
  );
  // A service worker has to listen before its first turn ends.
  put(
    "in-service.js",
    `import { probe } from "./probe.js";
import { load as digits } from "./digits/model.js";
import { load as rows } from "./rows/model.js";
const missing = () => digits({ weights: new URL("nowhere/model.bin", self.location.href) });
addEventListener("message", (e) => e.waitUntil(probe({ digits, rows, missing }).then((row) => e.source.postMessage(row))));
`,
  );
  put("forbidden.js", refused(reporting));
  for (const name of ["page", "inline", "worker", "service", "forbidden"]) put(`${name}.html`, page(`./${name}.js`));
}

/** What headers are to a page, to an extension's pages. */
const isolation = { cross_origin_embedder_policy: { value: "require-corp" }, cross_origin_opener_policy: { value: "same-origin" } };

/**
 * An extension of Manifest V3 that runs the probe where its policy lets it, and reports under `NAME-service`, `NAME-page`
 * and `NAME-sandbox`. `policy` is the content security policy of its pages and service worker; null for the default one,
 * which forbids WebAssembly but in sandboxed pages, so the others report the error.
 */
export function writeExtension(folder, name, origin, policy) {
  const out = join(folder, name);
  mkdirSync(out);
  for (const part of ["digits", "rows", "probe.js"]) cpSync(join(folder, part), join(out, part), { recursive: true });
  const manifest = {
    manifest_version: 3,
    name,
    version: "1.0",
    background: { service_worker: "service.js", type: "module" },
    host_permissions: [`${origin}/*`],
    sandbox: { pages: ["sandbox.html"] },
    ...(policy === null ? {} : { content_security_policy: { extension_pages: policy }, ...isolation }),
  };
  const put = (file, text) => writeFileSync(join(out, file), text);
  const report = (where) => `fetch("${origin}/heard/${name}-${where}", { method: "POST", body: JSON.stringify(row) });`;
  const script = (where) => (policy === null && where !== "sandbox" ? refused(report(where)) : probing(report(where)));
  put("manifest.json", JSON.stringify(manifest));
  put("service.js", `${script("service")}\nchrome.tabs.create({ url: "page.html" });\n`);
  put("page.js", script("page"));
  put("sandbox.js", script("sandbox"));
  put("page.html", `${page("./page.js")}<iframe src="sandbox.html"></iframe>\n`);
  put("sandbox.html", page("./sandbox.js"));
  return out;
}
