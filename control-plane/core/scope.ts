// Which documents one agent gets: those that can change what happens to its own calls, and nothing about anybody else's. Pure.

import { matchesGlob, servicesNamedBy } from '#contract/policy/layers.ts';
import { permissionOf } from '#contract/policy/permissions.ts';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import type { ServiceIntentionsSpec } from '#contract/schema/intentions-schema.ts';
import type { ServicePolicySpec } from '#contract/schema/policy-schema.ts';
import type { HTTPRouteSpec } from '#contract/schema/route-schema.ts';

/**
 * The documents for an agent beside `service`:
 *
 * - MeshDefaults, whole;
 * - everything about `service` itself, whole;
 * - ServicePolicy and HTTPRoute of every service that ServiceIntentions do not deny to it outright, and of the backends
 *   and mirrors that such a route leads to; in a ServicePolicy only the overrides whose glob matches `service`;
 * - ServiceIntentions of every service, with the sources `service` and `*` only: without them a denied call would pass.
 *
 * What is left means the same to this agent as the whole set: planService(filtered, service, x) equals
 * planService(all, service, x) for every x that it may call. O(documents + sources + backends).
 */
export function documentsFor(service: string, documents: readonly PolicyDocument[]): PolicyDocument[] {
  const reachable = reachableFrom(service, documents);
  return documents.flatMap((document) => {
    const { kind, metadata } = document;
    if (kind === 'MeshDefaults' || metadata.name === service) return [document];
    if (kind === 'ServiceIntentions') return [withSourcesFor(service, document)];
    if (!reachable.has(metadata.name)) return [];
    return [kind === 'ServicePolicy' ? withOverridesFor(service, document) : document];
  });
}

/**
 * Whether an agent beside `service` may be told who serves a name: unless ServiceIntentions deny it outright and no route leads
 * there from a service that they do not.
 */
export function visibleTo(service: string, documents: readonly PolicyDocument[]): (name: string) => boolean {
  const reachable = reachableFrom(service, documents);
  const named = new Set(documents.map(({ metadata }) => metadata.name));
  return (name) => reachable.has(name) || !named.has(name);
}

/** One pass over the documents and one over the routes that are followed: asked for every service at every change. */
function reachableFrom(service: string, documents: readonly PolicyDocument[]): Set<string> {
  const names = new Set([service]);
  const denied = new Set<string>();
  const named = new Map<string, string[]>();
  for (const document of documents) {
    const { name } = document.metadata;
    names.add(name);
    if (document.kind === 'ServiceIntentions') {
      // Nothing but its own intentions says who may call a service.
      if (permissionOf([document], service, name).kind === 'deny') denied.add(name);
    } else if (document.kind === 'HTTPRoute') {
      // The cast is what parsePolicy established for the kind, as in findSpec.
      named.set(name, (document.spec as HTTPRouteSpec).rules.flatMap(servicesNamedBy));
    }
  }
  const reachable = new Set([...names].filter((name) => name === service || !denied.has(name)));
  // Whatever a document that is sent names is sent too: an agent refuses a route to a subset that it cannot find.
  for (const name of reachable) for (const other of named.get(name) ?? []) reachable.add(other);
  return reachable;
}

function withOverridesFor(service: string, document: PolicyDocument): PolicyDocument {
  // The cast is what parsePolicy established for the kind, as in findSpec.
  const { overrides = [], ...rest } = document.spec as ServicePolicySpec;
  const kept = overrides.filter(({ caller }) => matchesGlob(caller, service));
  if (kept.length === overrides.length) return document;
  return { ...document, spec: kept.length === 0 ? rest : { ...rest, overrides: kept } };
}

function withSourcesFor(service: string, document: PolicyDocument): PolicyDocument {
  const spec = document.spec as ServiceIntentionsSpec;
  const sources = (spec.sources ?? []).filter(({ name }) => name === service || name === '*');
  return sources.length === (spec.sources ?? []).length ? document : { ...document, spec: { ...spec, sources } };
}
