// A decision record in words and numbers: the body of `GET /why/:id`. Pure; says what was recorded and what follows from it,
// nothing that it does not know.

import { formatHostPort } from '#contract/text/host-port.ts';
import { explainRoute, type RouteExplanation } from '../routes/explain-route.ts';
import { joinedValue } from '../routes/field-value.ts';
import type { EndpointView, ServiceView } from '../snapshot.ts';
import type { AfterAttempt, AttemptRecord, DecisionRecord } from './decision-record.ts';
import type { PickTrace } from './pick-trace.ts';
import { replayPick } from './replay.ts';
import { TARGET_BYTES } from './storage.ts';

export interface Explanation {
  readonly id: string;
  readonly requestId: string;
  /** ISO 8601. */
  readonly at: string;
  readonly direction: 'outbound' | 'inbound';
  readonly service: string;
  readonly method: string;
  readonly path: string;
  readonly result: string;
  readonly status: number;
  readonly durationMs: number;
  /** One sentence. */
  readonly text: string;
  readonly policyVersion: number;
  readonly snapshotGeneration: number;
  /** Name of the rule, or null when the service has none. */
  readonly rule: string | null;
  /** How the rule was found: those that were tried before it, and the nearest miss. Null without rules. */
  readonly route: RouteExplanation | null;
  readonly limits: {
    readonly inFlight: number;
    readonly limit: number;
    readonly isAdaptive: boolean;
    readonly rejectProbability: number;
    readonly queuedMs: number;
  } | null;
  readonly deadline: { readonly ms: number | null; readonly from: string };
  readonly attempts: readonly AttemptExplanation[];
}

export interface AttemptExplanation {
  readonly endpoint: string;
  readonly text: string;
  readonly way: string;
  readonly isHedge: boolean;
  readonly waitedMs: number;
  readonly outcome: string | null;
  readonly status: number;
  readonly latencyMs: number;
  readonly after: string | null;
  /** What the after-word means. */
  readonly afterText: string;
  /** Retries in the budget when one was asked for, else null. */
  readonly budget: number | null;
  readonly seed: number;
  readonly candidates: number;
  readonly sampled: readonly { readonly endpoint: string; readonly load: number; readonly inFlight: number }[];
  readonly excluded: readonly {
    readonly endpoint: string;
    readonly state: string;
    readonly reason: string;
    readonly text: string;
  }[];
  /** The pick made again came to the same endpoint; null when its view is no longer kept. */
  readonly isReplayable: boolean | null;
}

/** At most this many endpoints are listed. */
const MAX_LISTED = 100;

/** @param epochOffsetMs  what has to be added to monotonic ms to make them ms since 1970 */
export function explainDecision(record: DecisionRecord, id: string, epochOffsetMs: number): Explanation {
  const { direction, inFlight, limit, isAdaptive, rejectProbability } = record;
  return {
    id,
    requestId: record.requestId,
    at: new Date(Math.round(record.startedAt + epochOffsetMs)).toISOString(),
    direction,
    service: record.service,
    method: record.method,
    path: withoutQuery(record.target),
    result: record.result ?? 'under_way',
    status: record.status,
    durationMs: rounded(record.durationMs),
    text: sentence(record),
    policyVersion: record.policyVersion,
    snapshotGeneration: record.generation,
    rule: record.rule?.name ?? null,
    route: routeOf(record),
    limits: record.hasLimits
      ? { inFlight, limit, isAdaptive, rejectProbability, queuedMs: rounded(record.queuedMs) }
      : null,
    deadline: {
      ms: Number.isFinite(record.deadlineMs) ? rounded(record.deadlineMs) : null,
      from: record.deadlineFrom,
    },
    attempts: record.attempts.map(explainAttempt),
  };
}

/** Null too when the target was longer than what is kept: matched again it might come to another rule. */
function routeOf({ routes, method, target, fields }: DecisionRecord): RouteExplanation | null {
  if (routes === null || target.length >= TARGET_BYTES) return null;
  return explainRoute(routes, { method, target, header: (name) => joinedValue(fields ?? [], name) });
}

function explainAttempt(attempt: AttemptRecord): AttemptExplanation {
  const { endpoint } = attempt;
  const { view } = attempt.held;
  const again = replayPick(attempt, endpoint);
  return {
    endpoint: label(endpoint),
    text: attemptSentence(attempt),
    way: attempt.way,
    isHedge: attempt.isHedge,
    waitedMs: rounded(attempt.waitedMs),
    outcome: attempt.kind,
    status: attempt.status,
    latencyMs: rounded(attempt.latencyMs),
    after: attempt.after,
    afterText: attempt.after === null ? 'it is still under way' : AFTER_TEXT[attempt.after],
    budget: Number.isNaN(attempt.budget) ? null : rounded(attempt.budget),
    seed: attempt.seed,
    candidates: view?.pickable.length ?? 0,
    sampled: attempt.samples().map(({ endpoint: one, load, inFlight }) => ({
      endpoint: label(one),
      load: rounded(load),
      inFlight,
    })),
    excluded: view === null ? [] : excludedFrom(view, attempt),
    isReplayable: again === undefined ? null : again?.endpoint.id === endpoint?.endpoint.id,
  };
}

function excludedFrom(view: ServiceView, { now, tried }: PickTrace): AttemptExplanation['excluded'] {
  const pickable = new Set(view.pickable);
  const reasons = new Map(view.excluded.map((one) => [one.endpoint, one]));
  const list: { endpoint: string; state: string; reason: string; text: string }[] = [];
  for (const one of view.endpoints) {
    if (list.length === MAX_LISTED) break;
    const known = reasons.get(one);
    const wasTried = tried.some(({ stats }) => stats === one.stats);
    if (pickable.has(one) && !wasTried) continue;
    if (wasTried)
      list.push({ endpoint: label(one), state: 'tried', reason: 'tried', text: 'it failed this request already' });
    else if (known === undefined) {
      list.push({
        endpoint: label(one),
        state: 'serving',
        reason: 'not_needed',
        text: 'another zone or priority level carries the load',
      });
    } else {
      const leftMs = Math.max(0, known.until - now);
      const left = known.until > 0 ? `, ${(leftMs / 1000).toFixed(1)} s left` : '';
      list.push({
        endpoint: label(one),
        state: known.state,
        reason: known.reason,
        text: `${known.text === '' ? known.state : known.text}${left}`,
      });
    }
  }
  return list;
}

const AFTER_TEXT: Readonly<Record<AfterAttempt, string>> = {
  accepted: 'the answer was taken',
  hedge_lost: 'another copy of the request was answered first',
  waits_for_other: 'another copy of the request was still under way',
  budget_exhausted: 'a retry was wanted, and the retry budget was spent',
  told_not_to: 'an agent further in said that it should not be repeated',
  no_other_endpoint: 'no connection, and there is no other endpoint to ask',
  length_required: 'the endpoint wants a Content-Length and is asked again with one',
  stale_connection: 'a kept connection had been closed; a fresh one is used',
  connect_failure: 'no connection: another endpoint is asked',
  overflow: 'the endpoint had no connection left: another one is asked',
  reset: 'the connection ended before the answer: asked again',
  protocol_error: 'the answer was not HTTP: asked again',
  timeout: 'no answer in time: asked again',
  gateway_error: 'the answer was 502, 503 or 504: asked again',
  '5xx': 'the answer was a 5xx: asked again',
  status: 'the policy repeats this status: asked again',
  head_relayed: 'the answer had begun: nothing can be repeated',
  canceled: 'the caller left',
  not_retriable: 'the policy does not repeat this',
  attempts_exhausted: 'no attempt is left by the policy',
  deadline: 'no time is left',
  not_replayable: 'a part of the body went out and was not kept',
  not_idempotent: 'the method may act twice, and there is no Idempotency-Key',
};

function sentence(record: DecisionRecord): string {
  const what = `${record.method} ${withoutQuery(record.target)}${record.service === '' ? '' : ` to ${record.service}`}`;
  const { attempts } = record;
  const count = attempts.length === 1 ? '1 attempt' : `${attempts.length} attempts`;
  const time = `in ${rounded(record.durationMs)} ms`;
  if (record.result === null) return `${what}: under way after ${count}`;
  if (record.result === 'ok') return `${what}: ${record.status} after ${count} ${time}`;
  return `${what}: ${record.result}${record.message === '' ? '' : ` (${record.message})`} after ${count} ${time}`;
}

function attemptSentence(attempt: AttemptRecord): string {
  const { endpoint, kind, status, latencyMs, isHedge } = attempt;
  const why = WAY_TEXT[attempt.way](attempt, endpoint);
  const what =
    kind === null ? 'under way' : kind === 'response' ? `answered ${status} in ${rounded(latencyMs)} ms` : kind;
  return `${isHedge ? 'second copy: ' : ''}${label(endpoint)} ${why}; ${what}`;
}

const WAY_TEXT: Readonly<Record<PickTrace['way'], (trace: PickTrace, endpoint: EndpointView | null) => string>> = {
  probe: () => 'was owed a probe after its ejection',
  only: () => 'was the only one',
  again: () => 'was asked again on a fresh connection',
  balancer: (trace, endpoint) => {
    const samples = trace.samples();
    const own = samples.find((sample) => sample.endpoint === endpoint);
    const others = samples.filter((sample) => sample.endpoint !== endpoint);
    if (own === undefined || others.length === 0) return 'was next by the balancer';
    const rest = others.map((sample) => `${label(sample.endpoint)} ${rounded(sample.load)}`).join(', ');
    return `was chosen at load ${rounded(own.load)} against ${rest}`;
  },
};

function label(view: EndpointView | null): string {
  if (view === null) return 'nobody';
  return formatHostPort({ host: view.endpoint.address, port: view.endpoint.port });
}

function withoutQuery(target: string): string {
  const end = target.search(/[?#]/);
  return end < 0 ? target : target.slice(0, end);
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
