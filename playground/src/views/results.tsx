import { useRef, useState } from "preact/hooks";
import { type TypedArray, parseDType } from "../../../src/base/dtype.ts";
import { readElement } from "../../../src/base/numeric.ts";
import { writeNpy } from "../../../src/data/npy.ts";
import type { RunView, TensorView } from "../../../src/explorer/types.ts";
import { count, significant } from "../format.ts";
import { exampleName } from "../open.ts";
import { phase } from "../state.ts";

/** How many values are shown of a tensor. */
const shown = 64;
/** At most this many elements are looked at for the summary. */
const mostForSummary = 4_000_000;

/** Outputs: a summary, the largest classes where it is a vector of them, the first values, and a way to save. */
export function Results(p: { readonly run: RunView }) {
  const [labels, setLabels] = useState<readonly string[] | null>(null);
  const input = useRef<HTMLInputElement>(null);
  const outputs = Object.entries(p.run.outputs);
  const isExample = phase.value.kind === "ready" && phase.value.name === exampleName;
  return (
    <>
      {outputs.map(([name, t]) => (
        <Output key={name} name={name} tensor={t} labels={labels ?? (isExample ? [..."0123456789"] : null)} />
      ))}
      {outputs.some(([, t]) => classesOf(t) > 1) ? (
        <div class="toolbar">
          <button type="button" class="button quiet" onClick={() => input.current?.click()}>
            Names of the classes…
          </button>
          <input
            ref={input}
            type="file"
            class="hidden"
            tabIndex={-1}
            accept=".txt,.json"
            aria-label="Names of the classes, one a line or a JSON list"
            onChange={async (e) => {
              const text = await e.currentTarget.files?.[0]?.text();
              if (text !== undefined) setLabels(parseLabels(text));
            }}
          />
          {labels === null ? null : <span class="muted">{count(labels.length)} names</span>}
        </div>
      ) : null}
    </>
  );
}

function parseLabels(text: string): string[] {
  try {
    const list: unknown = JSON.parse(text);
    if (Array.isArray(list)) return list.map(String);
  } catch {
    // One a line, then.
  }
  return text.trim().split(/\r?\n/);
}

/** How many classes a vector of scores has; 0 for what is no such vector. */
function classesOf(t: TensorView): number {
  const size = t.dims.at(-1) ?? 0;
  const rows = t.dims.slice(0, -1).reduce((a, b) => a * b, 1);
  return rows === 1 && size > 1 && size <= 100_000 && parseDType(t.dtype).isFloat ? size : 0;
}

function Output(p: { readonly name: string; readonly tensor: TensorView; readonly labels: readonly string[] | null }) {
  const { tensor: t, name } = p;
  const dtype = parseDType(t.dtype);
  const total = t.dims.reduce((a, b) => a * b, 1);
  const at = (i: number) => Number(readElement(dtype, t.data as TypedArray, i));
  const classes = classesOf(t);
  const save = () => {
    const url = URL.createObjectURL(new Blob([writeNpy(t.dtype, t.dims, t.data as TypedArray) as BlobPart]));
    const a = document.createElement("a");
    a.href = url;
    a.download = `${name.replace(/[^\w.-]/g, "_")}.npy`;
    a.click();
    URL.revokeObjectURL(url);
  };
  return (
    <div class="output">
      <div class="card-head">
        <h3>
          <span class="name">{name}</span>{" "}
          <span class="muted">
            {t.dtype} {t.dims.join(" × ")}
          </span>
        </h3>
        <button type="button" class="button quiet" onClick={save}>
          Save as .npy
        </button>
      </div>
      {classes > 0 ? <Top values={Array.from({ length: classes }, (_, i) => at(i))} labels={p.labels?.length === classes ? p.labels : null} /> : null}
      <p class="muted">{summary(Math.min(total, mostForSummary), at)}</p>
      <details open={classes === 0}>
        <summary>{total > shown ? `The first ${shown} of ${count(total)} values` : `${count(total)} values`}</summary>
        <p class="values">{Array.from({ length: Math.min(shown, total) }, (_, i) => short(at(i))).join("  ")}</p>
      </details>
    </div>
  );
}

const short = (v: number): string => (Number.isInteger(v) ? String(v) : v.toPrecision(5));

function summary(n: number, at: (i: number) => number): string {
  let [low, high, sum, bad] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 0];
  for (let i = 0; i < n; i++) {
    const v = at(i);
    if (!Number.isFinite(v)) {
      bad++;
      continue;
    }
    low = Math.min(low, v);
    high = Math.max(high, v);
    sum += v;
  }
  if (n === 0) return "It has no elements.";
  if (bad === n) return "None of its elements is finite.";
  return `From ${short(low)} to ${short(high)}, mean ${short(sum / (n - bad))}${bad === 0 ? "" : `; ${count(bad)} are not finite`}`;
}

/** The five largest scores, with their share after softmax where they are no probabilities already. */
function Top(p: { readonly values: readonly number[]; readonly labels: readonly string[] | null }) {
  const ranked = p.values
    .map((v, i) => ({ v, i }))
    .sort((a, b) => b.v - a.v)
    .slice(0, 5);
  const shares = probabilities(p.values);
  return (
    <ol class="bars top">
      {ranked.map(({ v, i }) => (
        <li key={i}>
          <span class="bar-name">{p.labels?.[i] ?? `class ${i}`}</span>
          <span class="bar-track">
            <span style={{ width: `${(shares[i] ?? 0) * 100}%` }} />
          </span>
          <span class="bar-value">
            {((shares[i] ?? 0) * 100).toFixed(1)} % <span class="muted">{significant(v)}</span>
          </span>
        </li>
      ))}
    </ol>
  );
}

function probabilities(values: readonly number[]): readonly number[] {
  const sum = values.reduce((a, b) => a + b, 0);
  if (values.every((v) => v >= 0 && v <= 1) && Math.abs(sum - 1) < 1e-3) return values;
  const high = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const powers = values.map((v) => Math.exp(v - high));
  const all = powers.reduce((a, b) => a + b, 0);
  return powers.map((v) => v / all);
}
