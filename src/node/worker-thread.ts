/** The script of Node's compiler thread. */
import path from "node:path";
import { parentPort } from "node:worker_threads";
import type { Job } from "../worker/protocol.ts";
import { serveCompile } from "../worker/thread/serve.ts";
import { readModel } from "./model-file.ts";

const readFile = (file: string) => ({ ...readModel(file), name: path.parse(file).name });

parentPort?.once("message", (job: Job) => {
  void serveCompile(job, (news, transfer) => parentPort?.postMessage(news, transfer as ArrayBuffer[]), readFile);
});
