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
