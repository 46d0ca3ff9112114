// Answers: which rules are in force, since when, who has them, and how do I change one safely?

import { useState } from 'preact/hooks';
import type { AgentView } from '../../../core/agent-view.ts';
import { useApp } from '../app.ts';
import { usePolled } from '../live/use-polled.ts';
import { Empty, Pill } from '../parts/pieces.tsx';
import type { PolicyView } from '../policies/documents.ts';
import { Editor } from '../policies/editor.tsx';
import { RolloutPanel } from '../policies/rollout.tsx';
import { formatRoute } from '../route.ts';

const EVERY_MS = 5_000;
const KINDS = ['ServicePolicy', 'HTTPRoute', 'ServiceIntentions', 'MeshDefaults'] as const;

export function PoliciesScreen({ subject }: { readonly subject: string }) {
  const { live } = useApp();
  const version = live.mesh.value.version;
  const list = usePolled<{ version: number; policies: readonly PolicyView[] }>('/v1/policies', EVERY_MS);
  const policies = list.value?.policies ?? [];
  const chosen = policies.find(({ id }) => id === subject) ?? null;
  const agents = [...live.mesh.value.agents.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  return (
    <>
      <RolloutPanel />
      <div class="columns editor-columns">
        <section class="card">
          <header class="card-head">
            <h1>Policies</h1>
            <span class="spring" />
            <span class="muted">version {version}</span>
          </header>
          {list.value === null ? (
            <Empty>{list.error ?? 'Asking the control plane.'}</Empty>
          ) : (
            <PolicyList policies={policies} subject={subject} />
          )}
          <NewPolicy />
        </section>
        {subject.includes('/') && list.value !== null ? (
          <Editor id={subject} policy={chosen} onWritten={list.refresh} />
        ) : (
          <section class="card">
            <Empty>Choose a policy to see and change it, or begin a new one.</Empty>
          </section>
        )}
      </div>
      <AgentsTable agents={agents} />
    </>
  );
}

function PolicyList({ policies, subject }: { readonly policies: readonly PolicyView[]; readonly subject: string }) {
  if (policies.length === 0) return <Empty>None was written; every value is a default.</Empty>;
  return (
    <ul id="policies" class="list">
      {policies.map(({ id, document, revision }) => (
        <li key={id}>
          <a
            href={formatRoute({ screen: 'policies', subject: id })}
            aria-current={id === subject ? 'true' : undefined}
            data-row={id}
          >
            <span class="muted small">{document.kind}</span>
            <b>{document.metadata.name}</b>
            <span class="muted number small">revision {revision}</span>
          </a>
        </li>
      ))}
    </ul>
  );
}

function NewPolicy() {
  const app = useApp();
  const [kind, setKind] = useState<string>('ServicePolicy');
  const [name, setName] = useState('');
  const submit = (event: Event): void => {
    event.preventDefault();
    const subject = kind === 'MeshDefaults' ? 'global' : name.trim();
    if (subject !== '') app.go('policies', `${kind}/${subject}`);
  };
  return (
    <form class="new-policy" onSubmit={submit}>
      <label>
        <span class="hidden">Kind</span>
        <select value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
          {KINDS.map((one) => (
            <option key={one}>{one}</option>
          ))}
        </select>
      </label>
      {kind !== 'MeshDefaults' && (
        <label>
          <span class="hidden">Service</span>
          <input
            value={name}
            placeholder="service"
            list="known-services"
            autocomplete="off"
            onInput={(event) => setName(event.currentTarget.value)}
          />
        </label>
      )}
      <datalist id="known-services">
        {[...app.live.mesh.value.services.keys()].map((service) => (
          <option key={service} value={service} />
        ))}
      </datalist>
      <button type="submit">New</button>
    </form>
  );
}

function AgentsTable({ agents }: { readonly agents: readonly AgentView[] }) {
  return (
    <section class="card">
      <header class="card-head">
        <h2>Agents</h2>
        <span class="muted">who has which version</span>
      </header>
      {agents.length === 0 ? (
        <Empty>No agent has connected yet.</Empty>
      ) : (
        <div class="scroll tall">
          <table id="agents">
            <thead>
              <tr>
                {['Agent', 'Beside', 'State', 'Applied', 'Wanted', 'Answer', 'Answered in', 'Software', 'Problems'].map(
                  (title) => (
                    <th key={title} scope="col" class={/Applied|Wanted|Answered/.test(title) ? 'number' : ''}>
                      {title}
                    </th>
                  ),
                )}
              </tr>
            </thead>
            <tbody>
              {agents.map((agent) => (
                <AgentRow key={agent.id} agent={agent} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function AgentRow({ agent }: { readonly agent: AgentView }) {
  const { policy, state, isConnected } = agent;
  const [problem] = policy.problems;
  return (
    <tr>
      <th scope="row" class="name">
        {agent.id}
      </th>
      <td>{agent.service ?? '–'}</td>
      <td>
        <Pill kind={state === 'live' && isConnected ? 'good' : 'warn'}>
          {state !== 'live' ? state : isConnected ? 'connected' : 'no stream'}
        </Pill>
        {agent.isDraining && <Pill kind="calm">draining</Pill>}
      </td>
      <td class={`number ${policy.isInSync ? '' : 'warn'}`}>{policy.appliedVersion ?? '–'}</td>
      <td class="number">{policy.wantedVersion ?? '–'}</td>
      <td>
        {policy.verdict === null ? (
          <span class="muted">awaited</span>
        ) : (
          <Pill kind={policy.verdict === 'ACK' ? 'good' : 'bad'}>{policy.verdict}</Pill>
        )}
        {policy.isTrial && <Pill kind="calm">staged</Pill>}
      </td>
      <td class="number">{policy.answeredAfterMs === null ? '–' : `${Math.round(policy.answeredAfterMs)} ms`}</td>
      <td>{agent.softwareVersion ?? '–'}</td>
      <td class="sentence">{problem === undefined ? '' : `${problem.path} ${problem.message}`}</td>
    </tr>
  );
}
