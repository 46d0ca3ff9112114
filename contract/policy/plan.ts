// What all documents together say about requests from one caller to one service: the policy, the routes, the permission.
// Pure; called when documents or services change, never on the request path.

import { deepFreeze, type ExplainedPolicy, explainLayers, toEffective } from './effective.ts';
import { findSpec, layersOf, type RouteRuleSpec, ruleLayer } from './layers.ts';
import { permissionOf } from './permissions.ts';
import type {
  CallerPermission,
  EffectivePolicy,
  PolicyDocument,
  PolicyId,
  ServicePlan,
  SubsetFilter,
} from './policy.ts';
import type { RouteRule } from './route-rule.ts';
import { compileRules, nameRule } from './routes.ts';

/** What applies where no document says anything: the defaults of the schema. */
export const DEFAULT_POLICY: EffectivePolicy = toEffective(explainLayers([]));

/** A plan in the spelling of the documents, each value with its origin; the body of `GET /v1/effective/:caller/:service`. */
export interface ExplainedPlan {
  readonly caller: string;
  readonly service: string;
  readonly policy: ExplainedPolicy;
  /** In order of precedence; a rule with several matches appears once for each. */
  readonly rules: readonly {
    readonly name: string;
    readonly from: PolicyId;
    readonly matches: RouteRule['matches'];
    /** As the document has them. */
    readonly filters: NonNullable<RouteRuleSpec['filters']>;
    readonly backends: readonly {
      readonly service: string;
      readonly subset: string | null;
      readonly weight: number;
      readonly policy: ExplainedPolicy;
    }[];
  }[];
  readonly subsets: readonly SubsetFilter[];
  readonly permission: CallerPermission;
}

/**
 * The plan of one (caller, service) pair: MeshDefaults < ServicePolicy < its overrides < HTTPRoute rule.
 *
 * Each backend of a rule has its own service's policy with the rule's timeouts and retries on top. Backends are not routed
 * again by an HTTPRoute of their own.
 *
 * @param documents valid documents, order irrelevant; of two with one identity the first counts
 * @param caller    lower-case service name
 * @param service   lower-case service name; one that no document names gets the defaults
 * @returns         frozen; O(documents + rules × backends)
 */
export function planService(documents: readonly PolicyDocument[], caller: string, service: string): ServicePlan {
  const route = findSpec(documents, 'HTTPRoute', service);
  const policyOf = (rule: RouteRuleSpec, backend: string) =>
    toEffective(explainBackend(documents, caller, service, rule, backend));
  return deepFreeze({
    service,
    policy: toEffective(explainLayers(layersOf(documents, caller, service))),
    rules: route === null ? [] : compileRules(service, route.rules, policyOf),
    subsets: subsetsOf(documents, service),
    permission: permissionOf(documents, caller, service),
  });
}

export function subsetsOf(documents: readonly PolicyDocument[], service: string): SubsetFilter[] {
  const { subsets = {} } = findSpec(documents, 'ServicePolicy', service) ?? {};
  return Object.entries(subsets).map(([name, { filter }]) => ({ name, filter }));
}

/** As planService, with the origin of every value. */
export function explainPlan(documents: readonly PolicyDocument[], caller: string, service: string): ExplainedPlan {
  const { rules, permission } = planService(documents, caller, service);
  const specs = new Map(
    (findSpec(documents, 'HTTPRoute', service)?.rules ?? []).map((rule, index) => [nameRule(rule, index), rule]),
  );
  return {
    caller,
    service,
    policy: explainLayers(layersOf(documents, caller, service)),
    rules: rules.map(({ name, matches, backends }) => ({
      name,
      from: `HTTPRoute/${service}`,
      matches,
      filters: specs.get(name)?.filters ?? [],
      backends: backends.map((backend) => ({
        ...backend,
        policy: explainBackend(documents, caller, service, specs.get(name) ?? {}, backend.service),
      })),
    })),
    subsets: subsetsOf(documents, service),
    permission,
  };
}

function explainBackend(
  documents: readonly PolicyDocument[],
  caller: string,
  service: string,
  rule: RouteRuleSpec,
  backend: string,
): ExplainedPolicy {
  const layers = layersOf(documents, caller, backend);
  return explainLayers([...layers, ruleLayer(service, rule, explainLayers(layers).retries.on.value)]);
}
