// The pages of the site: which Markdown files, in which order, under which headings of the sidebar.
import { existsSync, readdirSync } from "node:fs";

/** Groups of pages: the file in the repository, and the name of its page where it is not the file's own. */
const groups = [
  ["Start", ["README.md:index", "docs/getting-started.md", "docs/models.md"]],
  [
    "Guides",
    [
      "docs/browser.md",
      "docs/worker.md",
      "docs/hosts.md",
      "docs/vite.md",
      "docs/ort.md",
      "docs/threads.md",
      "docs/shapes.md",
      "docs/memory.md",
      "docs/quantized.md",
      "docs/c.md",
      "docs/tuning.md",
      "docs/errors.md",
    ],
  ],
  ["Reference", ["docs/cli.md", "docs/onnx.md", "docs/coverage.md", "CHANGELOG.md:changelog"]],
  [
    "Inside the compiler",
    [
      "ARCHITECTURE.md:architecture",
      "docs/walkthrough.md",
      "docs/ir.md",
      "docs/schedules.md",
      "docs/ops.md",
      "docs/scalar-ops.md",
      "docs/passes.md",
      "docs/add-op.md",
      "docs/add-pass.md",
      "docs/add-target.md",
      "bench/README.md:benchmark",
      "examples/digits/README.md:digits",
    ],
  ],
];

/**
 * The pages that there are: `{ file, name, group }`, in the order of the sidebar.
 * Every page of docs/ must be in the list above, and every file of the list must exist.
 */
export function contents(root) {
  const pages = groups.flatMap(([group, files]) =>
    files.map((entry) => {
      const [file, name = file.slice(file.lastIndexOf("/") + 1, -".md".length)] = entry.split(":");
      return { file, name, group };
    }),
  );
  const listed = new Set(pages.map((p) => p.file));
  const missing = pages.filter((p) => !existsSync(new URL(p.file, root))).map((p) => `${p.file} does not exist`);
  const unlisted = readdirSync(new URL("docs/", root))
    .filter((f) => f.endsWith(".md") && !listed.has(`docs/${f}`))
    .map((f) => `docs/${f} is not in scripts/docs/contents.mjs`);
  const twice = pages.filter((p, i) => pages.some((q, k) => k < i && q.name === p.name)).map((p) => `${p.file} is in the list twice`);
  return { pages: pages.filter((p) => existsSync(new URL(p.file, root))), problems: [...missing, ...unlisted, ...twice] };
}
