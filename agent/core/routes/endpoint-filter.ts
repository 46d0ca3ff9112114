// Decides whether an endpoint is one of a subset: a filter of policy/filter.ts over what discovery keeps of an instance. Pure;
// runs when endpoints or policies change, never for a request.

import { compilePattern } from '#contract/input/pattern.ts';
import { type Filter, parseFilter, type Selector } from '#contract/policy/filter.ts';
import type { Endpoint } from '../endpoint.ts';

export type EndpointFilter = (endpoint: Endpoint) => boolean;

const NOBODY: EndpointFilter = () => false;

/** A filter that cannot be read, which parsePolicy never lets through, holds for nobody. */
export function compileFilter(text: string, service: string): EndpointFilter {
  const parsed = parseFilter(text);
  return parsed.ok ? compile(parsed.filter, service) : NOBODY;
}

function compile(filter: Filter, service: string): EndpointFilter {
  switch (filter.kind) {
    case 'and': {
      const [left, right] = [compile(filter.left, service), compile(filter.right, service)];
      return (endpoint) => left(endpoint) && right(endpoint);
    }
    case 'or': {
      const [left, right] = [compile(filter.left, service), compile(filter.right, service)];
      return (endpoint) => left(endpoint) || right(endpoint);
    }
    case 'not': {
      const inner = compile(filter.inner, service);
      return (endpoint) => !inner(endpoint);
    }
    case 'is':
      return compileComparison(filter, service);
  }
}

/** A key that Service.Meta does not have equals nothing, contains nothing, matches nothing and is empty, as in Consul. */
function compileComparison(
  { selector, comparison, value }: Extract<Filter, { kind: 'is' }>,
  service: string,
): EndpointFilter {
  if (selector.field === 'Tags') {
    if (comparison === 'isEmpty') return ({ tags }) => tags.length === 0;
    return ({ tags }) => tags.includes(value);
  }
  if (selector.field === 'Meta') {
    if (comparison === 'isEmpty') return ({ meta }) => Object.keys(meta).length === 0;
    return ({ meta }) => Object.hasOwn(meta, value);
  }
  const read = readerOf(selector, service);
  switch (comparison) {
    case 'isEmpty':
      return (endpoint) => (read(endpoint) ?? '') === '';
    case 'equals':
      return (endpoint) => read(endpoint) === value;
    case 'contains':
      return (endpoint) => read(endpoint)?.includes(value) === true;
    case 'matches': {
      const compiled = compilePattern(value);
      if (!compiled.ok) return NOBODY;
      const { pattern } = compiled;
      return (endpoint) => {
        const text = read(endpoint);
        return text !== null && pattern.test(text);
      };
    }
  }
}

function readerOf(selector: Selector, service: string): (endpoint: Endpoint) => string | null {
  switch (selector.field) {
    case 'MetaEntry': {
      const { key } = selector;
      return ({ meta }) => (Object.hasOwn(meta, key) ? (meta[key] ?? null) : null);
    }
    case 'ID':
      return (endpoint) => idOf(endpoint, service);
    case 'Address':
      return ({ address }) => address;
    case 'Port':
      return ({ port }) => String(port);
    default:
      return () => service;
  }
}

/** The id that Consul knows the instance by, out of `service@ID@address:port`; empty for a static endpoint, which has none. */
function idOf({ id, address, port }: Endpoint, service: string): string {
  const end = id.length - `@${address}:${port}`.length;
  return id.slice(service.length + 1, Math.max(end, service.length + 1));
}
