import { readFileSync } from "node:fs";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type PageOptions,
  type Stage,
  accessibilityProblems,
  browserMissing,
  goTo,
  openDigits,
  openModel,
  openPage,
  openStage,
  overflowing,
  shoot,
  shown,
} from "./browser.ts";
import { largeGraph, onnxModel, rows } from "./models.ts";

if (browserMissing !== null) console.log(`The page is not tried in a browser: ${browserMissing}`);

const text = (source: string) => new TextEncoder().encode(source);
const exampleFile = (name: string) => readFileSync(new URL(`../../examples/${name}`, import.meta.url));

describe.skipIf(browserMissing !== null)("the playground in Chromium", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await openStage();
  });
  afterAll(() => stage?.close());

  /** A page that was told to do something must not have complained. */
  async function withPage(options: PageOptions, use: (page: Page) => Promise<void>): Promise<void> {
    const { page, complaints } = await openPage(stage, options);
    await use(page);
    expect(complaints).toEqual([]);
    await page.close();
  }

  const tabs = ["Overview", "Graph", "Compiler steps", "Kernels", "Timing", "Memory", "Run"];
  for (const scheme of ["light", "dark"] as const)
    for (const width of [1280, 800])
      test(`every view at ${width} pixels, ${scheme}: nothing sticks out, and names, roles and contrast are right`, () =>
        withPage({ scheme, width }, async (page) => {
          const check = async (name: string) => {
            await shoot(page, `${name}-${scheme}-${width}`);
            // What axe looks at does not depend on the width.
            if (width === 1280) expect({ name, problems: await accessibilityProblems(page) }).toEqual({ name, problems: [] });
            expect({ name, outside: await overflowing(page) }).toEqual({ name, outside: [] });
          };
          await check("welcome");
          await openDigits(page);
          for (const tab of tabs) {
            await goTo(page, tab);
            if (tab === "Timing") {
              await page.getByRole("button", { name: "Measure" }).click();
              await page.getByRole("heading", { name: "Time by kernel" }).waitFor();
            }
            if (tab === "Run") {
              await page.getByRole("button", { name: "Picture 7-a.png" }).click();
              await page.getByRole("heading", { name: "Outputs" }).waitFor();
            }
            if (tab === "Graph") await page.locator(".graph canvas").waitFor();
            if (tab === "Compiler steps" || tab === "Kernels") await page.locator(".cm-content").waitFor();
            await check(tab.toLowerCase().replace(" ", "-"));
          }
        }));

  test("the example is recognised: pictures, drawing, files, random input", () =>
    withPage({}, async (page) => {
      await openDigits(page);
      await goTo(page, "Run");
      const first = page.locator(".top li").first();
      for (const digit of ["3", "8"]) {
        await page.getByRole("button", { name: `Picture ${digit}-a.png` }).click();
        await expect.poll(() => shown(first)).toMatch(new RegExp(`^${digit}\\s`));
      }
      const file = page.getByLabel("File for image");
      await file.setInputFiles({ name: "image.json", mimeType: "application/json", buffer: Buffer.from(JSON.stringify(Array(64).fill(0.5))) });
      await expect.poll(() => shown(page.locator(".output"))).toContain("From");
      await file.setInputFiles({ name: "image.json", mimeType: "application/json", buffer: Buffer.from("[1, 2]") });
      await page.getByText("holds 2 numbers, [1, 1, 8, 8] takes 64").waitFor();
      await page.getByText("Draw", { exact: true }).click();
      const pad = page.getByRole("img", { name: /Drawing pad/ });
      const box = await pad.boundingBox();
      if (box === null) throw new Error("the pad is not there");
      await page.mouse.move(box.x + box.width / 2, box.y + 30);
      await page.mouse.down();
      await page.mouse.move(box.x + box.width / 2, box.y + box.height - 30, { steps: 8 });
      await page.mouse.up();
      await expect.poll(() => shown(first)).toMatch(/^1\s/);
      await page.getByText("Random", { exact: true }).click();
      await page.getByRole("button", { name: "Run", exact: true }).click();
      await expect.poll(() => shown(first)).not.toMatch(/^1\s/);
    }));

  test("keys alone: tabs, steps, the graph, and from a node to its kernel", () =>
    withPage({}, async (page) => {
      await openDigits(page);
      const tab = (name: string) => page.getByRole("tablist", { name: "Views of the model" }).getByRole("tab", { name });
      await tab("Overview").focus();
      await page.keyboard.press("ArrowRight");
      expect(await tab("Graph").getAttribute("aria-selected")).toBe("true");
      const canvas = page.locator(".graph canvas");
      await canvas.waitFor();
      await canvas.focus();
      const side = page.locator(".graph aside");
      const seen: string[] = [];
      for (const key of ["Home", "ArrowDown", "ArrowDown", "ArrowUp"]) {
        await page.keyboard.press(key);
        seen.push(await shown(side.getByRole("heading", { level: 2 })));
      }
      expect(seen).toEqual(["image", "convolution", "add", "convolution"]);
      await page.keyboard.press("Enter");
      expect(await tab("Kernels").getAttribute("aria-selected")).toBe("true");
      expect(await shown(page.locator(".chips").first())).toContain("/features/features.0/Conv");
      await tab("Kernels").focus();
      await page.keyboard.press("ArrowLeft");
      const steps = page.getByRole("listbox", { name: "Steps of the compiler" });
      await steps.focus();
      await page.keyboard.press("End");
      expect(await shown(steps.getByRole("option", { selected: true }))).toContain("emit-wasm");
    }));

  test("steps tell what changed; kernels have their texts, and lead back to the model", () =>
    withPage({}, async (page) => {
      await openDigits(page);
      await goTo(page, "Compiler steps");
      await page
        .getByRole("option", { name: /^common-subexpressions/ })
        .first()
        .click();
      await page.locator(".line-added").first().waitFor();
      await page.locator(".line-removed").first().waitFor();
      await page.getByText("Whole text").click();
      await expect.poll(() => shown(page.locator(".cm-content"))).toContain("graph @digits");
      expect(await page.locator(".line-added").count()).toBe(0);
      await goTo(page, "Kernels");
      const contains: Record<string, string> = { Schedule: '"stages"', Loops: "kernel @", WebAssembly: "local.get", Launches: "Reads" };
      for (const [name, words] of Object.entries(contains)) {
        await page.getByRole("tab", { name }).click();
        await expect.poll(() => shown(page.locator("#panel-kernel"))).toContain(words);
      }
      await page.getByRole("button", { name: "/features/features.3/Conv" }).first().click();
      await expect.poll(() => shown(page.locator(".graph aside"))).toContain("/features/features.3/Conv");
    }));

  test("IR text with an open size: the memory plan and the run follow the size", () =>
    withPage({}, async (page) => {
      await openModel(page, "rows.tw", text(rows));
      await goTo(page, "Memory");
      const size = page.locator(".memory input[type=number]");
      const told = () => shown(page.locator(".memory dd").first());
      await size.fill("10");
      await size.blur();
      await expect.poll(told).toContain("kB");
      const small = await told();
      await size.fill("1000");
      await size.blur();
      await expect.poll(told).not.toBe(small);
      await goTo(page, "Run");
      await page.locator(".run .toolbar input[type=number]").first().fill("12");
      await page.getByRole("button", { name: "Run", exact: true }).click();
      await expect.poll(() => shown(page.locator(".output"))).toContain("f32 12 × 64");
    }));

  test("what cannot be read or compiled is said in words, and another model can be opened", () =>
    withPage({}, async (page) => {
      const input = page.getByLabel("Model file").first();
      await input.setInputFiles({ name: "broken.onnx", mimeType: "", buffer: Buffer.from("this is no model") });
      await page.getByRole("alert").waitFor();
      await shoot(page, "error-broken");
      await input.setInputFiles({
        name: "wrong.tw",
        mimeType: "",
        buffer: Buffer.from("graph @wrong {\n  input %x: f32[4]\n  %y: f32[4] = nonsense(%x)\n  output %y\n}\n"),
      });
      await expect.poll(() => shown(page.getByRole("alert"))).toContain("nonsense");
      await openModel(page, "digits.onnx", exampleFile("digits/digits.onnx"));
      await expect.poll(() => shown(page.locator(".overview"))).toContain("15,338");
    }));

  test("all nodes that cannot be compiled are listed", () =>
    withPage({}, async (page) => {
      const nodes = [
        { op: "Relu", name: "first" },
        { op: "Mystery", name: "second" },
        { op: "Enigma", name: "third" },
        { op: "Mystery", name: "fourth" },
      ];
      await page
        .getByLabel("Model file")
        .first()
        .setInputFiles({ name: "odd.onnx", mimeType: "", buffer: Buffer.from(onnxModel(nodes)) });
      const alert = page.getByRole("alert");
      await alert.waitFor();
      await shoot(page, "error-unsupported");
      const words = await shown(alert);
      for (const name of ["Mystery", "Enigma", "second", "third", "fourth"]) expect(words).toContain(name);
      expect(words).not.toContain("first");
      expect(await accessibilityProblems(page)).toEqual([]);
    }));

  test("a graph of thousands of nodes is laid out beside the page, and only what is in view is drawn", () =>
    withPage({}, async (page) => {
      await openModel(page, "large.tw", text(largeGraph(1000)));
      await goTo(page, "Graph");
      await page.locator(".graph canvas").waitFor();
      expect(await shown(page.locator(".graph .toolbar"))).toMatch(/[3-9],\d\d\d nodes/);
      await shoot(page, "graph-large-top");
      const frames = await page.evaluate(framesWhilePanning);
      console.log(
        `A graph of thousands of nodes: ${frames.whole.toFixed(1)} ms a frame with all of it in view, ${frames.near.toFixed(1)} ms close up (medians, of drawing and all else)`,
      );
      await page.getByRole("button", { name: "Fit" }).click();
      await page.waitForTimeout(100);
      await shoot(page, "graph-large");
      await page.getByLabel(/Find a node/).fill("tanh");
      await page.keyboard.press("Enter");
      await expect.poll(() => shown(page.locator(".graph aside h2"))).toBe("tanh");
    }));

  test("compiling can be cancelled, after which the model before is there again", () =>
    withPage({}, async (page) => {
      await openDigits(page);
      await page
        .getByLabel("Model file")
        .first()
        .setInputFiles({ name: "chain.tw", mimeType: "", buffer: Buffer.from(largeGraph(400)) });
      await page.getByRole("button", { name: "Cancel" }).click();
      await page.getByRole("tablist", { name: "Views of the model" }).waitFor();
      expect(await shown(page.locator(".file-name"))).toBe("digits.onnx");
    }));
});

/** Pans the graph for some frames, all of it in view and then close up: the median time between frames. */
async function framesWhilePanning(): Promise<{ whole: number; near: number }> {
  const canvas = document.querySelector<HTMLCanvasElement>(".graph canvas");
  if (canvas === null) throw new Error("there is no canvas");
  const pan = async () => {
    const times: number[] = [];
    let last = performance.now();
    for (let i = 0; i < 40; i++) {
      canvas.dispatchEvent(new WheelEvent("wheel", { deltaX: i % 8 < 4 ? 12 : -12, deltaY: i % 16 < 8 ? 30 : -30 }));
      await new Promise((done) => requestAnimationFrame(done));
      times.push(performance.now() - last);
      last = performance.now();
    }
    return times.sort((a, b) => a - b)[20] as number;
  };
  const press = (key: string) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key }));
  press("0");
  const whole = await pan();
  for (let i = 0; i < 30; i++) press("+");
  return { whole, near: await pan() };
}
