import type { ComponentChildren, TargetedKeyboardEvent } from "preact";
import { useId, useRef } from "preact/hooks";

/** Where the arrow keys lead in a list of `n`; null for other keys. */
function moved(key: string, at: number, n: number, axis: "x" | "y"): number | null {
  const [back, on] = axis === "x" ? ["ArrowLeft", "ArrowRight"] : ["ArrowUp", "ArrowDown"];
  switch (key) {
    case back:
      return axis === "x" ? (at + n - 1) % n : Math.max(0, at - 1);
    case on:
      return axis === "x" ? (at + 1) % n : Math.min(n - 1, at + 1);
    case "Home":
      return 0;
    case "End":
      return n - 1;
    default:
      return null;
  }
}

export interface TabItem<T extends string> {
  readonly id: T;
  readonly label: string;
  readonly note?: string | undefined;
}

/** Tabs by the pattern of WAI-ARIA: one of them is in the tab order, arrows lead to the others. The panel has the id `panel-PREFIX`. */
export function Tabs<T extends string>(p: {
  readonly items: readonly TabItem<T>[];
  readonly selected: T;
  readonly onSelect: (id: T) => void;
  readonly label: string;
  readonly prefix: string;
  readonly small?: boolean;
}) {
  const list = useRef<HTMLDivElement>(null);
  const onKeyDown = (e: TargetedKeyboardEvent<HTMLDivElement>) => {
    const to = moved(
      e.key,
      p.items.findIndex((i) => i.id === p.selected),
      p.items.length,
      "x",
    );
    const item = to === null ? undefined : p.items[to];
    if (to === null || item === undefined) return;
    e.preventDefault();
    p.onSelect(item.id);
    (list.current?.children[to] as HTMLElement | undefined)?.focus();
  };
  return (
    <div ref={list} role="tablist" aria-label={p.label} class={p.small ? "tabs small" : "tabs"} onKeyDown={onKeyDown}>
      {p.items.map((i) => (
        <button
          type="button"
          role="tab"
          key={i.id}
          id={`tab-${p.prefix}-${i.id}`}
          aria-selected={i.id === p.selected}
          aria-controls={`panel-${p.prefix}`}
          tabIndex={i.id === p.selected ? 0 : -1}
          onClick={() => p.onSelect(i.id)}
        >
          {i.label}
          {i.note === undefined ? null : <span class="note"> {i.note}</span>}
        </button>
      ))}
    </div>
  );
}

/** A list of which one member is chosen; arrows lead through it. */
export function SelectList<T>(p: {
  readonly items: readonly T[];
  readonly selected: number;
  readonly onSelect: (index: number) => void;
  readonly label: string;
  readonly row: (item: T, index: number) => ComponentChildren;
  /** A heading to stand before an item, where there is one. */
  readonly heading?: (item: T, index: number) => string | null;
}) {
  const id = useId();
  const onKeyDown = (e: TargetedKeyboardEvent<HTMLDivElement>) => {
    const to = moved(e.key, p.selected, p.items.length, "y");
    if (to === null || p.items.length === 0) return;
    e.preventDefault();
    p.onSelect(to);
    requestAnimationFrame(() => document.getElementById(`${id}-${to}`)?.scrollIntoView({ block: "nearest" }));
  };
  return (
    <div
      class="select-list"
      role="listbox"
      aria-label={p.label}
      tabIndex={0}
      aria-activedescendant={p.items.length === 0 ? undefined : `${id}-${p.selected}`}
      onKeyDown={onKeyDown}
    >
      {p.items.map((item, i) => {
        const heading = p.heading?.(item, i) ?? null;
        return (
          <>
            {heading === null ? null : (
              <div class="list-heading" role="presentation">
                {heading}
              </div>
            )}
            {/* The list takes the keys: aria-activedescendant. */}
            {/* biome-ignore lint/a11y/useFocusableInteractive: see above */}
            {/* biome-ignore lint/a11y/useKeyWithClickEvents: see above */}
            <div role="option" id={`${id}-${i}`} aria-selected={i === p.selected} class="list-row" onClick={() => p.onSelect(i)}>
              {p.row(item, i)}
            </div>
          </>
        );
      })}
    </div>
  );
}

/** A choice between few things, as buttons in a row. */
export function Choice<T extends string>(p: {
  readonly label: string;
  readonly items: readonly { readonly id: T; readonly label: string }[];
  readonly selected: T;
  readonly onSelect: (id: T) => void;
}) {
  const name = useId();
  return (
    <fieldset class="choice">
      <legend class="hidden">{p.label}</legend>
      {p.items.map((i) => (
        <label key={i.id} class={i.id === p.selected ? "on" : ""}>
          <input type="radio" name={name} checked={i.id === p.selected} onChange={() => p.onSelect(i.id)} />
          {i.label}
        </label>
      ))}
    </fieldset>
  );
}

/** Names and values, aligned. */
export function Facts(p: { readonly rows: readonly (readonly [string, ComponentChildren] | null)[] }) {
  return (
    <dl class="facts">
      {p.rows.map((r) =>
        r === null ? null : (
          <div key={r[0]}>
            <dt>{r[0]}</dt>
            <dd>{r[1]}</dd>
          </div>
        ),
      )}
    </dl>
  );
}

/** What stands where there is nothing (yet). */
export function Empty(p: { readonly title: string; readonly children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{p.title}</p>
      {p.children}
    </div>
  );
}

export function Spinner(p: { readonly label: string }) {
  return (
    <p class="spinner" role="status">
      <span aria-hidden="true" /> {p.label}
    </p>
  );
}
