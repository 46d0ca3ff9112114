// What a schema cannot say about a policy document: rules over several values of one mapping, by their name in `x-rules`.
// Each runs only on a mapping that is valid in itself, so the casts to the schema's types hold.

import type { Rule } from '../input/validate.ts';
import type { Problem } from '../problem.ts';
import type { ServiceIntentionsSpec } from '../schema/intentions-schema.ts';
import type { Sections } from '../schema/sections-schema.ts';
import { parseDuration } from '../text/durations.ts';
import { ROUTE_RULES } from './route-rules.ts';

type SourceSpec = NonNullable<ServiceIntentionsSpec['sources']>[number];
type PermissionSpec = NonNullable<SourceSpec['permissions']>[number];

type BackOffSpec = NonNullable<NonNullable<Sections['retries']>['backoff']>;
type AdaptiveSpec = NonNullable<NonNullable<Sections['limits']>['adaptiveConcurrency']>;

export const POLICY_RULES: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ...ROUTE_RULES,
  ['attemptWithinRequest', (value) => attemptWithinRequest(value as NonNullable<Sections['timeouts']>)],
  ['baseWithinMaxEjection', (value) => baseWithinMaxEjection(value as NonNullable<Sections['outlierDetection']>)],
  ['backOffInOrder', (value) => backOffInOrder(value as BackOffSpec)],
  ['limitsInOrder', (value) => limitsInOrder(value as AdaptiveSpec)],
  ['oneChoice', (value) => oneChoice(value as Readonly<Record<string, unknown>>)],
  ['balanceFactorAboveMean', (value) => balanceFactorAboveMean(value as NonNullable<Sections['loadBalancer']>)],
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
