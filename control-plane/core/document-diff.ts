// What differs between two documents, value by value, and which revision a value of the effective policy comes from. Pure.

import type { PolicyDocument } from '#contract/policy/policy.ts';

/** One value that is another one; `before` or `after` is absent where there was or is none. */
export interface Difference {
  /** `spec.retries.attempts`, `spec.rules[0].name`. */
  readonly path: string;
  readonly before?: unknown;
  readonly after?: unknown;
}

/** By path, in the order of the documents. Lists are compared by position. */
export function diffDocuments(before: PolicyDocument | null, after: PolicyDocument | null): Difference[] {
  const former = new Map(leavesOf(before?.spec, 'spec'));
  const latter = new Map(leavesOf(after?.spec, 'spec'));
  const paths = new Set([...former.keys(), ...latter.keys()]);
  return [...paths].flatMap((path): Difference[] => {
    const isSame = former.has(path) && latter.has(path) && former.get(path) === latter.get(path);
    if (isSame) return [];
    return [
      {
        path,
        ...(former.has(path) ? { before: former.get(path) } : {}),
        ...(latter.has(path) ? { after: latter.get(path) } : {}),
      },
    ];
  });
}

/** Empty mappings and lists are values too: to write one is not the same as to write nothing. */
function leavesOf(value: unknown, path: string): [path: string, leaf: unknown][] {
  if (value === undefined) return [];
  if (typeof value !== 'object' || value === null) return [[path, value]];
  const entries = Array.isArray(value)
    ? value.map((inner, index) => leavesOf(inner, `${path}[${index}]`))
    : Object.entries(value).map(([key, inner]) => leavesOf(inner, `${path}.${key}`));
  if (entries.length === 0) return [[path, Array.isArray(value) ? '[]' : '{}']];
  return entries.flat();
}

/** Where a value comes from. `default`: nobody said it. */
export type Origin =
  | { readonly kind: 'default' }
  | { readonly kind: string; readonly name: string; readonly revision: number | null };

/** The same value with every `from: 'Kind/name'` in it as kind, name and revision. */
export function withOrigins(value: unknown, revisions: ReadonlyMap<string, number>): unknown {
  if (Array.isArray(value)) return value.map((inner) => withOrigins(inner, revisions));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      key === 'from' && typeof inner === 'string' ? originOf(inner, revisions) : withOrigins(inner, revisions),
    ]),
  );
}

function originOf(id: string, revisions: ReadonlyMap<string, number>): Origin {
  const slash = id.indexOf('/');
  if (slash < 0) return { kind: 'default' };
  return { kind: id.slice(0, slash), name: id.slice(slash + 1), revision: revisions.get(id) ?? null };
}
