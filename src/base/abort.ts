/**
 * Lets an abort that waits in the event loop come through: for long work that has no other pause.
 * @throws the signal's reason, when aborted
 */
export async function pause(signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return;
  signal.throwIfAborted();
  await new Promise((resolve) => setTimeout(resolve));
  signal.throwIfAborted();
}
