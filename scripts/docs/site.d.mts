export interface Site {
  /** The files of the site, by name. */
  readonly files: ReadonlyMap<string, string>;
  /** Files of the repository that pages link to: the site has copies. */
  readonly copies: ReadonlySet<string>;
  /** Broken links, and pages that are not in the list. */
  readonly problems: readonly string[];
  readonly pages: readonly { readonly name: string; readonly title: string }[];
}
export function makeSite(root: URL): Promise<Site>;
export function writeSite(site: Site, root: URL, folder: string): void;
