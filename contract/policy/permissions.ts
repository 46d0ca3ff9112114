// What ServiceIntentions say to one caller.

import { findSpec } from './layers.ts';
import type { CallerPermission, PolicyDocument, PolicyId } from './policy.ts';

/**
 * An exact source goes before `*`, and `*` before defaultAction; without a document everybody may call.
 *
 * A list of permissions always ends in one that matches everything, with defaultAction: the first match decides, and there
 * always is one.
 */
export function permissionOf(documents: readonly PolicyDocument[], caller: string, service: string): CallerPermission {
  const intentions = findSpec(documents, 'ServiceIntentions', service);
  if (intentions === null) return { kind: 'allow' };
  const from: PolicyId = `ServiceIntentions/${service}`;
  const { defaultAction, sources = [] } = intentions;
  const source = sources.find(({ name }) => name === caller) ?? sources.find(({ name }) => name === '*');
  if (source?.permissions === undefined) {
    return (source?.action ?? defaultAction) === 'allow' ? { kind: 'allow' } : { kind: 'deny', from };
  }
  const permissions = source.permissions.map(({ action, http: { methods, pathPrefix, pathExact } }) => ({
    action,
    methods: methods ?? null,
    pathPrefix: pathPrefix ?? null,
    pathExact: pathExact ?? null,
  }));
  const rest = { action: defaultAction, methods: null, pathPrefix: null, pathExact: null };
  return { kind: 'permissions', from, permissions: [...permissions, rest] };
}
