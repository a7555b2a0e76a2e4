export interface ComparedRow {
  readonly name: string;
  readonly before: number;
  readonly after: number;
  readonly faster: number;
  readonly was: number | null;
  readonly is: number | null;
  readonly relative: number | null;
}
export interface ComparedPart {
  readonly title: string;
  readonly rows: readonly ComparedRow[];
  readonly faster: number | null;
  readonly relative: number | null;
}
export interface TimedRow {
  readonly name: string;
  readonly times?: Readonly<Record<string, { readonly median_ms: number }>>;
  readonly ratios?: Readonly<Record<string, { readonly median: number }>>;
  /** The engine that the ratio is to, where several took part. */
  readonly against?: string | null;
}
export interface ResultPart {
  readonly target?: string;
  readonly section: string;
  readonly network?: string;
  readonly node: string;
  readonly threads: number;
  readonly relaxed: boolean;
  readonly rows: readonly TimedRow[];
}
export interface Results {
  readonly parts: readonly ResultPart[];
}
export function compareResults(a: Results, b: Results): readonly ComparedPart[];
export function comparisonText(parts: readonly ComparedPart[]): string;
