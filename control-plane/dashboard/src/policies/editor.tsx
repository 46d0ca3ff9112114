// One document as text: checked by the control plane while it is typed, shown beside what is in force, and put in force at once or
// step by step.

import { useEffect, useRef, useState } from 'preact/hooks';
import type { Problem } from '#contract/problem.ts';
import { useApp } from '../app.ts';
import { plural } from '../format.ts';
import { Refusal, sentenceOf } from '../live/api.ts';
import { DifferenceTable } from './differences.tsx';
import { type DryRun, type PolicyView, templateOf, type Written } from './documents.ts';
import { SourceEditor } from './source-editor.tsx';
import { toYaml } from './to-yaml.ts';

const CHECK_AFTER_MS = 350;
const YAML = 'application/yaml';
const SOAKS = ['5s', '30s', '1m', '5m', '30m'] as const;

type Checked =
  | { readonly kind: 'checking' }
  | { readonly kind: 'valid'; readonly run: DryRun }
  | { readonly kind: 'invalid'; readonly problems: readonly Problem[] }
  | { readonly kind: 'failed'; readonly text: string };

export function Editor(props: {
  readonly id: string;
  readonly policy: PolicyView | null;
  readonly onWritten: () => void;
}) {
  const { id, policy } = props;
  const { api } = useApp();
  const slash = id.indexOf('/');
  const [kind, name] = [id.slice(0, slash), id.slice(slash + 1)];
  const inForce = policy === null ? toYaml(templateOf(kind, name)) : toYaml(policy.document);
  const [text, setText] = useState(inForce);
  const [base, setBase] = useState(policy?.revision ?? null);
  const [checked, setChecked] = useState<Checked>({ kind: 'checking' });
  const [soak, setSoak] = useState('');
  const [message, setMessage] = useState('');
  const [result, setResult] = useState<{ isGood: boolean; text: string } | null>(null);
  /** The write that an error budget held back: only then is force offered. */
  const [held, setHeld] = useState<'PUT' | 'DELETE' | null>(null);
  const check = useCheck(text, setChecked);
  const isStale = policy !== null && base !== policy.revision;
  const reload = (): void => {
    setText(inForce);
    setBase(policy?.revision ?? null);
    setResult(null);
    setHeld(null);
  };
  const write = async (method: 'PUT' | 'DELETE', isForced = false): Promise<void> => {
    const query = new URLSearchParams({ wait: '2s' });
    if (isForced) query.set('force', 'true');
    setHeld(null);
    if (message !== '') query.set('message', message);
    if (soak !== '') query.set('rollout', 'staged');
    if (soak !== '') query.set('soak', soak);
    const condition: Record<string, string> = base === null ? { 'if-none-match': '*' } : { 'if-match': `"${base}"` };
    try {
      const path = `/v1/policies/${kind}/${encodeURIComponent(name)}?${query}`;
      const body = method === 'PUT' ? { body: text, type: YAML } : {};
      const written = await api.ask<Written>(path, { method, headers: condition, ...body });
      setBase(method === 'PUT' ? written.revision : null);
      setResult({ isGood: true, text: sentenceAbout(written, soak) });
      setMessage('');
    } catch (error) {
      if (error instanceof Refusal && error.problems.length > 0)
        setChecked({ kind: 'invalid', problems: error.problems });
      if (error instanceof Refusal && error.code === 'OTR_ERR_BUDGET_SPENT') setHeld(method);
      setResult({ isGood: false, text: sentenceOf(error) });
    }
    props.onWritten();
    check();
  };
  const isChanged = checked.kind === 'valid' && checked.run.changes.some(({ change }) => change !== 'none');
  return (
    <section class="card editor" id="editor">
      <header class="card-head">
        <h2>{id}</h2>
        <span class="muted">{base === null ? 'new' : `revision ${base}`}</span>
        <span class="spring" />
        <button type="button" onClick={reload}>
          {base === null ? 'Begin anew' : 'Back to what is in force'}
        </button>
      </header>
      {isStale && (
        <p class="line warn">
          Revision {policy.revision} came into force meanwhile.{' '}
          <button type="button" onClick={reload}>
            Take it
          </button>
        </p>
      )}
      <SourceEditor
        text={text}
        kind={kind}
        problems={checked.kind === 'invalid' ? checked.problems : []}
        onInput={(next) => {
          setText(next);
          setHeld(null); // force is for the text that was refused
        }}
      />
      <CheckedLine checked={checked} />
      {checked.kind === 'valid' &&
        checked.run.changes.map((change) => <DifferenceTable key={change.id} differences={change.differences} />)}
      <form
        class="write"
        onSubmit={(event) => {
          event.preventDefault();
          void write('PUT');
        }}
      >
        <label>
          Bring it to{' '}
          <select name="soak" value={soak} onChange={(event) => setSoak(event.currentTarget.value)}>
            <option value="">everybody at once</option>
            {SOAKS.map((one) => (
              <option key={one} value={one}>
                one agent, 10 %, 50 %, all: {one} each
              </option>
            ))}
          </select>
        </label>
        <label class="grow">
          <span class="hidden">Why</span>
          <input
            name="message"
            value={message}
            maxLength={500}
            placeholder="why, for the history"
            autocomplete="off"
            onInput={(event) => setMessage(event.currentTarget.value)}
          />
        </label>
        <button type="submit" class="primary" disabled={!isChanged}>
          {soak === '' ? 'Apply' : 'Start rollout'}
        </button>
        {base !== null && (
          <button type="button" class="danger" onClick={() => void write('DELETE')}>
            Remove
          </button>
        )}
      </form>
      <p id="written" class={`line ${result?.isGood === true ? 'good' : 'bad'}`} role="status">
        {result?.text}
      </p>
      {held !== null && (
        <p class="line">
          <button id="force" type="button" class="danger" onClick={() => void write(held, true)}>
            {held === 'PUT' ? 'Apply it all the same' : 'Remove it all the same'}
          </button>{' '}
          <span class="muted">The audit log says that it was forced.</span>
        </p>
      )}
    </section>
  );
}

function sentenceAbout({ revision, version, isChanged, agents }: Written, soak: string): string {
  if (!isChanged) return 'Nothing changed: it was like that already.';
  if (soak !== '') return `Revision ${revision} is under way as version ${version}; the panel above follows it.`;
  const rejected = agents.rejected === 0 ? '' : `, ${agents.rejected} refused it`;
  return `Revision ${revision} is in force as version ${version}: ${agents.applied} of ${plural(agents.wanted, 'agent')} acknowledged${rejected}.`;
}

/** Asks the control plane a moment after the last key, and drops answers about older texts. */
function useCheck(text: string, setChecked: (checked: Checked) => void): () => void {
  const { api } = useApp();
  const turn = useRef(0);
  const run = async (): Promise<void> => {
    const mine = ++turn.current;
    let checked: Checked;
    try {
      const answer = await api.ask<DryRun>('/v1/policies:validate', { method: 'POST', body: text, type: YAML });
      checked = { kind: 'valid', run: answer };
    } catch (error) {
      checked =
        error instanceof Refusal && error.problems.length > 0
          ? { kind: 'invalid', problems: error.problems }
          : { kind: 'failed', text: sentenceOf(error) };
    }
    if (mine === turn.current) setChecked(checked);
  };
  // Only a new text is checked anew.
  useEffect(() => {
    const timer = setTimeout(() => void run(), CHECK_AFTER_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return () => void run();
}

function CheckedLine({ checked }: { readonly checked: Checked }) {
  switch (checked.kind) {
    case 'checking':
      return <p class="line muted">Checking.</p>;
    case 'failed':
      return <p class="line bad">Not checked: {checked.text}.</p>;
    case 'invalid':
      return (
        <ul id="problems" class="problems" role="status">
          {checked.problems.map((problem) => (
            <li key={`${problem.path} ${problem.message}`}>
              <span class="where">{problem.line === undefined ? '' : `${problem.line}:${problem.column ?? 1}`}</span>
              <span class="mono">{problem.path}</span> {problem.message}
              {problem.hint !== undefined && <span class="muted"> {problem.hint}</span>}
            </li>
          ))}
        </ul>
      );
    case 'valid': {
      const [change] = checked.run.changes;
      const words = {
        create: 'Valid. It would be new.',
        update: 'Valid. It would change:',
        none: 'Valid. Exactly what is in force.',
      };
      return (
        <p id="dry-run" class="line good" role="status">
          {change === undefined ? 'There is no document.' : words[change.change]}
        </p>
      );
    }
  }
}
