// Watching and steering a staged change. It begins with a write, `PUT /v1/policies/…?rollout=staged`.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { PolicyDocument, PolicyId } from '#contract/policy/policy.ts';
import { type Rollout, STAGES } from '../core/rollout.ts';
import type { RolloutHealth } from '../core/rollout-health.ts';
import { quantilesOf } from '../core/traffic.ts';
import type { PolicySet, Store } from '../store/store.ts';
import { answer } from './answers.ts';
import { refuseForeignDocument } from './auth.ts';
import { ApiError } from './problem.ts';

/** What the driver of rollouts offers to the API. */
export interface RolloutControl {
  begin(set: PolicySet, id: PolicyId, document: PolicyDocument | null, author: string, soakMs: number): Rollout;
  healthOf(id: string): RolloutHealth | null;
  pause(id: string, operator: string): Promise<Controlled>;
  resume(id: string, operator: string): Promise<Controlled>;
  abort(id: string, operator: string): Promise<Controlled>;
}

type Controlled = { readonly kind: 'done'; readonly rollout: Rollout } | { readonly kind: 'over' };

export interface RolloutRoutesOptions {
  readonly store: Store;
  readonly rollouts: RolloutControl;
}

const tags = ['policies'];
const rolloutSchema = { id: { type: 'string' }, state: { type: 'string' }, percent: { type: 'number' } };

export async function rolloutRoutes(app: FastifyInstance, { store, rollouts }: RolloutRoutesOptions): Promise<void> {
  const readers = { config: { access: ['viewer'] as const } };
  const editors = { config: { access: ['editor'] as const } };
  const params = { type: 'object', properties: { id: { type: 'string', maxLength: 64 } }, required: ['id'] };

  app.get(
    '/v1/rollouts',
    {
      ...readers,
      schema: {
        summary: 'The staged change that is under way, or the last one',
        tags,
        response: { 200: answer('it', { version: { type: 'integer' }, rollout: { type: ['object', 'null'] } }) },
      },
    },
    async () => {
      const { version, rollout } = await store.list();
      return { version, rollout: rollout === null ? null : viewOf(rollout, rollouts.healthOf(rollout.id)) };
    },
  );

  const steer = (verb: 'pause' | 'resume' | 'abort', summary: string): void => {
    app.post<{ Params: { id: string } }>(
      `/v1/rollouts/:id/${verb}`,
      {
        ...editors,
        schema: { summary, tags, params, response: { 200: answer('the rollout as it is now', rolloutSchema) } },
      },
      async (request) => {
        const { id } = request.params;
        await refuseForeignRollout(request, store, id);
        const result = await rollouts[verb](id, request.operator);
        if (result.kind === 'over') throw over(id);
        return viewOf(result.rollout, rollouts.healthOf(id));
      },
    );
  };
  steer('pause', 'Stay at this stage; what is bad is still taken back');
  steer('resume', 'Go on; the rest of this stage begins anew');
  steer('abort', 'Put the former document back everywhere');
}

async function refuseForeignRollout(request: FastifyRequest, store: Store, id: string): Promise<void> {
  const { rollout } = await store.list();
  if (rollout?.id !== id) throw over(id);
  const slash = rollout.policy.indexOf('/');
  refuseForeignDocument(request, rollout.policy.slice(0, slash), rollout.policy.slice(slash + 1));
}

function over(id: string): ApiError {
  return new ApiError('OTR_ERR_NOT_FOUND', `no rollout ${id.slice(0, 64)} is under way`);
}

function viewOf(rollout: Rollout, health: RolloutHealth | null): object {
  const { stableDocument, ...rest } = rollout;
  return {
    ...rest,
    percent: STAGES[rollout.stage] ?? 100,
    hasFormer: stableDocument !== null,
    health: healthView(health),
  };
}

/** Lists of agents are as long as the fleet; the page of agents has them. */
function healthView(health: RolloutHealth | null): object | null {
  if (health === null) return null;
  const { connected, cohort, rest } = health;
  const brief = ({ latencies, ...group }: RolloutHealth['cohort']): object => {
    return { ...group, ...quantilesOf(Object.values(latencies)) };
  };
  return { connected: connected.length, cohort: brief(cohort), rest: brief(rest) };
}
