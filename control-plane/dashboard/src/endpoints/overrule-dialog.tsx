// A person's word about one endpoint: eject, drain or restore, with an end and a reason, at every agent that knows it or at one.

import { useState } from 'preact/hooks';
import { useApp } from '../app.ts';
import { plural } from '../format.ts';
import { type Api, sentenceOf } from '../live/api.ts';
import { Dialog } from '../parts/dialog.tsx';
import type { EndpointRow } from './rows.ts';

export type Verb = 'eject' | 'drain' | 'restore';

const ABOUT: Readonly<Record<Verb, string>> = {
  eject: 'Takes it out of the picks for a time. In panic it is used all the same.',
  drain: 'Takes it out for maintenance: it is used only when there is nothing else.',
  restore: 'Brings it back at once, whoever took it out.',
};
const TIMES = ['1m', '5m', '15m', '1h', '4h', '24h'] as const;

interface Answer {
  readonly agentId: string;
  readonly isDone: boolean;
  readonly text: string;
}

export function OverruleDialog(props: {
  readonly row: EndpointRow;
  readonly verb: Verb;
  readonly onClose: () => void;
}) {
  const { row, verb } = props;
  const { api } = useApp();
  const [agent, setAgent] = useState('');
  const [time, setTime] = useState<string>('5m');
  const [reason, setReason] = useState('');
  const [isForced, setForced] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const [answers, setAnswers] = useState<readonly Answer[]>([]);
  const agents = [...new Set(row.endpoint.observers.map(({ agentId }) => agentId))].sort();
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    const query = new URLSearchParams({ endpoint: row.endpoint.id });
    if (verb !== 'restore') query.set('for', time);
    if (reason !== '') query.set('reason', reason);
    if (isForced) query.set('force', 'true');
    const path = `endpoints/${encodeURIComponent(row.service)}/${verb}?${query}`;
    setAnswers(await askAll(api, agent === '' ? agents : [agent], path));
    setBusy(false);
  };
  const isDone = answers.length > 0 && answers.every((answer) => answer.isDone);
  const title = `${verb[0]?.toUpperCase()}${verb.slice(1)} ${row.name}`;
  return (
    <Dialog title={title} onClose={props.onClose}>
      <p class="muted">{ABOUT[verb]}</p>
      <form onSubmit={(event) => void submit(event)} class="fields">
        <label>
          <span>At</span>
          <select value={agent} onChange={(event) => setAgent(event.currentTarget.value)}>
            <option value="">every agent that knows it ({agents.length})</option>
            {agents.map((id) => (
              <option key={id}>{id}</option>
            ))}
          </select>
        </label>
        {verb !== 'restore' && (
          <label>
            <span>For</span>
            <select value={time} onChange={(event) => setTime(event.currentTarget.value)}>
              {TIMES.map((one) => (
                <option key={one}>{one}</option>
              ))}
            </select>
          </label>
        )}
        <label>
          <span>Reason</span>
          <input
            name="reason"
            value={reason}
            maxLength={200}
            placeholder="everybody sees it"
            autocomplete="off"
            onInput={(event) => setReason(event.currentTarget.value)}
          />
        </label>
        {verb !== 'restore' && (
          <label class="check">
            <input type="checkbox" checked={isForced} onChange={(event) => setForced(event.currentTarget.checked)} />{' '}
            even if no other endpoint serves
          </label>
        )}
        <Answers answers={answers} />
        <div class="buttons">
          <button
            type="submit"
            class={verb === 'restore' ? 'primary' : 'danger'}
            disabled={isBusy || agents.length === 0}
          >
            {isBusy ? `Asking ${plural(agent === '' ? agents.length : 1, 'agent')}` : title}
          </button>
          <button type="button" onClick={props.onClose}>
            {isDone ? 'Close' : 'Cancel'}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function Answers({ answers }: { readonly answers: readonly Answer[] }) {
  return (
    <ul class="answers" role="status">
      {answers.map(({ agentId, isDone, text }) => (
        <li key={agentId} class={isDone ? 'good' : 'bad'}>
          <b>{agentId}</b> {text}
        </li>
      ))}
    </ul>
  );
}

/** One agent that refuses (it may be its last endpoint) does not keep the others from doing it. */
function askAll(api: Api, agents: readonly string[], path: string): Promise<Answer[]> {
  return Promise.all(
    agents.map(async (agentId): Promise<Answer> => {
      try {
        const url = `/v1/agents/${encodeURIComponent(agentId)}/admin/${path}`;
        const { text } = await api.ask<{ readonly text: string }>(url, { method: 'POST' });
        return { agentId, isDone: true, text };
      } catch (error) {
        return { agentId, isDone: false, text: sentenceOf(error) };
      }
    }),
  );
}
