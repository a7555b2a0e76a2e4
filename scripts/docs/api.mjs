// The pages of the API: what typedoc reads from the sources, in the look of the other pages. One page for each entry point
// that package.json exports.
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Application } from "typedoc";
import { escapeHtml, highlight, renderComment } from "./markdown.mjs";
import { typeHtml } from "./types.mjs";

/** typedoc's kinds of what a module exports. */
const kinds = { 4: "namespace", 32: "variable", 64: "function", 128: "class", 256: "interface", 2097152: "type", 4194304: "reference" };
const order = ["function", "class", "variable", "interface", "type"];

/** The pages, as `render` of markdown.mjs gives them, with `ids` of their entries and `links` to others. */
export async function apiPages(root) {
  const modules = entryPoints(root);
  const project = await readProject(root, modules);
  // A module is called by its path without extension, an index file by its folder.
  const called = (file) => file.replace(/\.ts$/, "").replace(/\/index$/, "");
  const moduleOf = (m) => (modules.length === 1 ? project : project.children.find((c) => c.name === called(m.file)));
  const pages = modules.map((m) => ({ ...m, module: moduleOf(m) }));
  for (const p of pages) if (p.module === undefined) throw new Error(`typedoc has no module for ${p.file}`);
  const places = new Map();
  for (const p of pages) {
    p.entries = entriesOf(p.module);
    for (const c of p.entries) if (c.what !== "reference") places.set(c.id, [p.name, c.anchor]);
  }
  return pages.map((p) => pageOf(p, places));
}

/** What package.json exports, as sources; `node` where conditions differ, for that has all that the others have. */
function entryPoints(root) {
  const manifest = JSON.parse(readFileSync(new URL("package.json", root), "utf8"));
  const typesOf = (e) => (typeof e === "string" ? null : typeof e.types === "string" ? e.types : typesOf(e.node ?? e.default ?? ""));
  return Object.entries(manifest.exports)
    .map(([key, e]) => ({ key, types: typesOf(e) }))
    .filter(({ types }) => types !== null)
    .map(({ key, types }) => {
      const file = types.replace(/^\.\/dist\//, "src/").replace(/\.d\.ts$/, ".ts");
      const specifier = `${manifest.name}${key.slice(1)}`;
      return { file, specifier, name: key === "." ? "api" : `api-${key.slice(2).replaceAll("/", "-")}` };
    })
    .filter(({ file }) => existsSync(new URL(file, root)));
}

async function readProject(root, modules) {
  const app = await Application.bootstrap({
    entryPoints: modules.map((m) => fileURLToPath(new URL(m.file, root))),
    basePath: fileURLToPath(root),
    tsconfig: fileURLToPath(new URL("tsconfig.build.json", root)),
    compilerOptions: { incremental: false },
    excludePrivate: true,
    excludeInternal: true,
    excludeExternals: true,
    disableSources: true,
    skipErrorChecking: true,
    readme: "none",
    logLevel: "Error",
  });
  const project = await app.convert();
  if (project === undefined) throw new Error("typedoc read nothing");
  return app.serializer.projectToObject(project, fileURLToPath(root));
}

/** What a module or namespace exports, in the order of the page, each with an anchor of its own; a namespace's under its name. */
function entriesOf(module) {
  const flat = (children, prefix) =>
    (children ?? []).flatMap((c) =>
      kinds[c.kind] === "namespace" ? flat(c.children, `${prefix}${c.name}.`) : [{ ...c, name: prefix + c.name, what: kinds[c.kind] ?? "other" }],
    );
  const taken = new Set();
  return flat(module.children, "")
    .sort((a, b) => order.indexOf(a.what) - order.indexOf(b.what) || a.name.localeCompare(b.name))
    .map((c) => {
      // A value and a type may share a name.
      const anchor = taken.has(c.name) ? `${c.name}-${c.what}` : c.name;
      taken.add(c.name);
      return { ...c, anchor };
    });
}

function pageOf(p, places) {
  const links = [];
  const to = (id) => {
    const place = places.get(id);
    if (place === undefined) return null;
    links.push([place[0], place[1]]);
    return place[0] === p.name ? `#${place[1]}` : `${place[0]}.html#${place[1]}`;
  };
  const { entries } = p;
  const own = entries.filter((c) => c.what !== "reference");
  const again = entries.filter((c) => c.what === "reference");
  const title = `API: ${p.specifier}`;
  const comment = p.module.comment === undefined ? "" : commentHtml(p.module.comment);
  const html = [
    `<h1 id="top">${escapeHtml(title)}</h1>`,
    comment,
    `<pre class="code" data-language="ts" tabindex="0"><code>${highlight(`import { ${firstNames(own)} } from "${p.specifier}";`, "ts")}</code></pre>`,
    ...own.map((c) => entryHtml(c, to)),
    again.length === 0 ? "" : againHtml(again, to),
  ].join("\n");
  const headings = [{ level: 1, text: title, id: "top" }, ...own.map((c) => ({ level: 2, text: c.name, id: c.anchor }))];
  const sections = [{ id: "top", heading: title, text: [] }, ...own.map((c) => ({ id: c.anchor, heading: c.name, text: [textOf(c)] }))];
  return { ...p, title, html, headings, sections, links, ids: own.map((c) => c.anchor) };
}

/** Some values to import, for the page's first line. */
function firstNames(own) {
  const values = own.filter((c) => ["function", "class", "variable"].includes(c.what) && c.name !== "default" && !/^[A-Z_]+$/.test(c.name));
  return values
    .slice(0, 5)
    .map((c) => c.name)
    .join(", ");
}

/** What an entry point has from another one. */
function againHtml(again, to) {
  const items = again.map((c) => {
    const href = to(c.target);
    const name = `<code>${escapeHtml(c.name)}</code>`;
    return href === null ? name : `<a href="${href}">${name}</a>`;
  });
  return `<h2 id="also">Also exported</h2>\n<p>${items.join(" · ")}</p>`;
}

function entryHtml(c, to) {
  const head = `<h2 id="${c.anchor}"><code>${escapeHtml(c.name)}</code> <span class="kind">${c.what}</span></h2>`;
  switch (c.what) {
    case "function":
      return [head, signaturesHtml(c.name, c.signatures, to)].join("\n");
    case "variable":
      return [head, `<div class="signature">${escapeHtml(c.name)}: ${typeHtml(c.type, to)}</div>`, commentHtml(c.comment)].join("\n");
    case "type":
      return [
        head,
        commentHtml(c.comment),
        `<div class="signature">type ${escapeHtml(c.name)}${typeParameters(c, to)} = ${typeHtml(c.type, to)}</div>`,
      ].join("\n");
    case "class":
    case "interface":
      return [head, commentHtml(c.comment), heritage(c, to), membersHtml(c.children ?? [], to)].join("\n");
    default:
      return head;
  }
}

function heritage(c, to) {
  const list = c.extendedTypes ?? [];
  return list.length === 0 ? "" : `<p>Extends ${list.map((t) => `<code>${typeHtml(t, to)}</code>`).join(", ")}.</p>`;
}

function typeParameters(c, to) {
  const list = c.typeParameters ?? [];
  const one = (t) =>
    `${escapeHtml(t.name)}${t.type === undefined ? "" : ` extends ${typeHtml(t.type, to)}`}${t.default === undefined ? "" : ` = ${typeHtml(t.default, to)}`}`;
  return list.length === 0 ? "" : `&lt;${list.map(one).join(", ")}&gt;`;
}

function signatureText(name, s, to) {
  const parameters = (s.parameters ?? []).map((p) => {
    const optional = p.flags?.isOptional || p.defaultValue !== undefined ? "?" : "";
    return `${p.flags?.isRest ? "..." : ""}${escapeHtml(p.name)}${optional}: ${typeHtml(p.type, to)}`;
  });
  return `${escapeHtml(name)}${typeParameters(s, to)}(${parameters.join(", ")}): ${typeHtml(s.type, to)}`;
}

/** The signatures of a function; what is said of several is said once, after them. */
function signaturesHtml(name, signatures, to) {
  const comments = signatures.map((s) => commentHtml(s.comment));
  return signatures
    .map((s, i) => `<div class="signature">${signatureText(name, s, to)}</div>\n${comments[i] === comments[i + 1] ? "" : comments[i]}`)
    .join("\n");
}

function membersHtml(children, to) {
  const own = children.filter((c) => c.inheritedFrom === undefined);
  return own.length === 0 ? "" : `<dl class="members">\n${own.map((c) => memberHtml(c, to)).join("\n")}\n</dl>`;
}

function memberHtml(c, to) {
  if (c.signatures !== undefined) {
    const shown = c.name === "constructor" ? c.signatures.map((s) => ({ ...s, name: "new" })) : c.signatures.map((s) => ({ ...s, name: c.name }));
    return shown.map((s) => `<dt>${signatureText(s.name, s, to)}</dt>\n<dd>${commentHtml(s.comment)}</dd>`).join("\n");
  }
  const type = c.type ?? c.getSignature?.type;
  const flags = [c.flags?.isStatic ? "static " : "", c.flags?.isReadonly || c.getSignature !== undefined ? "readonly " : ""].join("");
  const text = `${flags}${escapeHtml(c.name)}${c.flags?.isOptional ? "?" : ""}: ${type === undefined ? "unknown" : typeHtml(type, to)}`;
  return `<dt>${text}</dt>\n<dd>${commentHtml(c.comment ?? c.getSignature?.comment)}</dd>`;
}

const partsText = (parts) => (parts ?? []).map((p) => p.text).join("");

function commentHtml(comment) {
  if (comment === undefined) return "";
  const tags = (comment.blockTags ?? []).map((t) => `${t.tag === "@throws" ? "Throws" : t.tag.slice(1)}: ${partsText(t.content).trim()}`);
  return renderComment([partsText(comment.summary), ...tags].join("\n\n"));
}

/** All words of an entry, for the search. */
function textOf(c) {
  const own = [c.name, partsText(c.comment?.summary), ...(c.signatures ?? []).map((s) => partsText(s.comment?.summary))];
  return [...own, ...(c.children ?? []).map(textOf)].join(" ");
}
