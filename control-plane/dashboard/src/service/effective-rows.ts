// The policy in force as rows: a path, a value, and who said it. Pure.

export interface Origin {
  readonly kind: string;
  readonly name?: string;
  readonly revision?: number | null;
}

export interface EffectiveRow {
  readonly path: string;
  readonly value: string;
  readonly from: Origin;
}

/** Walks down to every `{value, from}`. */
export function effectiveRows(policy: unknown, path = ''): EffectiveRow[] {
  if (typeof policy !== 'object' || policy === null) return [];
  if ('value' in policy && 'from' in policy) {
    return [{ path, value: textOf(policy.value), from: policy.from as Origin }]; // as /v1/effective describes it
  }
  return Object.entries(policy).flatMap(([key, inner]) => effectiveRows(inner, path === '' ? key : `${path}.${key}`));
}

function textOf(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map(textOf).join(', ');
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (value === null || value === undefined) return 'not set';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
