// A decision record in words and numbers: the body of `GET /why/:id`. Pure; says what was recorded and what follows from it,
// nothing that it does not know.

import { explainRoute, type RouteExplanation } from '../routes/explain-route.ts';
import { joinedValue } from '../routes/field-value.ts';
import type { EndpointView } from '../snapshot.ts';
import type { AfterAttempt, AttemptRecord, DecisionRecord } from './decision-record.ts';
import type { PickTrace } from './pick-trace.ts';
import { replayPick } from './replay.ts';
import { groupOf, labelOf, MAX_LISTED, type NotChosen, rounded, type Unfit, whyNot } from './why-not.ts';

export interface Explanation {
  readonly id: string;
  readonly requestId: string;
  /** ISO 8601. */
  readonly at: string;
  readonly direction: 'outbound' | 'inbound';
  readonly service: string;
  readonly method: string;
  readonly path: string;
  /** Whether `path` is only its beginning: records keep 64 bytes where no rules were looked through. */
  readonly isPathCut: boolean;
  readonly result: string;
  readonly status: number;
  readonly durationMs: number;
  /** One sentence. */
  readonly text: string;
  readonly policyVersion: number;
  readonly snapshotGeneration: number;
  /** The service whose rules were looked through; that of the endpoints is `service`. */
  readonly asked: string;
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
  /** Where the chosen one stands: its priority level, its zone where zones count, and what share of the requests goes there. */
  readonly group: {
    readonly priority: number;
    readonly zone: string | null;
    readonly sharePercent: number;
    readonly isPanicking: boolean;
  } | null;
  /** Subset that the rule names, or null. */
  readonly subset: string | null;
  /** Everybody else, each with its reason; at most a hundred. */
  readonly excluded: readonly NotChosen[];
  /** How many more there are. */
  readonly unlisted: number;
  /** The pick made again came to the same endpoint; null when its view is no longer kept. */
  readonly isReplayable: boolean | null;
}

/**
 * @param epochOffsetMs  what has to be added to monotonic ms to make them ms since 1970
 * @param unfit          whom Consul has as unfit now, of the record's service
 */
export function explainDecision(
  record: DecisionRecord,
  id: string,
  epochOffsetMs: number,
  unfit: readonly Unfit[] = [],
): Explanation {
  const { direction, inFlight, limit, isAdaptive, rejectProbability } = record;
  return {
    id,
    requestId: record.requestId === '' && record.result !== null ? id : record.requestId,
    at: new Date(Math.round(record.startedAt + epochOffsetMs)).toISOString(),
    direction,
    service: record.service,
    method: record.method,
    path: pathOf(record),
    isPathCut: isPathCut(record),
    result: record.result ?? 'under_way',
    status: record.status,
    durationMs: rounded(record.durationMs),
    text: sentence(record),
    policyVersion: record.policyVersion,
    snapshotGeneration: record.generation,
    asked: record.routes?.service ?? record.service,
    rule: record.rule?.name ?? null,
    route: routeOf(record),
    limits: record.hasLimits
      ? { inFlight, limit, isAdaptive, rejectProbability, queuedMs: rounded(record.queuedMs) }
      : null,
    deadline: {
      ms: Number.isFinite(record.deadlineMs) ? rounded(record.deadlineMs) : null,
      from: record.deadlineFrom,
    },
    attempts: record.attempts.map((attempt) => explainAttempt(attempt, unfit)),
  };
}

function routeOf({ routes, method, target, fields, host }: DecisionRecord): RouteExplanation | null {
  if (routes === null) return null;
  const header = (name: string) => (name === 'host' ? host : joinedValue(fields ?? [], name));
  return explainRoute(routes, { method, target, header });
}

function explainAttempt(attempt: AttemptRecord, unfit: readonly Unfit[]): AttemptExplanation {
  const { endpoint } = attempt;
  const { view } = attempt.held;
  const again = replayPick(attempt, endpoint);
  const home = view === null ? null : groupOf(view, endpoint);
  const excluded = view === null ? [] : whyNot(view, attempt, unfit);
  return {
    endpoint: labelOf(endpoint),
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
      endpoint: labelOf(one),
      load: rounded(load),
      inFlight,
    })),
    group:
      home === null
        ? null
        : {
            priority: home.group.priority,
            zone: home.group.zone,
            sharePercent: home.sharePercent,
            isPanicking: home.group.isPanicking,
          },
    subset: view?.subset?.name ?? null,
    excluded,
    unlisted: view === null || excluded.length < MAX_LISTED ? 0 : view.members.length - 1 - excluded.length,
    isReplayable: again === undefined ? null : again?.endpoint.id === endpoint?.endpoint.id,
  };
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
  const what = `${record.method} ${pathOf(record)}${record.service === '' ? '' : ` to ${record.service}`}`;
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
  return `${isHedge ? 'second copy: ' : ''}${labelOf(endpoint)} ${why}; ${what}`;
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
    const rest = others.map((sample) => `${labelOf(sample.endpoint)} ${rounded(sample.load)}`).join(', ');
    return `was chosen at load ${rounded(own.load)} against ${rest}`;
  },
};

/** Its query may hold secrets, and what is cut is said to be. */
function pathOf(record: DecisionRecord): string {
  return `${withoutQuery(record.target)}${isPathCut(record) ? '…' : ''}`;
}

/** A query that is cut is not shown anyway. */
function isPathCut({ isTargetCut, target }: DecisionRecord): boolean {
  return isTargetCut && withoutQuery(target) === target;
}

function withoutQuery(target: string): string {
  const end = target.search(/[?#]/);
  return end < 0 ? target : target.slice(0, end);
}
