// Which document and line stand behind each step of a decision that an agent recorded. Pure: the record on one side, the documents
// that the agent has on the other.

import type { ExplainedPolicy } from '#contract/policy/effective.ts';
import { findSpec } from '#contract/policy/layers.ts';
import { explainPlan } from '#contract/policy/plan.ts';
import { nameRule } from '#contract/policy/routes.ts';
import type { AttemptExplanation, Explanation } from '../../agent/core/decision/explain.ts';
import type { LocatedPolicy } from '../policy-files.ts';
import { explainPermission } from './explain-request.ts';
import { placeOf, type Setting, type SettingPath, settingOf } from './places.ts';

export interface WhyPlaces {
  /** What ServiceIntentions say. Null for requests that came in: they are asked at the caller's side. */
  readonly access: { readonly isAllowed: boolean; readonly text: string; readonly at: string | null } | null;
  readonly rule: string | null;
  /** As `route.misses` of the record. */
  readonly misses: readonly (string | null)[];
  /** What the rule does beside sending the request on. */
  readonly filters: readonly { readonly text: string; readonly at: string | null }[];
  readonly backend: string | null;
  readonly deadline: Setting | null;
  readonly limit: Setting | null;
  /** What the agent's own answer goes back to. */
  readonly answer: Setting | null;
  readonly attempts: readonly {
    readonly balancer: Setting | null;
    readonly panic: Setting | null;
    readonly after: Setting | null;
    /** As `excluded` of the attempt. */
    readonly excluded: readonly (Setting | null)[];
  }[];
}

/** The setting that an answer of the agent's own goes back to. */
const BY_RESULT: Readonly<Record<string, SettingPath>> = {
  rate_limited: ['rateLimit', 'requests'],
  upstream_overflow: ['limits', 'maxConcurrentRequests'],
  admission_rejected: ['admissionControl', 'enabled'],
  upstream_connect_timeout: ['timeouts', 'connect'],
};

/** The setting that decided what came after an attempt. */
const BY_AFTER: Readonly<Record<string, SettingPath>> = {
  budget_exhausted: ['retries', 'budget', 'percent'],
  attempts_exhausted: ['retries', 'attempts'],
  not_retriable: ['retries', 'on'],
  not_idempotent: ['retries', 'methods'],
  deadline: ['timeouts', 'request'],
  overflow: ['limits', 'maxConnections'],
  timeout: ['timeouts', 'backendRequest'],
  connect_failure: ['retries', 'on'],
  reset: ['retries', 'on'],
  protocol_error: ['retries', 'on'],
  gateway_error: ['retries', 'on'],
  '5xx': ['retries', 'on'],
  status: ['retries', 'on'],
  hedge_lost: ['retries', 'hedging', 'enabled'],
};

/** The setting behind the reason for which an endpoint was not picked. */
const BY_REASON: Readonly<Record<string, SettingPath>> = {
  consecutive_5xx: ['outlierDetection', 'consecutive5xxErrors'],
  consecutive_gateway: ['outlierDetection', 'consecutiveGatewayErrors'],
  consecutive_local_origin: ['outlierDetection', 'consecutiveLocalOriginFailures'],
  success_rate: ['outlierDetection', 'successRate', 'stdevFactor'],
  local_origin_success_rate: ['outlierDetection', 'successRate', 'stdevFactor'],
  robust_success_rate: ['outlierDetection', 'robustSuccessRate', 'enforcing'],
  failure_percentage: ['outlierDetection', 'failurePercentage', 'threshold'],
  failure_percentage_local_origin: ['outlierDetection', 'failurePercentage', 'threshold'],
  latency: ['outlierDetection', 'latency', 'minimumDifference'],
  probe_failed: ['outlierDetection', 'baseEjectionTime'],
  health_check_failed: ['healthCheck', 'type'],
  zone: ['loadBalancer', 'zoneAware', 'enabled'],
  priority: ['loadBalancer', 'failover'],
  not_of_this_agent: ['loadBalancer', 'subset', 'size'],
  not_drawn: ['loadBalancer', 'policy'],
  not_its_turn: ['loadBalancer', 'policy'],
  compared: ['loadBalancer', 'policy'],
  other_key: ['loadBalancer', 'hashOn'],
  no_key: ['loadBalancer', 'hashOn'],
};

/** @param caller  service of the agent that has the record */
export function whyPlaces(policies: readonly LocatedPolicy[], caller: string, found: Explanation): WhyPlaces {
  const documents = policies.map(({ document }) => document);
  const { asked, rule, route, service, direction } = found;
  const from = direction === 'inbound' ? service : caller;
  const specs = direction === 'inbound' ? [] : (findSpec(documents, 'HTTPRoute', asked)?.rules ?? []);
  const indexOf = (name: string) => specs.findIndex((spec, index) => nameRule(spec, index) === name);
  const ruleIndex = rule === null ? -1 : indexOf(rule);
  const atRule = (index: number, rest = ''): string | null =>
    index < 0 ? null : placeOf(policies, 'HTTPRoute', asked, `spec.rules[${index}]${rest}`);
  const spec = specs[ruleIndex];
  const subset = found.attempts[0]?.subset ?? null;
  const backendIndex = (spec?.backendRefs ?? []).findIndex(
    (one) => one.name === service && (one.subset ?? null) === subset,
  );
  const plan = explainPlan(documents, from, asked);
  const backends = plan.rules.find(({ name }) => name === rule)?.backends ?? [];
  const policy: ExplainedPolicy =
    backends.find((one) => one.service === service && one.subset === subset)?.policy ??
    (service === asked ? plan.policy : explainPlan(documents, from, service).policy);
  const setting = (path: SettingPath | undefined): Setting | null =>
    path === undefined ? null : settingOf(policies, policy, path, { caller: from, ruleIndex });
  const question = { caller: from, service: asked, method: found.method, target: found.path };
  return {
    access: direction === 'inbound' || asked === '' ? null : explainPermission(policies, documents, question),
    rule: atRule(ruleIndex),
    misses: (route?.misses ?? []).map((miss) => atRule(indexOf(miss.rule))),
    filters: (spec?.filters ?? []).map((filter, index) => ({
      text: textOf(filter),
      at: atRule(ruleIndex, `.filters[${index}]`),
    })),
    backend: backendIndex < 0 ? null : atRule(ruleIndex, `.backendRefs[${backendIndex}]`),
    deadline: found.deadline.from === 'policy' ? setting(['timeouts', 'request']) : null,
    limit: found.limits === null ? null : setting(limitPath(found)),
    answer: setting(resultPath(found)),
    attempts: found.attempts.map((attempt) => ({
      balancer: attempt.way === 'balancer' ? setting(['loadBalancer', 'policy']) : null,
      panic: attempt.group?.isPanicking === true ? setting(['outlierDetection', 'minHealthPercent']) : null,
      after: setting(BY_AFTER[attempt.after ?? '']),
      excluded: attempt.excluded.map(({ reason }) =>
        reason === 'not_in_subset' ? subsetSetting(policies, found, attempt) : setting(BY_REASON[reason]),
      ),
    })),
  };
}

function limitPath({ limits }: Explanation): SettingPath {
  return limits?.isAdaptive === true
    ? ['limits', 'adaptiveConcurrency', 'enabled']
    : ['limits', 'maxConcurrentRequests'];
}

/** A timeout is that of the attempt, unless the whole request had no time left. */
function resultPath({ result, durationMs, deadline, attempts }: Explanation): SettingPath | undefined {
  if (result !== 'upstream_timeout') return BY_RESULT[result];
  const isWhole = attempts.at(-1)?.after === 'deadline' || durationMs >= (deadline.ms ?? Number.POSITIVE_INFINITY);
  return ['timeouts', isWhole ? 'request' : 'backendRequest'];
}

function subsetSetting(
  policies: readonly LocatedPolicy[],
  { service }: Explanation,
  { subset }: AttemptExplanation,
): Setting {
  const name = `subsets.${subset}`;
  const at = placeOf(policies, 'ServicePolicy', service, `spec.${name}`);
  return { name, value: '', from: `ServicePolicy/${service}`, at };
}

/** `RequestRedirect statusCode 308`, its facts as the document has them. */
function textOf({ type, ...facts }: { readonly type: string }): string {
  const said = Object.values(facts).map((fact) => JSON.stringify(fact).replaceAll('"', ''));
  return [type, ...said].join(' ');
}
