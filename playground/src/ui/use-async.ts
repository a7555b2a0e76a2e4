import { useEffect, useState } from "preact/hooks";

export type Async<T> =
  | { readonly kind: "waiting" }
  | { readonly kind: "done"; readonly value: T }
  | { readonly kind: "failed"; readonly error: unknown };

/** What a promise gives, anew whenever one of `inputs` changes. A result that comes too late is dropped, and its signal aborted. */
export function useAsync<T>(make: (signal: AbortSignal) => Promise<T>, inputs: readonly unknown[]): Async<T> {
  const [state, setState] = useState<Async<T>>({ kind: "waiting" });
  useEffect(() => {
    const control = new AbortController();
    setState({ kind: "waiting" });
    make(control.signal).then(
      (value) => {
        if (!control.signal.aborted) setState({ kind: "done", value });
      },
      (error: unknown) => {
        if (!control.signal.aborted) setState({ kind: "failed", error });
      },
    );
    return () => control.abort();
  }, inputs);
  return state;
}
