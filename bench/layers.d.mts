export interface Layer {
  readonly channels: number;
  readonly size: number;
  readonly filters: number;
  readonly kernel: number;
  readonly stride: number;
  readonly groups: number;
  readonly act: "relu" | "relu6" | null;
  readonly count: number;
}
export const layersOf: { readonly resnet50: readonly Layer[]; readonly mobilenet_v2: readonly Layer[] };
export function layerLabel(layer: Omit<Layer, "act" | "count">): string;
