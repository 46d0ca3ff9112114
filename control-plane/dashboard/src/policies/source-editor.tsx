// A text field with line numbers, marks where the control plane found problems, and fields of the schema offered while typing.

import { useEffect, useRef, useState } from 'preact/hooks';
import type { Problem } from '#contract/problem.ts';
import { useApp } from '../app.ts';
import { type Completions, completionsAt, type FieldSchema } from './completion.ts';

const SHOWN = 8;
const NONE: Completions = { from: 0, items: [] };

export function SourceEditor(props: {
  readonly text: string;
  readonly kind: string;
  readonly problems: readonly Problem[];
  readonly onInput: (text: string) => void;
}) {
  const { text, problems, onInput } = props;
  const area = useRef<HTMLTextAreaElement>(null);
  const schema = useSchema(props.kind);
  const [offered, setOffered] = useState<Completions>(NONE);
  const [at, setAt] = useState(0);
  const bad = new Map(problems.map((problem) => [problem.line ?? 0, problem.message]));
  const lines = text.split('\n');
  const offer = (element: HTMLTextAreaElement): void => {
    setOffered(schema === null ? NONE : completionsAt(element.value, element.selectionStart, schema));
    setAt(0);
  };
  const take = (index: number): void => {
    const item = offered.items[index];
    const element = area.current;
    if (item === undefined || element === null) return;
    element.setRangeText(item.insert, offered.from, element.selectionStart, 'end');
    onInput(element.value);
    setOffered(NONE);
    element.focus();
  };
  const press = (event: KeyboardEvent): void => {
    const element = event.currentTarget as HTMLTextAreaElement;
    if (event.key === ' ' && event.ctrlKey) offer(element);
    else if (offered.items.length === 0) return;
    else if (event.key === 'ArrowDown') setAt((at + 1) % offered.items.length);
    else if (event.key === 'ArrowUp') setAt((at + offered.items.length - 1) % offered.items.length);
    else if (event.key === 'Enter' || event.key === 'Tab') take(at);
    else if (event.key === 'Escape') setOffered(NONE);
    else return;
    event.preventDefault();
  };
  const first = Math.max(0, Math.min(at - SHOWN + 1, offered.items.length - SHOWN));
  return (
    <div class="source">
      <div class="gutter" aria-hidden="true">
        {lines.map((_line, index) => (
          // A line is its number.
          <span key={index} class={bad.has(index + 1) ? 'bad' : ''} title={bad.get(index + 1)} data-line={index + 1}>
            {index + 1}
          </span>
        ))}
      </div>
      <textarea
        ref={area}
        id="source"
        aria-label="Document"
        aria-describedby="source-help"
        aria-invalid={problems.length > 0}
        rows={Math.max(8, lines.length + 1)}
        spellcheck={false}
        autocomplete="off"
        wrap="off"
        value={text}
        onInput={(event) => {
          onInput(event.currentTarget.value);
          // Offered to whoever types a word, and not to whoever only moves or breaks lines.
          const isWord = /[A-Za-z]$/.test(event.currentTarget.value.slice(0, event.currentTarget.selectionStart));
          if (isWord) offer(event.currentTarget);
          else setOffered(NONE);
        }}
        onKeyDown={press}
        onBlur={() => setOffered(NONE)}
      />
      <p id="source-help" class="muted small">
        Ctrl+Space offers fields, ↑ ↓ choose, Enter takes, Esc closes.
      </p>
      {offered.items.length > 0 && (
        <div id="completions" class="completions" role="listbox" aria-label="Fields" tabIndex={-1}>
          {offered.items.slice(first, first + SHOWN).map((item, index) => (
            <div
              key={item.label}
              role="option"
              tabIndex={-1}
              aria-selected={first + index === at}
              onMouseDown={(event) => {
                event.preventDefault(); // the text keeps the focus
                take(first + index);
              }}
            >
              <b>{item.label}</b> <span class="muted">{item.about}</span>
            </div>
          ))}
        </div>
      )}
    </div>
  );
}

/** The schema that the control plane itself judges by; null until it is there, and then nothing is offered. */
function useSchema(kind: string): FieldSchema | null {
  const { api } = useApp();
  const [schemas, setSchemas] = useState<Readonly<Record<string, FieldSchema>>>({});
  useEffect(() => {
    let isWanted = true;
    api
      .ask<{ components: { schemas: Record<string, FieldSchema> } }>('/v1/openapi.json')
      .then(({ components }) => isWanted && setSchemas(components.schemas))
      .catch(() => undefined); // the editor works without
    return () => {
      isWanted = false;
    };
  }, [api]);
  return schemas[kind] ?? null;
}
