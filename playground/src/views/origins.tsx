import { openNodes } from "../state.ts";

/** Names of nodes; each leads to its place in the graph. */
export function Origins(p: { readonly names: readonly string[] }) {
  if (p.names.length === 0) return <span class="muted">none</span>;
  return (
    <ul class="chips">
      {p.names.map((n) => (
        <li key={n}>
          <button type="button" class="chip" title="Show this node in the graph" onClick={() => openNodes([n])}>
            {n}
          </button>
        </li>
      ))}
    </ul>
  );
}
