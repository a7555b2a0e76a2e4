// highlight.js: the text of the IRs (.tw files).

/** A language definition, as highlight.js takes it. */
export function twLanguage(hljs) {
  const words = (text) => text.split(" ");
  return {
    name: "tw",
    keywords: {
      $pattern: /[a-z_][\w-]*/,
      keyword: words(
        "graph tensor program symbol input output constant temp kernel stage acc init lift combine red scan at from weight memory arena weights alloc as bytes launch over grain threads main for in extent unrolled vector register param out let if else while require uses place step opaque local view layout",
      ),
      type: words("f32 f64 f16 bf16 i8 i16 i32 i64 u8 u16 u32 u64 bool i4 u4 i2 u2 f32x4 i32x4 f8e4m3fn f8e5m2"),
      literal: words("true false"),
    },
    contains: [
      hljs.C_LINE_COMMENT_MODE,
      hljs.QUOTE_STRING_MODE,
      { scope: "variable", begin: /%[\w./-]+/ },
      { scope: "title", begin: /@[\w./-]+/ },
      { scope: "number", begin: /-?\b\d+(\.\d+)?(e[-+]?\d+)?\b/ },
      { scope: "built_in", begin: /\b[a-z_]\w*(?=\()/ },
    ],
  };
}
