/// <reference lib="esnext.disposable" preserve="true" />
import { UserError } from "../base/errors.ts";

/** What models of all targets do alike when they are disposed of. */

export const disposedError = () => new UserError("disposed", "the model was disposed of; load it again");
/** For a run that was asked for before. */
export const disposedWhileQueued = () =>
  new UserError("disposed", "the model was disposed of before this run began: await the runs that were asked for, then call dispose()");

/** What a queue is told of a run: that it is done. */
export const nothing = () => {};

/** Resolves when all that was put into a queue, by then too, is done. */
export async function whenIdle(last: () => Promise<unknown>): Promise<void> {
  for (let seen: Promise<unknown> | null = null; seen !== last(); await seen) seen = last();
}

/** Adds the methods that `using` and `await using` call, in engines that know of them: others lack the symbols. */
export function addDisposal<T>(prototype: T, dispose: (x: T) => void, disposeLater?: (x: T) => Promise<void>): void {
  const known = Symbol as Partial<Pick<SymbolConstructor, "dispose" | "asyncDispose">>;
  const define = (key: symbol | undefined, value: (this: T) => unknown) => {
    if (key !== undefined) Object.defineProperty(prototype, key, { value, configurable: true, writable: true });
  };
  define(known.dispose, function () {
    dispose(this);
  });
  if (disposeLater === undefined) return;
  define(known.asyncDispose, function () {
    return disposeLater(this);
  });
}
