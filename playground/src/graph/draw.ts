import type { Layout } from "./layout.ts";
import type { Family, Scene } from "./scene.ts";

/** Where the drawing is seen from: a point of it at the canvas' upper left corner, and pixels per unit. */
export interface Camera {
  readonly x: number;
  readonly y: number;
  readonly scale: number;
}

/** Colours, read from the style sheet. */
export interface Palette {
  readonly text: string;
  readonly muted: string;
  readonly line: string;
  readonly accent: string;
  readonly surface: string;
  readonly picked: string;
  readonly fills: Readonly<Record<Family, string>>;
  readonly strokes: Readonly<Record<Family, string>>;
  readonly font: string;
}

export interface View {
  readonly camera: Camera;
  /** Size of the canvas in CSS pixels, and device pixels per CSS pixel. */
  readonly width: number;
  readonly height: number;
  readonly ratio: number;
  readonly palette: Palette;
  readonly selected: number | null;
  readonly hovered: number | null;
  readonly picked: ReadonlySet<number>;
}

/** Boxes and edges by horizontal bands, so that drawing looks only at what is in view. */
export interface Index {
  readonly boxes: readonly (readonly number[])[];
  readonly edges: readonly (readonly number[])[];
  readonly trunks: readonly (readonly number[])[];
}
const band = 400;

export function indexOf(scene: Scene, layout: Layout): Index {
  const bands = Math.max(1, Math.ceil(layout.height / band) + 1);
  const make = () => Array.from({ length: bands }, (): number[] => []);
  const [boxes, edges, trunks] = [make(), make(), make()];
  const put = (into: number[][], i: number, top: number, bottom: number) => {
    for (let b = Math.max(0, Math.floor(top / band)); b <= Math.min(bands - 1, Math.floor(bottom / band)); b++) into[b]?.push(i);
  };
  scene.boxes.forEach((_, i) => {
    const [y, h] = [layout.y[i] ?? 0, (scene.input.height[i] ?? 0) / 2];
    put(boxes, i, y - h, y + h);
  });
  const putLine = (into: number[][], i: number, points: Float32Array) => {
    let [top, bottom] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (let k = 1; k < points.length; k += 2) {
      top = Math.min(top, points[k] ?? 0);
      bottom = Math.max(bottom, points[k] ?? 0);
    }
    put(into, i, top, bottom);
  };
  layout.points.forEach((points, i) => putLine(edges, i, points));
  layout.trunks.forEach((t, i) => putLine(trunks, i, t.points));
  return { boxes, edges, trunks };
}

/** What lies in the bands that are in view, each once. */
function inView(lists: readonly (readonly number[])[], v: View): Iterable<number> {
  const first = Math.max(0, Math.floor(v.camera.y / band));
  const last = Math.floor((v.camera.y + v.height / v.camera.scale) / band);
  const found = new Set<number>();
  for (let b = first; b <= last; b++) for (const i of lists[b] ?? []) found.add(i);
  return found;
}

/** The box at a point of the drawing. */
export function boxAt(scene: Scene, layout: Layout, index: Index, x: number, y: number): number | null {
  for (const i of index.boxes[Math.max(0, Math.floor(y / band))] ?? []) {
    const [w, h] = [(scene.input.width[i] ?? 0) / 2, (scene.input.height[i] ?? 0) / 2];
    if (Math.abs((layout.x[i] ?? 0) - x) <= w && Math.abs((layout.y[i] ?? 0) - y) <= h) return i;
  }
  return null;
}

/** Draws what is in view; with less detail where it would be too small to see. */
export function draw(c: CanvasRenderingContext2D, scene: Scene, layout: Layout, index: Index, v: View): void {
  const { camera, ratio } = v;
  const k = camera.scale * ratio;
  c.setTransform(1, 0, 0, 1, 0, 0);
  c.clearRect(0, 0, c.canvas.width, c.canvas.height);
  c.setTransform(k, 0, 0, k, -camera.x * k, -camera.y * k);
  drawEdges(c, scene, layout, index, v);
  drawBoxes(c, scene, layout, index, v);
}

function drawEdges(c: CanvasRenderingContext2D, scene: Scene, layout: Layout, index: Index, v: View): void {
  const { scale } = v.camera;
  const near = v.selected;
  const plain = new Path2D();
  const dashed = new Path2D();
  const strong = new Path2D();
  const arrows: [number, number][] = [];
  for (const i of inView(index.edges, v)) {
    const points = layout.points[i];
    const e = scene.edges[i];
    if (points === undefined || e === undefined || points.length < 4) continue;
    const touches = near !== null && (e.from === near || e.to === near);
    const path = touches ? strong : e.body ? dashed : plain;
    const line = ends(points, e.from, e.to, scene, layout);
    trace(path, line, scale > 0.12);
    arrows.push([line[line.length - 2] ?? 0, line[line.length - 1] ?? 0]);
  }
  for (const i of inView(index.trunks, v)) {
    const t = layout.trunks[i];
    if (t !== undefined) trace(t.from === near ? strong : plain, fromBelow(t.points, t.from, scene, layout), scale > 0.12);
  }
  c.lineWidth = Math.max(1.1, 0.7 / scale);
  c.strokeStyle = v.palette.line;
  c.stroke(plain);
  c.setLineDash([6, 5]);
  c.stroke(dashed);
  c.setLineDash([]);
  if (scale > 0.25) {
    c.fillStyle = v.palette.line;
    c.beginPath();
    for (const [x, y] of arrows) {
      c.moveTo(x, y);
      c.lineTo(x - 4, y - 7);
      c.lineTo(x + 4, y - 7);
    }
    c.fill();
  }
  c.strokeStyle = v.palette.accent;
  c.lineWidth = Math.max(2, 1.5 / scale);
  c.stroke(strong);
}

/** The points of an edge, from the lower side of one box (or from a trunk) to the upper side of the other. */
function ends(points: Float32Array, from: number, to: number, scene: Scene, layout: Layout): Float32Array {
  const onTrunk = layout.method === "layered" && points[1] !== layout.y[from];
  const out = onTrunk ? points.slice() : fromBelow(points, from, scene, layout);
  const last = out.length - 2;
  if (layout.method === "dagre") out[last] = within(out[last - 2] ?? 0, to, scene, layout);
  out[last + 1] = (layout.y[to] ?? 0) - (scene.input.height[to] ?? 0) / 2;
  return out;
}

/** The place on a box's side that is nearest to where an edge comes from, not too near to a corner. */
function within(x: number, box: number, scene: Scene, layout: Layout): number {
  const [middle, reach] = [layout.x[box] ?? 0, Math.max(0, (scene.input.width[box] ?? 0) / 2 - 14)];
  return Math.min(middle + reach, Math.max(middle - reach, x));
}

function fromBelow(points: Float32Array, from: number, scene: Scene, layout: Layout): Float32Array {
  const out = points.slice();
  if (layout.method === "dagre") out[0] = within(points[2] ?? 0, from, scene, layout);
  out[1] = (layout.y[from] ?? 0) + (scene.input.height[from] ?? 0) / 2;
  return out;
}

/** A line that leaves and arrives vertically; straight where curves would not be seen. */
function trace(path: Path2D, p: Float32Array, curved: boolean): void {
  path.moveTo(p[0] ?? 0, p[1] ?? 0);
  for (let i = 2; i + 1 < p.length; i += 2) {
    const [x0, y0, x1, y1] = [p[i - 2] ?? 0, p[i - 1] ?? 0, p[i] ?? 0, p[i + 1] ?? 0];
    const middle = (y0 + y1) / 2;
    if (curved && x0 !== x1) path.bezierCurveTo(x0, middle, x1, middle, x1, y1);
    else path.lineTo(x1, y1);
  }
}

function drawBoxes(c: CanvasRenderingContext2D, scene: Scene, layout: Layout, index: Index, v: View): void {
  const { camera, palette } = v;
  const left = camera.x;
  const right = camera.x + v.width / camera.scale;
  const texts = camera.scale > 0.3;
  const around = new Set(v.selected === null ? [] : [v.selected]);
  c.textAlign = "center";
  c.textBaseline = "middle";
  for (const i of inView(index.boxes, v)) {
    const box = scene.boxes[i];
    const [x, y, w, h] = [layout.x[i] ?? 0, layout.y[i] ?? 0, scene.input.width[i] ?? 0, scene.input.height[i] ?? 0];
    if (box === undefined || x + w / 2 < left || x - w / 2 > right) continue;
    const isPicked = v.picked.has(i);
    c.fillStyle = palette.fills[box.family];
    c.beginPath();
    if (camera.scale > 0.15) c.roundRect(x - w / 2, y - h / 2, w, h, box.family === "port" ? h / 2 : 7);
    else c.rect(x - w / 2, y - h / 2, w, h);
    c.fill();
    const strong = around.has(i) || i === v.hovered || isPicked;
    c.lineWidth = strong ? Math.max(2.5, 2 / camera.scale) : 1.2;
    c.strokeStyle = around.has(i) ? palette.accent : isPicked ? palette.picked : i === v.hovered ? palette.accent : palette.strokes[box.family];
    if (strong || camera.scale > 0.15) {
      const inRegion = box.node.parent !== null;
      if (inRegion) c.setLineDash([5, 3]);
      c.stroke();
      if (inRegion) c.setLineDash([]);
    }
    if (!texts) continue;
    c.fillStyle = palette.text;
    c.font = `600 13px ${palette.font}`;
    c.fillText(box.title, x, box.subtitle === "" ? y : y - 8);
    c.fillStyle = palette.muted;
    c.font = `11.5px ${palette.font}`;
    c.fillText(box.subtitle, x, y + 9.5);
  }
}
