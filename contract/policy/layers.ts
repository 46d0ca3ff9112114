// Which documents speak about a (caller, service) pair, from the most general to the closest.

import type { ServiceIntentionsSpec } from '../schema/intentions-schema.ts';
import type { ServicePolicySpec } from '../schema/policy-schema.ts';
import type { HTTPRouteSpec } from '../schema/route-schema.ts';
import type { Sections } from '../schema/sections-schema.ts';
import type { Layer } from './effective.ts';
import { isCondition } from './effective.ts';
import type { PolicyDocument, PolicyKind } from './policy.ts';

export type RouteRuleSpec = HTTPRouteSpec['rules'][number];

interface SpecByKind {
  readonly MeshDefaults: Sections;
  readonly ServicePolicy: ServicePolicySpec;
  readonly HTTPRoute: HTTPRouteSpec;
  readonly ServiceIntentions: ServiceIntentionsSpec;
}

/** The spec of `kind/name`, or null. Documents went through parsePolicy, which is what the cast rests on. */
export function findSpec<Kind extends PolicyKind>(
  documents: readonly PolicyDocument[],
  kind: Kind,
  name: string,
): SpecByKind[Kind] | null {
  const found = documents.find((document) => document.kind === kind && document.metadata.name === name);
  return found === undefined ? null : (found.spec as SpecByKind[Kind]);
}

/** MeshDefaults, ServicePolicy, then every override whose glob matches, in document order. */
export function layersOf(documents: readonly PolicyDocument[], caller: string, service: string): Layer[] {
  const layers: Layer[] = [];
  const defaults = findSpec(documents, 'MeshDefaults', 'global');
  if (defaults !== null) layers.push({ from: 'MeshDefaults/global', sections: defaults });
  const policy = findSpec(documents, 'ServicePolicy', service);
  if (policy === null) return layers;
  layers.push({ from: `ServicePolicy/${service}`, sections: policy });
  for (const override of policy.overrides ?? []) {
    if (matchesGlob(override.caller, caller)) layers.push({ from: `ServicePolicy/${service}`, sections: override });
  }
  return layers;
}

/**
 * The layer that a rule puts on top of its backend's. `retry.codes` takes the place of the statuses and status groups that the
 * backend repeats; its conditions for failures to answer stay, as Gateway API has it.
 *
 * @param on what the backend's own layers repeat
 */
export function ruleLayer(service: string, rule: RouteRuleSpec, on: readonly string[]): Layer {
  const { timeouts, retry } = rule;
  const codes = retry?.codes;
  const kept = on.filter((word) => isCondition(word) && word !== '5xx' && word !== 'gatewayError');
  const retries = {
    ...(retry?.attempts === undefined ? {} : { attempts: retry.attempts }),
    ...(codes === undefined ? {} : { on: [...kept, ...codes.map(String)] }),
  };
  const sections: Sections = { ...(timeouts === undefined ? {} : { timeouts }), retries };
  return { from: `HTTPRoute/${service}`, sections };
}

/** Services that requests under a rule may go to: its backends (none says the routed service itself) and who gets copies. */
export function servicesNamedBy({ backendRefs = [], filters = [] }: RouteRuleSpec): string[] {
  const copies = filters.flatMap(({ requestMirror: mirror }) => (mirror === undefined ? [] : [mirror.backendRef.name]));
  return [...backendRefs.map(({ name }) => name), ...copies];
}

/** `*` stands for any characters, none included. O(text × stars), no backtracking beyond the last star. */
export function matchesGlob(glob: string, text: string): boolean {
  let globAt = 0;
  let textAt = 0;
  let starAt = -1;
  let resumeAt = 0;
  while (textAt < text.length) {
    if (glob[globAt] === '*') {
      starAt = globAt++;
      resumeAt = textAt;
    } else if (glob[globAt] === text[textAt]) {
      globAt++;
      textAt++;
    } else if (starAt !== -1) {
      globAt = starAt + 1;
      textAt = ++resumeAt;
    } else {
      return false;
    }
  }
  while (glob[globAt] === '*') globAt++;
  return globAt === glob.length;
}
