export interface Page {
  readonly file: string;
  readonly name: string;
}
export class Links {
  constructor(root: URL, pages: readonly Page[]);
  readonly files: ReadonlySet<string>;
  /** The anchors that a page has. */
  page(name: string, ids: readonly string[]): void;
  /** Rewrites the addresses of one page. */
  at(page: Page): (href: string) => string;
  problems(): readonly string[];
}
