// What a schema cannot say about a policy document: rules over several values of one mapping, by their name in `x-rules`.
// Each runs only on a mapping that is valid in itself, so the casts to the schema's types hold.

import type { Rule } from '../input/validate.ts';
import type { Problem } from '../problem.ts';
import type { ServiceIntentionsSpec } from '../schema/intentions-schema.ts';
import type { HTTPRouteSpec } from '../schema/route-schema.ts';
import type { Sections } from '../schema/sections-schema.ts';
import { parseDuration } from '../text/durations.ts';
import { pathTo } from '../text/problem-words.ts';

type RouteRuleSpec = HTTPRouteSpec['rules'][number];
type FilterSpec = NonNullable<RouteRuleSpec['filters']>[number];
type ModifierSpec = NonNullable<FilterSpec['requestHeaderModifier']>;
type SourceSpec = NonNullable<ServiceIntentionsSpec['sources']>[number];
type PermissionSpec = NonNullable<SourceSpec['permissions']>[number];

type BackOffSpec = NonNullable<NonNullable<Sections['retries']>['backoff']>;
type AdaptiveSpec = NonNullable<NonNullable<Sections['limits']>['adaptiveConcurrency']>;

export const POLICY_RULES: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ['attemptWithinRequest', (value) => attemptWithinRequest(value as NonNullable<Sections['timeouts']>)],
  ['baseWithinMaxEjection', (value) => baseWithinMaxEjection(value as NonNullable<Sections['outlierDetection']>)],
  ['backOffInOrder', (value) => backOffInOrder(value as BackOffSpec)],
  ['limitsInOrder', (value) => limitsInOrder(value as AdaptiveSpec)],
  ['oneChoice', (value) => oneChoice(value as Readonly<Record<string, unknown>>)],
  ['balanceFactorAboveMean', (value) => balanceFactorAboveMean(value as NonNullable<Sections['loadBalancer']>)],
  ['headerNamedOnce', (value) => headerNamedOnce(value as ModifierSpec)],
  ['filterMatchesType', (value) => filterMatchesType(value as FilterSpec)],
  ['givenNamesApart', (value) => givenNamesApart(value as readonly RouteRuleSpec[])],
  ['someWeight', (value) => someWeight(value as NonNullable<RouteRuleSpec['backendRefs']>)],
  ['parentIsSelf', (value) => parentIsSelf(value as { metadata: { name: string }; spec: HTTPRouteSpec })],
  ['onePath', (value) => onePath(value as PermissionSpec['http'])],
  ['actionOrPermissions', (value) => actionOrPermissions(value as SourceSpec)],
]);

function inconsistent(path: string, message: string): Problem {
  return { code: 'OTR_INCONSISTENT', path, message };
}

/** 0 is no limit, which no attempt exceeds; an unlimited attempt ends with the request. */
function attemptWithinRequest({ request, backendRequest }: NonNullable<Sections['timeouts']>): Problem[] {
  if (request === undefined || backendRequest === undefined) return [];
  const requestMs = parseDuration(request) ?? 0;
  if (requestMs === 0 || (parseDuration(backendRequest) ?? 0) <= requestMs) return [];
  return [inconsistent('backendRequest', `must be at most request (${request}), found ${backendRequest}`)];
}

function baseWithinMaxEjection(section: NonNullable<Sections['outlierDetection']>): Problem[] {
  const { baseEjectionTime: base, maxEjectionTime: max } = section;
  if (base === undefined || max === undefined || (parseDuration(max) ?? 0) >= (parseDuration(base) ?? 0)) return [];
  return [inconsistent('maxEjectionTime', `must be at least baseEjectionTime (${base}), found ${max}`)];
}

function backOffInOrder({ base, max }: BackOffSpec): Problem[] {
  if (base === undefined || max === undefined || (parseDuration(max) ?? 0) >= (parseDuration(base) ?? 0)) return [];
  return [inconsistent('max', `must be at least base (${base}), found ${max}`)];
}

function limitsInOrder({ minLimit, maxLimit }: AdaptiveSpec): Problem[] {
  if (minLimit === undefined || maxLimit === undefined || minLimit <= maxLimit) return [];
  return [inconsistent('minLimit', `must be at most maxLimit (${maxLimit}), found ${minLimit}`)];
}

/** A list entry that is one of several things. Its schema has the choices as optional keys. */
function oneChoice(value: Readonly<Record<string, unknown>>): Problem[] {
  const [first, second] = Object.keys(value);
  if (first === undefined) return [{ code: 'OTR_MISSING', path: '', message: 'must have one key, found none' }];
  return second === undefined ? [] : [inconsistent(second, `must not be there beside ${first}`)];
}

/** Below the mean not even an even spread would fit. */
function balanceFactorAboveMean({ hashBalanceFactor: factor = 0 }: NonNullable<Sections['loadBalancer']>): Problem[] {
  if (factor === 0 || factor >= 100) return [];
  const message = `must be 0 or at least 100, found ${factor}`;
  return [{ code: 'OTR_RANGE', path: 'hashBalanceFactor', message }];
}

function headerNamedOnce({ set = [], add = [], remove = [] }: ModifierSpec): Problem[] {
  const names = [
    ...set.map(({ name }, index) => ({ name, path: `${pathTo('set', index)}.name` })),
    ...add.map(({ name }, index) => ({ name, path: `${pathTo('add', index)}.name` })),
    ...remove.map((name, index) => ({ name, path: pathTo('remove', index) })),
  ];
  const first = new Map<string, string>();
  return names.flatMap(({ name, path }): Problem[] => {
    const key = name.toLowerCase();
    const former = first.get(key);
    if (former === undefined) first.set(key, path);
    return former === undefined
      ? []
      : [{ code: 'OTR_DUPLICATE', path, message: `${key} is already named at ${former}` }];
  });
}

function filterMatchesType({ type, requestHeaderModifier, responseHeaderModifier }: FilterSpec): Problem[] {
  const isRequest = type === 'RequestHeaderModifier';
  const [own, other] = isRequest
    ? (['requestHeaderModifier', 'responseHeaderModifier'] as const)
    : (['responseHeaderModifier', 'requestHeaderModifier'] as const);
  const has = { requestHeaderModifier, responseHeaderModifier };
  const problems: Problem[] = [];
  if (has[own] === undefined) {
    problems.push({ code: 'OTR_MISSING', path: own, message: `must be there: the type is ${type}` });
  }
  if (has[other] !== undefined) problems.push(inconsistent(other, `must not be there: the type is ${type}`));
  return problems;
}

function someWeight(backends: NonNullable<RouteRuleSpec['backendRefs']>): Problem[] {
  const total = backends.reduce((sum, { weight = 1 }) => sum + weight, 0);
  return total > 0 ? [] : [{ code: 'OTR_RANGE', path: '', message: 'weights must add up to more than 0, found 0' }];
}

/** A rule called `rule-2` would share its name with a nameless second one. */
function givenNamesApart(rules: readonly RouteRuleSpec[]): Problem[] {
  const nameless = new Set(rules.flatMap(({ name }, index) => (name === undefined ? [`rule-${index + 1}`] : [])));
  return rules.flatMap(({ name }, index): Problem[] => {
    if (name === undefined || !nameless.has(name)) return [];
    const message = `must differ from the name of a nameless rule, found ${name}`;
    return [{ code: 'OTR_DUPLICATE', path: `${pathTo('', index)}.name`, message }];
  });
}

function parentIsSelf({ metadata, spec }: { metadata: { name: string }; spec: HTTPRouteSpec }): Problem[] {
  const parent = spec.parentRefs[0];
  if (parent === undefined || parent.name === metadata.name) return [];
  const message = `must be metadata.name (${metadata.name}), found ${parent.name}`;
  return [inconsistent('spec.parentRefs[0].name', message)];
}

function onePath({ methods, pathPrefix, pathExact }: PermissionSpec['http']): Problem[] {
  if (pathPrefix !== undefined && pathExact !== undefined) {
    return [inconsistent('pathExact', 'must not be there beside pathPrefix')];
  }
  if (methods !== undefined || pathPrefix !== undefined || pathExact !== undefined) return [];
  return [{ code: 'OTR_MISSING', path: '', message: 'must name methods, pathPrefix or pathExact' }];
}

function actionOrPermissions({ action, permissions }: SourceSpec): Problem[] {
  if (action !== undefined && permissions !== undefined) {
    return [inconsistent('action', 'must not be there beside permissions')];
  }
  if (action !== undefined || permissions !== undefined) return [];
  return [{ code: 'OTR_MISSING', path: 'action', message: 'must be there: allow, deny, or permissions instead' }];
}
