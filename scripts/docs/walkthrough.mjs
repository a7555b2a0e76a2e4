// What a small model looks like after each stage.
import { readFileSync } from "node:fs";
import { block, generated } from "./text.mjs";

/** docs/walkthrough.md, of examples/linear.tw */
export async function walkthroughPage(dist, root) {
  const { Reader } = await dist("base/text.js");
  const { parseGraph } = await dist("graph/parse.js");
  const { compileGraph } = await dist("compile.js");
  const { tensorPasses } = await dist("tensor/passes/pipeline.js");
  const source = readFileSync(new URL("examples/linear.tw", root), "utf8");
  const texts = new Map();
  compileGraph(parseGraph(new Reader(source, "examples/linear.tw")), { listeners: [(e) => texts.set(e.step, e.text())] });
  const text = (step) => {
    if (!texts.has(step)) throw new Error(`the walkthrough shows step '${step}', which the pipeline does not have`);
    return texts.get(step);
  };
  const schedules = text("choose-schedules")
    .trim()
    .split("\n")
    .map((line) => /^(.*?): (\{.*\})$/.exec(line));
  return [
    generated,
    "# One model on its way through the compiler",
    "`examples/linear.tw`, a linear layer with a bias and a rectifier, after each stage. `npx tilewright ir examples/linear.tw --stage graph|tensor|loop` prints the same; `--after PASS` shows any step in between. [The IRs](ir.md) tells what the texts mean.",
    "## Graph IR, as written",
    block("tw", source),
    "## Tensor IR, lowered",
    "Every op has become a kernel of one stage: named axes, reads through index expressions, a value to write. The product is a reduction: `acc` names its accumulator, what each step adds to it (`lift`) and how (`combine`).",
    block("tw", text("lower-graph")),
    "## Tensor IR, fused",
    "After the passes on tensor IR. The bias and the rectifier have become the end of the product; what is left are the stages that cost something.",
    block("tw", text(tensorPasses[tensorPasses.length - 1].name)),
    "## Schedules",
    "One JSON object for each kernel: its loops, outermost first. `size` is the number of points that one iteration covers, so `i0` with size 2 and then size 1 runs tiles of two rows. [The schedule language](schedules.md) has every field.",
    ...schedules.flatMap(([, name, schedule]) => [`Kernel \`${name}\`:`, block("json", schedule)]),
    "## Loop IR, built by the schedules",
    "Extents and strides have become parameters (`s1`, `n8`), so that other nodes of the same structure can share the kernel. `main` launches kernels; `weights` and `at.x` are places in memory.",
    block("tw", text("build-loops")),
    "## Loop IR, as the target gets it",
    "After the passes on loop IR and memory planning: vectors, registers, byte addresses in stepped pointers, fused multiply-adds.",
    block("tw", text("plan-memory")),
  ].join("\n\n");
}
