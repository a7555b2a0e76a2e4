import v8 from "node:v8";

/**
 * Has V8 optimise JavaScript later than it would: a compilation is over before most of its functions repay that, and the
 * compiler's threads take more time than they save (Node 20: CPU time of resnet50's compilation 3.4 s, so 2.3 s). For
 * processes of their own only, the command line among them: a library sets no flags of its host. Other Nodes have other
 * budgets and need none of it.
 */
export function optimizeLate(): void {
  if (process.versions.node.startsWith("20.")) v8.setFlagsFromString("--interrupt-budget=800000");
}
