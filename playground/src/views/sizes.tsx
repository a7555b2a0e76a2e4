import { exploration, sizes } from "../state.ts";

/** Fields for the sizes that are open, where there are any. */
export function Sizes() {
  const symbols = exploration.value?.model.symbols.filter((s) => s.name in sizes.value) ?? [];
  if (symbols.length === 0) return null;
  return (
    <fieldset class="toolbar">
      <legend class="hidden">Sizes that are open</legend>
      {symbols.map((s) => (
        <label key={s.name}>
          <span class="name">{s.name}</span>{" "}
          <input
            type="number"
            min={s.min}
            max={s.max ?? undefined}
            step={s.multiple}
            value={sizes.value[s.name] ?? s.min}
            onChange={(e) => {
              const { validity, valueAsNumber } = e.currentTarget;
              if (validity.valid && Number.isInteger(valueAsNumber)) sizes.value = { ...sizes.value, [s.name]: valueAsNumber };
              else e.currentTarget.reportValidity();
            }}
          />
        </label>
      ))}
    </fieldset>
  );
}
