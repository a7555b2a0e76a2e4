import { existsSync, mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import axeCore from "axe-core";
import { type Browser, type Locator, type Page, chromium } from "playwright-core";
import { preview } from "vite";

const executablePath = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find((p) => existsSync(p));
/** Why nothing can be tried in a browser here; null where it can. */
export const browserMissing = executablePath === undefined ? "no Chromium is installed (Debian: apt-get install chromium)" : null;

const root = fileURLToPath(new URL("..", import.meta.url));
const shots = fileURLToPath(new URL("../../out/playground/", import.meta.url));

/** The built page on a server, and a browser. */
export interface Stage {
  readonly browser: Browser;
  readonly url: string;
  close(): Promise<void>;
}

export async function openStage(): Promise<Stage> {
  if (executablePath === undefined) throw new Error(browserMissing ?? "");
  mkdirSync(shots, { recursive: true });
  const server = await preview({ root, preview: { port: 0, host: "127.0.0.1" }, logLevel: "silent" });
  const url = server.resolvedUrls?.local[0];
  if (url === undefined) throw new Error("the preview server has no address");
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  return {
    browser,
    url,
    close: async () => {
      await browser.close();
      await server.close();
    },
  };
}

export interface PageOptions {
  readonly scheme?: "light" | "dark";
  readonly width?: number;
}

/** A page with nothing in it yet, and what it complained of so far: errors, warnings, failed requests. */
export async function openPage(stage: Stage, { scheme = "light", width = 1280 }: PageOptions = {}): Promise<{ page: Page; complaints: string[] }> {
  const page = await stage.browser.newPage({ viewport: { width, height: 800 }, colorScheme: scheme });
  const complaints: string[] = [];
  page.on("console", (m) => {
    if (m.type() === "error" || m.type() === "warning") complaints.push(m.text());
  });
  page.on("pageerror", (e) => complaints.push(e.message));
  page.on("requestfailed", (r) => complaints.push(`${r.url()}: ${r.failure()?.errorText}`));
  page.on("request", (r) => {
    if (!r.url().startsWith(stage.url) && !/^(blob|data):/.test(r.url())) complaints.push(`a request to another host: ${r.url()}`);
  });
  await page.goto(stage.url);
  return { page, complaints };
}

/** Opens a model, and waits until it was compiled. */
export async function openModel(page: Page, name: string, bytes: Uint8Array): Promise<void> {
  await page
    .getByLabel("Model file")
    .first()
    .setInputFiles({ name, mimeType: "application/octet-stream", buffer: Buffer.from(bytes) });
  await page.getByRole("tablist", { name: "Views of the model" }).waitFor();
}
export async function openDigits(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Try the digits example" }).click();
  await page.getByRole("tablist", { name: "Views of the model" }).waitFor();
}

export async function goTo(page: Page, tab: string): Promise<void> {
  await page.getByRole("tablist", { name: "Views of the model" }).getByRole("tab", { name: tab }).click();
}

/** The text of an element as it is seen, with spaces between its parts. */
export function shown(element: Locator): Promise<string> {
  // biome-ignore lint/performance/useDomNodeTextContent: textContent joins what stands apart
  return element.innerText();
}

/** Writes what the page looks like to out/playground. */
export async function shoot(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: `${shots}${name}.png` });
}

/** What axe finds wrong with the page (WCAG 2 A and AA, contrast among it), in words. */
export async function accessibilityProblems(page: Page): Promise<string[]> {
  await page.addScriptTag({ content: axeCore.source });
  return page.evaluate(async () => {
    const axe = (globalThis as unknown as { axe: typeof axeCore }).axe;
    const { violations } = await axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] });
    return violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.html} ${n.failureSummary ?? ""}`));
  });
}

/** Elements that stick out of the page at its side. */
export function overflowing(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width && document.querySelector("main")?.scrollWidth === document.querySelector("main")?.clientWidth)
      return [];
    return [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > width + 1).map((e) => e.outerHTML.slice(0, 120));
  });
}
