/**
 * What people do with @huggingface/transformers, on the models of tiny.mjs; gives back what it saw.
 * @param options of all pipelines
 */
export async function transformersPrograms({ env, pipeline }, models, options) {
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.localModelPath = models;
  const all = { dtype: "fp32", ...options };
  const classify = await pipeline("text-classification", "classifier", all);
  const embed = await pipeline("feature-extraction", "embedder", all);
  const generate = await pipeline("text-generation", "generator", all);
  const embeddings = await embed(["the cat is good .", "dogs"], { pooling: "mean", normalize: true });
  const seen = {
    classes: await classify(["the film was very good !", "a bad film", "not a film"], { top_k: 2 }),
    embeddings: { dims: embeddings.dims, data: [...embeddings.data] },
    text: [
      await generate("the cat", { max_new_tokens: 12, do_sample: false }),
      await generate(["the film was", "a dog"], { max_new_tokens: 6, do_sample: false }),
    ],
  };
  for (const p of [classify, embed, generate]) await p.dispose();
  return seen;
}
