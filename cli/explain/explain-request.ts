// What the documents decide about one request, and where they say it. The same functions that the agent calls decide; this file
// only asks them in order and looks up the places. Pure; nothing is sent.

import { findSpec, matchesGlob } from '#contract/policy/layers.ts';
import { explainPlan, planService } from '#contract/policy/plan.ts';
import type { PolicyDocument, PolicyId, PolicyKind } from '#contract/policy/policy.ts';
import { nameRule } from '#contract/policy/routes.ts';
import { isPermitted } from '../../agent/core/permission.ts';
import { explainRoute, type RuleMiss } from '../../agent/core/routes/explain-route.ts';
import { routeTableOf } from '../../agent/core/routes/route-table.ts';
import type { LocatedPolicy } from '../policy-files.ts';

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
    /** Percent of such requests. */
    readonly share: number;
    readonly at: string | null;
    readonly settings: readonly Setting[];
  }[];
}

/** A value that applies to the request and who said it. */
export interface Setting {
  readonly name: string;
  readonly value: string;
  readonly from: PolicyId | 'default';
  readonly at: string | null;
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

function explainPermission(
  policies: readonly LocatedPolicy[],
  documents: readonly PolicyDocument[],
  { caller, service, method, target }: RequestQuestion,
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
  const table = routeTableOf(plan.rules, null);
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
      share: Math.round((weight / total) * 1000) / 10,
      at:
        ruleIndex < 0
          ? null
          : placeOf(policies, 'HTTPRoute', service, `spec.rules[${ruleIndex}].backendRefs[${index}]`),
      settings: SHOWN.map(([section, key]): Setting => {
        const { value, from } = (
          policy[section] as Readonly<Record<string, { value: unknown; from: Setting['from'] }>>
        )[key] ?? {
          value: '',
          from: 'default',
        };
        const shown = Array.isArray(value) ? value.join(' ') : String(value);
        const place = from === 'default' ? null : settingAt(policies, from, { caller, ruleIndex, section, key });
        return { name: `${section}.${key}`, value: shown, from, at: place };
      }),
    })),
  };
}

/** A rule says it as `timeouts` or `retry`; a ServicePolicy in the last override for the caller that has it, or in itself. */
function settingAt(
  policies: readonly LocatedPolicy[],
  from: PolicyId,
  { caller, ruleIndex, section, key }: { caller: string; ruleIndex: number; section: string; key: string },
): string | null {
  const slash = from.indexOf('/');
  const [kind, name] = [from.slice(0, slash) as PolicyKind, from.slice(slash + 1)];
  if (kind === 'HTTPRoute') {
    const word = section === 'retries' ? `retry.${key === 'on' ? 'codes' : key}` : `${section}.${key}`;
    return placeOf(policies, kind, name, `spec.rules[${ruleIndex}].${word}`);
  }
  const spec =
    policies.find(({ document }) => `${document.kind}/${document.metadata.name}` === from)?.document.spec ?? {};
  const { overrides } = spec as { overrides?: readonly Readonly<Record<string, unknown>>[] }; // went through parsePolicy
  const index = (overrides ?? []).findLastIndex(
    (one) => matchesGlob(String(one.caller), caller) && Object.hasOwn((one[section] ?? {}) as object, key),
  );
  return placeOf(
    policies,
    kind,
    name,
    index < 0 ? `spec.${section}.${key}` : `spec.overrides[${index}].${section}.${key}`,
  );
}

/** `policies/orders.yaml:14:7`, or null when no such document is there. */
function placeOf(policies: readonly LocatedPolicy[], kind: PolicyKind, name: string, path: string): string | null {
  const found = policies.find(({ document }) => document.kind === kind && document.metadata.name === name);
  if (found === undefined) return null;
  const { line, column } = found.source.locate(path, 'key');
  return `${found.file}:${line}:${column}`;
}
