import { HighlightStyle, StreamLanguage, type StreamParser, foldGutter, syntaxHighlighting } from "@codemirror/language";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { EditorState, type Extension, RangeSet, RangeSetBuilder } from "@codemirror/state";
import {
  Decoration,
  type DecorationSet,
  EditorView,
  GutterMarker,
  MatchDecorator,
  ViewPlugin,
  type ViewUpdate,
  gutter,
  keymap,
  lineNumbers,
} from "@codemirror/view";
import { tags as t } from "@lezer/highlight";
import { useEffect, useRef } from "preact/hooks";

export type CodeLanguage = "ir" | "wat" | "plain";

/** What a line is in a comparison: new, gone, or a gap in which nothing changed. */
export type LineMark = "added" | "removed" | "gap";

export interface CodeText {
  readonly text: string;
  readonly language: CodeLanguage;
  /** By line, from 0. */
  readonly marks?: ReadonlyMap<number, LineMark>;
}

/**
 * A text to read: with search (Ctrl-F within it), selection, line numbers; only what is in view is drawn, so that texts of
 * megabytes scroll well. Quoted names for which `isLink` holds lead somewhere.
 */
export function Code(
  p: CodeText & { readonly label: string; readonly isLink?: (name: string) => boolean; readonly onLink?: (name: string) => void },
) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const links = useRef(p);
  links.current = p;
  useEffect(() => {
    if (host.current === null) return;
    view.current = new EditorView({ parent: host.current });
    return () => view.current?.destroy();
  }, []);
  useEffect(() => {
    const isLink = (name: string) => links.current.isLink?.(name) ?? false;
    view.current?.setState(stateOf(p, isLink, (name) => links.current.onLink?.(name)));
  }, [p.text, p.language, p.marks, p.label]);
  return <div ref={host} class="code" />;
}

function stateOf(p: CodeText & { readonly label: string }, isLink: (name: string) => boolean, onLink: (name: string) => void): EditorState {
  const doc = EditorState.create({ doc: p.text }).doc;
  return EditorState.create({
    doc: p.text,
    extensions: [
      EditorState.readOnly.of(true),
      // Not an editor: no caret and no keyboard on touch screens; but keys scroll and search.
      EditorView.editable.of(false),
      EditorView.contentAttributes.of({ "aria-label": p.label, "aria-readonly": "true", tabindex: "0" }),
      p.marks === undefined ? [lineNumbers(), p.language === "plain" ? [] : foldGutter()] : markedLines(p.marks, doc),
      languages[p.language],
      syntaxHighlighting(colours),
      linksOf(isLink, onLink),
      search({ top: true }),
      highlightSelectionMatches(),
      keymap.of(searchKeymap),
    ],
  });
}

/** Colours are those of the style sheet, which knows light and dark. */
const colours = HighlightStyle.define([
  { tag: t.keyword, color: "var(--code-keyword)" },
  { tag: t.variableName, color: "var(--code-name)" },
  { tag: t.typeName, color: "var(--code-type)" },
  { tag: t.number, color: "var(--code-number)" },
  { tag: t.string, color: "var(--code-string)" },
  { tag: t.comment, color: "var(--muted)" },
  { tag: t.attributeName, color: "var(--code-keyword)" },
]);

const irWords =
  /^(?:graph|tensor|program|kernel|stage|input|output|temp|constant|from|acc|red|scan|init|lift|combine|for|store|let|assign|if|else|alloc|launch|while|require|over|grain|scratch|main|return|symbol|vector|unrolled|serial|weights|arena|reads|writes|param|buffer)\b/;
const dtypes = /^(?:f64|f32|f16|bf16|f8\w*|i64|i32|i16|i8|i4|u64|u32|u16|u8|u4|bool|v128)\b(?:x\d+)?/;

/** IR text of the three levels: close enough for colours. */
const ir: StreamParser<null> = {
  name: "tilewright IR",
  startState: () => null,
  token(s) {
    if (s.eatSpace()) return null;
    if (s.match(/^\/\/.*/)) return "comment";
    if (s.match(/^"(?:[^"\\]|\\.)*"/)) return "string";
    if (s.match(/^[%@][\w./:$-]+/)) return "variableName";
    if (s.match(/^-?(?:0x[\da-fA-F]+|\d+(?:\.\d+)?(?:e[+-]?\d+)?)/)) return "number";
    if (s.match(dtypes)) return "typeName";
    if (s.match(irWords)) return "keyword";
    if (s.match(/^[A-Za-z_][\w.']*/)) return null;
    s.next();
    return null;
  },
};
const wat: StreamParser<null> = {
  name: "WebAssembly text",
  startState: () => null,
  token(s) {
    if (s.eatSpace()) return null;
    if (s.match(/^;;.*/)) return "comment";
    if (s.match(/^"(?:[^"\\]|\\.)*"/)) return "string";
    if (s.match(/^\$[^\s()]+/)) return "variableName";
    if (s.match(/^[a-z]\w*(?:=)/)) return "attributeName";
    if (s.match(/^[iufv]\d+(?:x\d+)?(?=\.)/)) return "typeName";
    if (s.match(/^-?(?:0x[\da-fA-F.]+|\d+(?:\.\d+)?(?:e[+-]?\d+)?)/)) return "number";
    if (s.match(/^[a-z][\w.]*/)) return "keyword";
    s.next();
    return null;
  },
};
const languages: Readonly<Record<CodeLanguage, Extension>> = {
  ir: StreamLanguage.define(ir),
  wat: StreamLanguage.define(wat),
  plain: [],
};

const signs: Readonly<Record<LineMark, string>> = { added: "+", removed: "−", gap: "" };

class Sign extends GutterMarker {
  readonly mark: LineMark;
  constructor(mark: LineMark) {
    super();
    this.mark = mark;
    this.elementClass = `sign-${mark}`;
  }
  override eq(other: Sign): boolean {
    return other.mark === this.mark;
  }
  override toDOM(): Node {
    return document.createTextNode(signs[this.mark]);
  }
}

/** Lines coloured by what they are in the comparison, with a sign before them. */
function markedLines(marks: ReadonlyMap<number, LineMark>, doc: EditorState["doc"]): Extension {
  const lines = new RangeSetBuilder<Decoration>();
  const gutters = [];
  for (const [line, mark] of [...marks].sort(([a], [b]) => a - b)) {
    const { from } = doc.line(line + 1);
    lines.add(from, from, Decoration.line({ class: `line-${mark}` }));
    gutters.push(new Sign(mark).range(from));
  }
  const set = RangeSet.of<GutterMarker>(gutters);
  return [EditorView.decorations.of(lines.finish()), gutter({ class: "signs", markers: () => set })];
}

/** Quoted names of nodes become links. */
function linksOf(isLink: (name: string) => boolean, onLink: (name: string) => void): Extension {
  const mark = Decoration.mark({ class: "code-link", attributes: { role: "link", title: "Show this node in the graph" } });
  const matcher = new MatchDecorator({
    regexp: /"((?:[^"\\]|\\.)+)"/g,
    decoration: (m) => (isLink(m[1] ?? "") ? mark : null),
  });
  return ViewPlugin.fromClass(
    class {
      links: DecorationSet;
      constructor(view: EditorView) {
        this.links = matcher.createDeco(view);
      }
      update(u: ViewUpdate) {
        this.links = matcher.updateDeco(u, this.links);
      }
    },
    {
      decorations: (v) => v.links,
      eventHandlers: {
        click: (e) => {
          const el = (e.target as Element | null)?.closest(".code-link");
          if (el !== null && el !== undefined) onLink((el.textContent ?? "").slice(1, -1));
        },
      },
    },
  );
}
