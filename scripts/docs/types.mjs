// A type, as typedoc has it, as HTML with links to what the pages describe.
import { escapeHtml } from "./markdown.mjs";

/** `to(id)` gives the address of a declaration, or null. */
export function typeHtml(type, to) {
  const inner = (t) => typeHtml(t, to);
  const wrapped = (t) =>
    ["union", "intersection", "conditional", "typeOperator", "reflection"].includes(t.type) && !isObject(t) ? `(${inner(t)})` : inner(t);
  switch (type?.type) {
    case undefined:
      return "unknown";
    case "intrinsic":
    case "unknown":
      return escapeHtml(type.name);
    case "literal":
      return escapeHtml(
        typeof type.value === "object" && type.value !== null ? `${type.value.negative ? "-" : ""}${type.value.value}n` : JSON.stringify(type.value),
      );
    case "reference":
      return referenceHtml(type, to);
    case "array":
      return `${wrapped(type.elementType)}[]`;
    case "tuple":
      return `[${(type.elements ?? []).map(inner).join(", ")}]`;
    case "namedTupleMember":
      return `${escapeHtml(type.name)}${type.isOptional ? "?" : ""}: ${inner(type.element)}`;
    case "optional":
      return `${inner(type.elementType)}?`;
    case "rest":
      return `...${wrapped(type.elementType)}`;
    case "union":
      return type.types.map((t) => (t.type === "reflection" && !isObject(t) ? `(${inner(t)})` : inner(t))).join(" | ");
    case "intersection":
      return type.types.map(wrapped).join(" &amp; ");
    case "typeOperator":
      return `${type.operator} ${inner(type.target)}`;
    case "indexedAccess":
      return `${inner(type.objectType)}[${inner(type.indexType)}]`;
    case "query":
      return `typeof ${inner(type.queryType)}`;
    case "predicate":
      return `${type.asserts ? "asserts " : ""}${escapeHtml(type.name)}${type.targetType === undefined ? "" : ` is ${inner(type.targetType)}`}`;
    case "conditional":
      return `${inner(type.checkType)} extends ${inner(type.extendsType)} ? ${inner(type.trueType)} : ${inner(type.falseType)}`;
    case "mapped":
      return `{ [${escapeHtml(type.parameter)} in ${inner(type.parameterType)}]: ${inner(type.templateType)} }`;
    case "templateLiteral":
      return `\`${escapeHtml(type.head)}${type.tail.map(([t, text]) => `\${${inner(t)}}${escapeHtml(text)}`).join("")}\``;
    case "inferred":
      return `infer ${escapeHtml(type.name)}`;
    case "reflection":
      return declarationHtml(type.declaration, to);
    default:
      throw new Error(`types.mjs knows no type of kind '${type.type}'`);
  }
}

const isObject = (t) => t.type === "reflection" && t.declaration.signatures === undefined;

function referenceHtml(type, to) {
  const href = typeof type.target === "number" ? to(type.target) : null;
  const name = escapeHtml(type.name);
  const args = (type.typeArguments ?? []).map((t) => typeHtml(t, to));
  return `${href === null ? name : `<a href="${href}">${name}</a>`}${args.length === 0 ? "" : `&lt;${args.join(", ")}&gt;`}`;
}

/** A function type or an object type. */
function declarationHtml(d, to) {
  const parameters = (s) =>
    (s.parameters ?? []).map((p) => `${escapeHtml(p.name)}${p.flags?.isOptional ? "?" : ""}: ${typeHtml(p.type, to)}`).join(", ");
  const [signature] = d.signatures ?? [];
  if (signature !== undefined && d.children === undefined) return `(${parameters(signature)}) =&gt; ${typeHtml(signature.type, to)}`;
  const indexes = (d.indexSignatures ?? []).map((s) => `[${parameters(s)}]: ${typeHtml(s.type, to)}`);
  const children = (d.children ?? []).map((c) => {
    const type = c.type ?? c.getSignature?.type;
    const text = c.signatures === undefined ? typeHtml(type, to) : `(${parameters(c.signatures[0])}) =&gt; ${typeHtml(c.signatures[0].type, to)}`;
    return `${c.flags?.isReadonly ? "readonly " : ""}${escapeHtml(c.name)}${c.flags?.isOptional ? "?" : ""}: ${text}`;
  });
  const all = [...indexes, ...children];
  return all.length === 0 ? "{}" : `{ ${all.join("; ")} }`;
}
