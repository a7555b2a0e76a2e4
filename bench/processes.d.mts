export interface NodeBinary {
  readonly path: string;
  readonly node: string;
  readonly v8: string;
  readonly flags: readonly string[];
}
export interface ChildOptions {
  readonly node: NodeBinary;
  readonly timeoutMs: number;
  readonly note: (text: string) => void;
}
export class Child {
  constructor(options: ChildOptions);
  call(job: string, params?: Readonly<Record<string, unknown>>): Promise<unknown>;
  close(): Promise<void>;
}
export function describeNode(which?: string): NodeBinary;
export interface PythonBinary {
  readonly path: string;
  readonly python: string;
  readonly openvino: string;
}
export class PythonChild {
  constructor(options: { readonly python: string; readonly script: string } & Omit<ChildOptions, "node">);
  call(job: string, params?: Readonly<Record<string, unknown>>): Promise<unknown>;
  close(): Promise<void>;
}
export function describePython(path: string): PythonBinary;
