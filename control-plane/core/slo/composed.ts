// Availability of a whole made of parts: what the measured parts promise for a path, to hold against what was measured. Pure.

/** All parts are needed. 0.999 · 0.999 = 0.998. */
export function inSeries(parts: readonly number[]): number {
  return parts.reduce((product, part) => product * part, 1);
}

/** One part is enough, failures being independent, which they rarely are. Two of 0.99 make 0.9999. */
export function inParallel(parts: readonly number[]): number {
  return parts.length === 0 ? 0 : 1 - parts.reduce((product, part) => product * (1 - part), 1);
}

/** One service of the mesh as far as this arithmetic sees it. */
export interface Part {
  readonly service: string;
  /** Measured availability of each endpoint that was asked. */
  readonly endpoints: readonly number[];
  /** Services that it calls. */
  readonly calls: readonly string[];
}

export interface Composed {
  /** The endpoints in parallel. */
  readonly own: number | null;
  /** `own` in series with everything it calls, directly or not, each once. Null while nothing of it was measured. */
  readonly path: number | null;
  readonly through: readonly string[];
}

/** A service that was not measured counts as 1: nothing is known against it. Circles are walked once. */
export function composedOf(service: string, parts: ReadonlyMap<string, Part>): Composed {
  const ownOf = (name: string): number | null => {
    const endpoints = parts.get(name)?.endpoints ?? [];
    return endpoints.length === 0 ? null : inParallel(endpoints);
  };
  const seen = new Set([service]);
  for (const name of seen) for (const called of parts.get(name)?.calls ?? []) seen.add(called);
  const measured = [...seen].map(ownOf).filter((own) => own !== null);
  const path = measured.length === 0 ? null : inSeries(measured);
  return { own: ownOf(service), path, through: [...seen].slice(1).sort() };
}
