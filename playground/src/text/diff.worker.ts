import { compareTexts } from "./diff.ts";

self.onmessage = (e: MessageEvent<{ before: string; after: string }>) => self.postMessage(compareTexts(e.data.before, e.data.after));
