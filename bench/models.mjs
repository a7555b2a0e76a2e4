// The suite's models by family. Which of them are measured by default: the floating-point ones of fixed shapes, less vgg16,
// which takes long and tells nothing that the others do not.
const families = {
  CNN: [
    [
      "resnet50",
      "resnet18",
      "mobilenet_v2",
      "mobilenet_v3_small",
      "efficientnet_b0",
      "squeezenet1_1",
      "densenet121",
      "inception_v3",
      "shufflenet_v2",
    ],
    ["vgg16", "resnet18_qdq", "mobilenet_v2_qdq"],
  ],
  transformer: [
    ["minilm", "bert_base", "gpt2_6l", "vit_tiny", "llama_50m", "whisper_tiny_enc"],
    ["minilm_dyn", "gpt_kv", "minilm_int8"],
  ],
};

export const defaultModels = Object.values(families).flatMap(([usual]) => usual);
/** "CNN", "transformer", or "other". */
export const familyOf = (name) => Object.keys(families).find((f) => families[f].flat().includes(name)) ?? "other";

/** Measured beside the others with target `native`, and not counted in their mean. */
export const besideModels = ["vgg16"];
/** Most of their time goes into windows of 3×3. */
export const windowModels = ["resnet18", "resnet50", "vgg16"];
