// Serves the folder of artifacts to browsers, under a name for each set of headers, and hears what pages report.
import { createServer } from "node:http";
import { existsSync, readFileSync, statSync } from "node:fs";
import { extname, join, normalize } from "node:path";

const types = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
  ".json": "application/json",
};

const isolation = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
/** The first part of a path says with which headers the rest is served. */
const places = {
  plain: {},
  isolated: isolation,
  strict: {
    ...isolation,
    "content-security-policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; worker-src 'self'",
  },
  nowasm: { "content-security-policy": "default-src 'none'; script-src 'self'; connect-src 'self'; worker-src 'self'" },
};

/**
 * A server of `folder` on a free port; with `always` all of it has the headers of that name, and addresses have no such part.
 * `heard(name)` resolves with what is reported under the name.
 */
export async function startServer(folder, always) {
  const waiting = new Map();
  const heard = (name) => {
    if (!waiting.has(name)) {
      const entry = {};
      entry.promise = new Promise((done) => (entry.done = done));
      waiting.set(name, entry);
    }
    return waiting.get(name);
  };
  const server = createServer((request, response) => {
    const [, first, ...others] = decodeURIComponent(new URL(request.url, "http://here").pathname).split("/");
    const [place, rest] = always === undefined || first === "heard" ? [first, others] : [always, [first, ...others]];
    if (place === "heard") return hear(request, response, (text) => heard(rest.join("/")).done(text));
    const file = join(folder, normalize(`/${rest.join("/")}`));
    if (places[place] === undefined || !existsSync(file) || statSync(file).isDirectory()) return response.writeHead(404).end();
    const type = types[extname(file)] ?? "application/octet-stream";
    response.writeHead(200, { "content-type": type, "cache-control": "no-store", ...places[place] }).end(readFileSync(file));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    heard: (name) => heard(name).promise,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Reports come from extensions too, which have origins of their own. */
function hear(request, response, done) {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    response.writeHead(200, { "access-control-allow-origin": "*", "access-control-allow-headers": "*" }).end();
    if (request.method === "POST") done(Buffer.concat(pieces).toString());
  });
}
