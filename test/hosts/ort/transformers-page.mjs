// On a page: a bundle in which onnxruntime-web and onnxruntime-common are tilewright/ort.
import * as transformers from "@huggingface/transformers";
import { transformersPrograms } from "./transformers-programs.mjs";

transformers.env.useBrowserCache = false;
let said;
try {
  said = await transformersPrograms(transformers, "/models/tiny/", {});
} catch (e) {
  said = { error: e?.stack ?? String(e) };
}
await fetch("/seen", { method: "POST", body: JSON.stringify(said) });
