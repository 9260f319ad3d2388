import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { cpp } from "@codemirror/lang-cpp";
import { python } from "@codemirror/lang-python";
import { StreamLanguage, bracketMatching, defaultHighlightStyle, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { go } from "@codemirror/legacy-modes/mode/go";
import { shell } from "@codemirror/legacy-modes/mode/shell";
import { EditorState, type Extension } from "@codemirror/state";
import { EditorView, keymap, lineNumbers } from "@codemirror/view";
import { useComputedColorScheme } from "@mantine/core";
import { useEffect, useRef } from "react";

const LANGUAGES: [RegExp, () => Extension][] = [
  [/\.(c|cc|cpp|cxx|h|hpp)$/, cpp],
  [/\.py$/, python],
  [/\.go$/, () => StreamLanguage.define(go)],
  [/\.sh$/, () => StreamLanguage.define(shell)],
];

const languageOf = (path: string): Extension => LANGUAGES.find(([pattern]) => pattern.test(path))?.[1]() ?? [];

type Props = { path: string; text: string; change: (text: string) => void };

/** Source text with highlighting. Tab indents; Escape, then Tab leaves. */
export default function Editor({ path, text, change }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const isDark = useComputedColorScheme("light") === "dark";
  const latest = useRef({ text, change });
  latest.current = { text, change };
  const view = useRef<EditorView | null>(null);

  useEffect(() => {
    if (!place.current) return;
    const made = new EditorView({
      parent: place.current,
      state: EditorState.create({
        doc: latest.current.text,
        extensions: [
          lineNumbers(), history(), bracketMatching(), indentUnit.of("    "), languageOf(path),
          syntaxHighlighting(defaultHighlightStyle),
          keymap.of([...defaultKeymap, ...historyKeymap, indentWithTab]),
          EditorView.contentAttributes.of({ "aria-label": `Text of ${path || "the file"}` }),
          EditorView.theme({
            "&": { fontSize: "0.8125rem", minHeight: "12rem", maxHeight: "30rem" },
            ".cm-scroller": { overflow: "auto", fontFamily: "var(--mantine-font-family-monospace)" },
            ".cm-gutters": { background: "var(--mantine-color-default-hover)", color: "var(--mantine-color-text)", border: "none" },
            ".cm-content": { caretColor: "var(--mantine-color-text)" },
            ...(isDark ? { ".cm-line span": { filter: "invert(1) hue-rotate(180deg)" } } : {}),
          }, { dark: isDark }),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) latest.current.change(update.state.doc.toString());
          }),
        ],
      }),
    });
    view.current = made;
    return () => made.destroy();
  }, [path, isDark]);

  useEffect(() => {
    const made = view.current;
    if (made && made.state.doc.toString() !== text) {
      made.dispatch({ changes: { from: 0, to: made.state.doc.length, insert: text } });
    }
  }, [text]);
  return <div className="editor" ref={place} />;
}
