import { batch } from "@preact/signals";
import { ExplorerClient } from "../../src/explorer/client.ts";
import type { ErrorInfo } from "../../src/explorer/types.ts";
import digits from "../../examples/digits/digits.onnx?url";
import { exploration, phase, show, tab } from "./state.ts";

/** Opening models: from files, or the example that comes with the page. */

const explorer = new ExplorerClient();
export const client = (): ExplorerClient => explorer;

let opening = new AbortController();

/** The class labels that belong to the example. */
export const exampleName = "digits.onnx";

export async function openExample(): Promise<void> {
  await open(exampleName, async () => {
    const response = await fetch(digits);
    if (!response.ok) throw new Error(`the example could not be loaded: ${response.status} ${response.statusText}`);
    return { bytes: new Uint8Array(await response.arrayBuffer()), files: {} };
  });
}

/** Opens the model among these files; the others are its external data. */
export async function openFiles(files: readonly File[]): Promise<void> {
  const model = files.find((f) => /\.(onnx|tw)$/i.test(f.name)) ?? files[0];
  if (model === undefined) return;
  await open(model.name, async () => ({
    bytes: new Uint8Array(await model.arrayBuffer()),
    files: Object.fromEntries(files.filter((f) => f !== model).map((f) => [f.name, f])),
  }));
}

/** Ends what is being opened, and shows again what was there before. */
export function cancel(): void {
  opening.abort();
}

let current: { readonly name: string; readonly read: () => Promise<Contents> } | null = null;

interface Contents {
  readonly bytes: Uint8Array;
  readonly files: Readonly<Record<string, Blob>>;
}

async function open(name: string, read: () => Promise<Contents>): Promise<void> {
  opening.abort();
  const control = new AbortController();
  opening = control;
  const before = current;
  batch(() => {
    phase.value = { kind: "working", name, progress: null };
    exploration.value = null;
  });
  try {
    const { bytes, files } = await read();
    const found = await explorer.open(
      bytes,
      { name: name.replace(/\.\w+$/, ""), files },
      {
        signal: control.signal,
        onProgress: (progress) => {
          if (opening === control) phase.value = { kind: "working", name, progress };
        },
      },
    );
    if (opening !== control) return;
    current = { name, read };
    batch(() => {
      tab.value = found.error === null && location.hash !== "" ? tab.value : "overview";
      show(name, found);
    });
  } catch (e) {
    if (opening !== control) return;
    if (!control.signal.aborted) {
      phase.value = { kind: "failed", name, error: errorInfo(e) };
      return;
    }
    // The worker was ended with the compilation: what was open before has to be opened again.
    phase.value = { kind: "empty" };
    current = null;
    if (before !== null) await open(before.name, before.read);
  }
}

/** An error as data. */
export function errorInfo(e: unknown): ErrorInfo {
  const { name = "Error", message = String(e), code = "", items = [] } = e as Partial<ErrorInfo>;
  return { name, message, code, items };
}
