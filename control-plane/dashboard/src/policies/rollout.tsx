// A staged change, watched live: its stage, who has it, how they do beside the rest, and the brakes.

import { useState } from 'preact/hooks';
import { useApp } from '../app.ts';
import { count, duration, failureShare, plural } from '../format.ts';
import { sentenceOf } from '../live/api.ts';
import { usePolled } from '../live/use-polled.ts';
import { Pill } from '../parts/pieces.tsx';
import { formatRoute } from '../route.ts';
import { type GroupHealth, isUnderWay, type RolloutView } from './documents.ts';

const EVERY_MS = 1_000;
const STAGES = ['one agent', '10 %', '50 %', 'all'] as const;
const STATE_KIND = { running: 'calm', paused: 'warn', completed: 'good', halted: 'bad', aborted: 'warn' } as const;

export function RolloutPanel() {
  const { live, api } = useApp();
  const { value, refresh } = usePolled<{ rollout: RolloutView | null }>('/v1/rollouts', EVERY_MS);
  const [error, setError] = useState('');
  const rollout = value?.rollout ?? null;
  if (rollout === null) return null;
  const steer = async (verb: 'pause' | 'resume' | 'abort'): Promise<void> => {
    try {
      await api.ask(`/v1/rollouts/${encodeURIComponent(rollout.id)}/${verb}`, { method: 'POST' });
      setError('');
    } catch (thrown) {
      setError(sentenceOf(thrown));
    }
    refresh();
  };
  const leftMs = Math.max(0, rollout.stageSinceEpochMs + rollout.soakMs - live.serverNow);
  return (
    <section class="card" id="rollout" data-state={rollout.state} aria-live="polite">
      <header class="card-head">
        <h2>
          Rollout of <a href={formatRoute({ screen: 'policies', subject: rollout.policy })}>{rollout.policy}</a>
        </h2>
        <Pill kind={STATE_KIND[rollout.state]}>{rollout.state}</Pill>
        <span class="muted">
          version {rollout.version}, by {rollout.author}
        </span>
        <span class="spring" />
        {rollout.state === 'running' && (
          <button type="button" onClick={() => void steer('pause')}>
            Pause
          </button>
        )}
        {rollout.state === 'paused' && (
          <button type="button" class="primary" onClick={() => void steer('resume')}>
            Go on
          </button>
        )}
        {isUnderWay(rollout) && (
          <button type="button" class="danger" onClick={() => void steer('abort')}>
            Halt and put back
          </button>
        )}
      </header>
      <ol class="stages">
        {STAGES.map((name, index) => (
          <li key={name} class={stageClass(rollout, index)} aria-current={index === rollout.stage ? 'step' : undefined}>
            {name}
          </li>
        ))}
      </ol>
      <p class="line">
        {rollout.reason}{' '}
        {rollout.state === 'running' && <span class="muted">Next step in {duration(leftMs)} at the earliest.</span>}
      </p>
      {rollout.health !== null && isUnderWay(rollout) && (
        <dl class="figures flat">
          <Group name="Have it" group={rollout.health.cohort} />
          <Group name="The others" group={rollout.health.rest} />
        </dl>
      )}
      <p class="bad line" role="alert">
        {error}
      </p>
    </section>
  );
}

function stageClass({ stage, state }: RolloutView, index: number): string {
  if (state === 'completed' || index < stage) return 'done';
  if (index > stage) return '';
  return state === 'halted' || state === 'aborted' ? 'halted' : 'current';
}

function Group({ name, group }: { readonly name: string; readonly group: GroupHealth }) {
  return (
    <div class="figure">
      <dt>{name}</dt>
      <dd>
        {plural(group.agents, 'agent')}, {count(group.settled)} acknowledged
        <span class="muted small">
          {' '}
          {plural(group.requests, 'request')}, {failureShare(group.failures, group.requests)} failed
        </span>
      </dd>
    </div>
  );
}
