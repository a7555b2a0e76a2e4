/** The script of a page's compiler worker. */
import type { Job } from "../protocol.ts";
import { serveCompile } from "./serve.ts";

addEventListener("message", (e: MessageEvent<Partial<Job> | null>) => {
  if (e.data?.tilewright === "compile") void serveCompile(e.data as Job, (news, transfer) => postMessage(news, { transfer }));
});
