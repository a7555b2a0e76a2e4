import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { constant, numbers, onnx } from "./onnx.mjs";

/** Small transformers with weights drawn at random, in the files that @huggingface/transformers reads: nothing is downloaded. */

const hidden = 16;
const heads = 2;
const width = hidden / heads;
const positions = 32;
const words = [
  "[PAD]",
  "[UNK]",
  "[CLS]",
  "[SEP]",
  "the",
  "a",
  "cat",
  "dog",
  "film",
  "was",
  "is",
  "good",
  "bad",
  "very",
  "not",
  "and",
  ".",
  "!",
  "##s",
  "##ly",
];

const table = (rows, columns, seed) =>
  constant(
    "float32",
    [rows, columns],
    numbers(rows * columns, seed).map((v) => v / Math.sqrt(columns)),
  );
const vector = (n, value) => constant("float32", [n], new Float32Array(n).fill(value));
const ints = (...values) => constant("int64", [values.length], BigInt64Array.from(values, BigInt));
const number = (value) => constant("float32", [], Float32Array.of(value));

/** Nodes and constants of a model as they are added. */
class Graph {
  nodes = [];
  constants = { one: ints(1), two: ints(2), three: ints(3), zero: ints(0) };
  /** Adds a node; gives its output. */
  node(op, inputs, attributes = {}, output = `${op}_${this.nodes.length}`) {
    this.nodes.push([op, inputs, [output], attributes]);
    return output;
  }
  constant(value) {
    const name = `constant_${Object.keys(this.constants).length}`;
    this.constants[name] = value;
    return name;
  }
  linear(x, inputs, outputs, seed) {
    return this.node("Add", [this.node("MatMul", [x, this.constant(table(inputs, outputs, seed))]), this.constant(vector(outputs, 0.01))]);
  }
  norm(x) {
    return this.node("LayerNormalization", [x, this.constant(vector(hidden, 1)), this.constant(vector(hidden, 0))], { axis: 2 });
  }
  /** [batch, sequence, hidden] to [batch, heads, sequence, width]. */
  split(x) {
    return this.node("Transpose", [this.node("Reshape", [x, this.constant(ints(0, 0, heads, width))])], { perm: [0, 2, 1, 3] });
  }
  /** Attention of queries to keys; `bias` is added to its scores. */
  attention(q, k, v, bias) {
    const scores = this.node("Mul", [
      this.node("MatMul", [q, this.node("Transpose", [k], { perm: [0, 1, 3, 2] })]),
      this.constant(number(width ** -0.5)),
    ]);
    const weights = this.node("Softmax", [this.node("Add", [scores, bias])], { axis: 3 });
    const merged = this.node("Transpose", [this.node("MatMul", [weights, v])], { perm: [0, 2, 1, 3] });
    return this.node("Reshape", [merged, this.constant(ints(0, 0, hidden))]);
  }
  /** Two layers with an activation between, and what went in. */
  feedForward(x, seed) {
    const inner = this.node("Tanh", [this.linear(x, hidden, 2 * hidden, seed)]);
    return this.node("Add", [x, this.linear(inner, 2 * hidden, hidden, seed + 1)]);
  }
  /** 0 where a mask [batch, length] is 1, else a number far below 0; as [batch, 1, 1, length]. */
  maskBias(mask) {
    const float = this.node("Cast", [mask], { to: 1 });
    const far = this.node("Mul", [this.node("Sub", [this.constant(number(1)), float]), this.constant(number(-10000))]);
    return this.node("Unsqueeze", [far, this.constant(ints(1, 2))]);
  }
}

/** An encoder. `labels` 0: its last states, else the scores of so many classes. */
function encoder(labels) {
  const g = new Graph();
  const rows = g.node("Gather", [g.constant(table(words.length, hidden, 2)), "input_ids"]);
  const kinds = g.node("Gather", [g.constant(table(2, hidden, 4)), "token_type_ids"]);
  const length = g.node("Slice", [g.node("Shape", ["input_ids"]), "one", "two"]);
  const places = g.node("Slice", [g.constant(table(positions, hidden, 6)), "zero", length, "zero"]);
  const x = g.norm(g.node("Add", [g.node("Add", [rows, kinds]), places]));
  const [q, k, v] = [8, 10, 12].map((seed) => g.split(g.linear(x, hidden, hidden, seed)));
  const attended = g.linear(g.attention(q, k, v, g.maskBias("attention_mask")), hidden, hidden, 14);
  const y = g.norm(g.feedForward(g.norm(g.node("Add", [x, attended])), 16));
  const shape = ["int64", ["batch_size", "sequence_length"]];
  const inputs = { input_ids: shape, attention_mask: shape, token_type_ids: shape };
  if (labels === 0) {
    g.node("Identity", [y], {}, "last_hidden_state");
    return onnx({ ...g, inputs, outputs: { last_hidden_state: ["float32", ["batch_size", "sequence_length", hidden]] } });
  }
  const first = g.node("Gather", [y, g.constant(constant("int64", [], BigInt64Array.of(0n)))], { axis: 1 });
  const scores = g.node("MatMul", [first, g.constant(table(hidden, labels, 20))]);
  g.node("Mul", [scores, g.constant(number(4))], {}, "logits");
  return onnx({ ...g, inputs, outputs: { logits: ["float32", ["batch_size", labels]] } });
}

/** A decoder that is given the keys and values of what it has seen. */
function decoder() {
  const g = new Graph();
  const rows = g.node("Gather", [g.constant(table(words.length, hidden, 3)), "input_ids"]);
  const x = g.norm(g.node("Add", [rows, g.node("Gather", [g.constant(table(positions, hidden, 5)), "position_ids"])]));
  const [q, k, v] = [7, 9, 11].map((seed) => g.split(g.linear(x, hidden, hidden, seed)));
  const key = g.node("Concat", ["past_key_values.0.key", k], { axis: 2 }, "present.0.key");
  const value = g.node("Concat", ["past_key_values.0.value", v], { axis: 2 }, "present.0.value");
  // What is new sees what came before it: places [new, 1] and [1, total].
  const seen = g.node("Range", [
    g.constant(constant("int64", [], BigInt64Array.of(0n))),
    g.node("Squeeze", [g.node("Slice", [g.node("Shape", [key]), "two", "three"])]),
    g.constant(constant("int64", [], BigInt64Array.of(1n))),
  ]);
  const later = g.node("Greater", [g.node("Unsqueeze", [seen, "zero"]), g.node("Unsqueeze", ["position_ids", "two"])]);
  const causal = g.node("Unsqueeze", [g.node("Mul", [g.node("Cast", [later], { to: 1 }), g.constant(number(-10000))]), "one"]);
  const bias = g.node("Add", [causal, g.maskBias("attention_mask")]);
  const attended = g.linear(g.attention(q, key, value, bias), hidden, hidden, 13);
  const y = g.norm(g.feedForward(g.node("Add", [x, attended]), 15));
  g.node("Mul", [g.node("MatMul", [y, g.constant(table(hidden, words.length, 21))]), g.constant(number(3))], {}, "logits");
  const state = (length) => ["float32", ["batch_size", heads, length, width]];
  return onnx({
    ...g,
    inputs: {
      input_ids: ["int64", ["batch_size", "sequence_length"]],
      attention_mask: ["int64", ["batch_size", "total_sequence_length"]],
      position_ids: ["int64", ["batch_size", "sequence_length"]],
      "past_key_values.0.key": state("past_sequence_length"),
      "past_key_values.0.value": state("past_sequence_length"),
    },
    outputs: {
      logits: ["float32", ["batch_size", "sequence_length", words.length]],
      "present.0.key": state("total_sequence_length"),
      "present.0.value": state("total_sequence_length"),
    },
  });
}

const special = (content) => ({
  id: words.indexOf(content),
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});
const piece = (id) => ({ SpecialToken: { id, type_id: 0 } });
const sequence = (id, type_id = 0) => ({ Sequence: { id, type_id } });

function tokenizer(framed) {
  const marks = Object.fromEntries(["[CLS]", "[SEP]"].map((t) => [t, { id: t, ids: [words.indexOf(t)], tokens: [t] }]));
  const single = framed ? [piece("[CLS]"), sequence("A"), piece("[SEP]")] : [sequence("A")];
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: words.slice(0, 4).map(special),
    normalizer: { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: { type: "TemplateProcessing", single, pair: [...single, sequence("B", 1)], special_tokens: marks },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(words.map((w, i) => [w, i])),
    },
  };
}

/** Writes the models to folders of `folder`: `classifier`, `embedder`, `generator`. */
export function writeTinyModels(folder) {
  const bert = { model_type: "bert", vocab_size: words.length, hidden_size: hidden, num_hidden_layers: 1, num_attention_heads: heads };
  const write = (name, config, model, framed) => {
    const at = join(folder, name);
    mkdirSync(join(at, "onnx"), { recursive: true });
    const json = (file, value) => writeFileSync(join(at, file), JSON.stringify(value));
    json("config.json", config);
    json("tokenizer.json", tokenizer(framed));
    json("tokenizer_config.json", {
      tokenizer_class: "BertTokenizer",
      model_max_length: positions,
      unk_token: "[UNK]",
      pad_token: "[PAD]",
      cls_token: "[CLS]",
      sep_token: "[SEP]",
    });
    writeFileSync(join(at, "onnx", "model.onnx"), model);
    return at;
  };
  const labels = { id2label: { 0: "NEGATIVE", 1: "POSITIVE" }, label2id: { NEGATIVE: 0, POSITIVE: 1 } };
  write("classifier", { ...bert, ...labels, architectures: ["BertForSequenceClassification"] }, encoder(2), true);
  write("embedder", { ...bert, architectures: ["BertModel"] }, encoder(0), true);
  const gpt = {
    model_type: "gpt2",
    architectures: ["GPT2LMHeadModel"],
    vocab_size: words.length,
    n_embd: hidden,
    n_head: heads,
    n_layer: 1,
    n_positions: positions,
  };
  const at = write("generator", { ...gpt, bos_token_id: 2, eos_token_id: 3 }, decoder(), false);
  writeFileSync(join(at, "generation_config.json"), JSON.stringify({ bos_token_id: 2, eos_token_id: 3, pad_token_id: 0 }));
}
