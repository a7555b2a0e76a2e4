// What the generated pages have in common: their first line, tables, code.

export const generated = "<!-- Made by `npm run docs` from the compiler's own objects; do not edit. -->";
const cell = (text) => text.replaceAll("|", "\\|").replaceAll("\n", " ");

/** A table in Markdown; cells may hold inline Markdown. */
export function table(head, rows) {
  return [`| ${head.join(" | ")} |`, `|${head.map(() => "---|").join("")}`, ...rows.map((r) => `| ${r.map(cell).join(" | ")} |`)].join("\n");
}

export const code = (text) => `\`${text}\``;

/** A block of code in a language. */
export const block = (language, text) => `\`\`\`${language}\n${text.trimEnd()}\n\`\`\``;
