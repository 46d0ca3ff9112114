// What the documents decide about one request, and where they say it. The same functions that the agent calls decide; this file
// only asks them in order and looks up the places. Pure; nothing is sent.

import { findSpec } from '#contract/policy/layers.ts';
import { explainPlan, planService } from '#contract/policy/plan.ts';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import { nameRule } from '#contract/policy/routes.ts';
import { isPermitted } from '../../agent/core/permission.ts';
import { explainRoute, type RuleMiss } from '../../agent/core/routes/explain-route.ts';
import { routeTableOf } from '../../agent/core/routes/route-table.ts';
import type { LocatedPolicy } from '../policy-files.ts';
import { placeOf, type Setting, settingOf } from './places.ts';

export interface RequestQuestion {
  readonly caller: string;
  readonly service: string;
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
}

export interface RequestExplanation {
  readonly caller: string;
  readonly service: string;
  readonly permission: { readonly isAllowed: boolean; readonly text: string; readonly at: string | null };
  readonly route: {
    /** Null: the service has no rules, or none matches. */
    readonly rule: string | null;
    readonly text: string;
    readonly at: string | null;
    readonly misses: readonly (RuleMiss & { readonly at: string | null })[];
  };
  readonly backends: readonly {
    readonly service: string;
    readonly subset: string | null;
    /** Who belongs to the subset, and where that stands; null without one. */
    readonly filter: { readonly text: string; readonly at: string | null } | null;
    /** Percent of such requests. */
    readonly share: number;
    readonly at: string | null;
    readonly settings: readonly Setting[];
  }[];
}

/** What people ask about first; all of it is in `GET /v1/effective/:caller/:service`. */
const SHOWN = [
  ['timeouts', 'request'],
  ['timeouts', 'backendRequest'],
  ['timeouts', 'connect'],
  ['retries', 'attempts'],
  ['retries', 'on'],
  ['loadBalancer', 'policy'],
] as const;

export function explainRequest(policies: readonly LocatedPolicy[], question: RequestQuestion): RequestExplanation {
  const { caller, service } = question;
  const documents = policies.map(({ document }) => document);
  return {
    caller,
    service,
    permission: explainPermission(policies, documents, question),
    ...explainRules(policies, documents, question),
  };
}

export function explainPermission(
  policies: readonly LocatedPolicy[],
  documents: readonly PolicyDocument[],
  { caller, service, method, target }: Omit<RequestQuestion, 'headers'>,
): RequestExplanation['permission'] {
  const { permission } = planService(documents, caller, service);
  const isAllowed = isPermitted(permission, method, target);
  const verdict = isAllowed ? 'allowed' : 'denied';
  const intentions = findSpec(documents, 'ServiceIntentions', service);
  if (intentions === null) return { isAllowed, text: 'allowed: no ServiceIntentions name it', at: null };
  const { sources = [], defaultAction } = intentions;
  const exact = sources.findIndex(({ name }) => name === caller);
  const index = exact >= 0 ? exact : sources.findIndex(({ name }) => name === '*');
  const at = (path: string) => placeOf(policies, 'ServiceIntentions', service, path);
  if (index < 0) {
    return {
      isAllowed,
      text: `${verdict}: no source is ${caller}, default ${defaultAction}`,
      at: at('spec.defaultAction'),
    };
  }
  const source = sources[index];
  if (source?.permissions === undefined || permission.kind !== 'permissions') {
    return { isAllowed, text: `${verdict}: source ${source?.name}`, at: at(`spec.sources[${index}]`) };
  }
  // The last of them stands for defaultAction and has no place of its own.
  const nth = permission.permissions.findIndex((one) =>
    isPermitted({ ...permission, permissions: [{ ...one, action: 'allow' }] }, method, target),
  );
  const isListed = nth >= 0 && nth < source.permissions.length;
  return isListed
    ? {
        isAllowed,
        text: `${verdict}: source ${source.name}, permission ${nth + 1}`,
        at: at(`spec.sources[${index}].permissions[${nth}]`),
      }
    : {
        isAllowed,
        text: `${verdict}: no permission of source ${source.name} fits, default ${defaultAction}`,
        at: at('spec.defaultAction'),
      };
}

function explainRules(
  policies: readonly LocatedPolicy[],
  documents: readonly PolicyDocument[],
  { caller, service, method, target, headers }: RequestQuestion,
): Pick<RequestExplanation, 'route' | 'backends'> {
  const plan = planService(documents, caller, service);
  const table = routeTableOf(service, plan.rules, null);
  const header = (name: string): string | null => headers.get(name) ?? null;
  const { rule, text, misses } = explainRoute(table, { method, target, header });
  const specs = findSpec(documents, 'HTTPRoute', service)?.rules ?? [];
  const indexOf = (name: string): number => specs.findIndex((spec, index) => nameRule(spec, index) === name);
  const at = (name: string): string | null => placeOf(policies, 'HTTPRoute', service, `spec.rules[${indexOf(name)}]`);
  const explained = explainPlan(documents, caller, service);
  const matched = rule === null ? null : (explained.rules.find(({ name }) => name === rule) ?? null);
  const route = {
    rule,
    text: plan.rules.length === 0 ? 'the service has no routes' : text,
    at: rule === null ? null : at(rule),
    misses: misses.map((miss) => ({ ...miss, at: at(miss.rule) })),
  };
  // A service whose routes all miss answers 404 itself; nothing is sent anywhere.
  if (plan.rules.length > 0 && matched === null) return { route, backends: [] };
  const backends = matched?.backends ?? [{ service, subset: null, weight: 1, policy: explained.policy }];
  const total = backends.reduce((sum, { weight }) => sum + weight, 0);
  const ruleIndex = rule === null ? -1 : indexOf(rule);
  return {
    route,
    backends: backends.map(({ service: backend, subset, weight, policy }, index) => ({
      service: backend,
      subset,
      filter: subset === null ? null : filterOf(policies, documents, backend, subset),
      share: Math.round((weight / total) * 1000) / 10,
      at:
        ruleIndex < 0
          ? null
          : placeOf(policies, 'HTTPRoute', service, `spec.rules[${ruleIndex}].backendRefs[${index}]`),
      settings: SHOWN.map((path) => settingOf(policies, policy, path, { caller, ruleIndex })),
    })),
  };
}

function filterOf(
  policies: readonly LocatedPolicy[],
  documents: readonly PolicyDocument[],
  service: string,
  subset: string,
): { readonly text: string; readonly at: string | null } {
  const text = findSpec(documents, 'ServicePolicy', service)?.subsets?.[subset]?.filter ?? 'no such subset';
  return { text, at: placeOf(policies, 'ServicePolicy', service, `spec.subsets.${subset}`) };
}
