// What is measured, as tables: each experiment takes its seed and size and gives rows. Nothing here prints.

import type { Random } from '../../agent/clock.ts';
import { MAGLEV_SIZE, MaglevTable } from '../../agent/core/balance/maglev.ts';
import { RingTable } from '../../agent/core/balance/ring.ts';
import { hash32 } from '../../agent/core/hash.ts';
import { seededRandom } from '../../test/support/seeded-random.ts';
import { CoreBalancer, EnvoyLeastRequest } from './balancers.ts';
import { type Balancer, quantile, type Result, simulate, successWithin, type Workload } from './fleet.ts';

export interface Comparison {
  readonly name: string;
  readonly result: Result;
  readonly ejections: number;
}

const POLICIES = ['roundRobin', 'random', 'leastRequest', 'peakEwma'] as const;

/** Each algorithm on the same workload, from the same seed. */
export function compare(workload: Workload, seed: number): Comparison[] {
  const makers: ((random: Random) => Balancer & { readonly ejections?: number })[] = [
    ...POLICIES.map((policy) => (random: Random) => new CoreBalancer(policy, workload, random, false)),
    () => new EnvoyLeastRequest(workload),
    (random) => new CoreBalancer('peakEwma', workload, random, true),
  ];
  return makers.map((make) => {
    const balancer = make(seededRandom(seed + 1));
    const result = simulate(workload, balancer, seededRandom(seed));
    return { name: balancer.name, result, ejections: balancer.ejections ?? 0 };
  });
}

export function comparisonRows(comparisons: readonly Comparison[], withinMs: number): string[][] {
  return comparisons.map(({ name, result, ejections }) => [
    name,
    `${(successWithin(result, withinMs) * 100).toFixed(2)} %`,
    ...[0.5, 0.99, 0.999].map((part) => `${quantile(result, part).toFixed(1)} ms`),
    String(ejections),
  ]);
}

/**
 * n requests that never end on n replicas: requests at the fullest one, over several trials. The core's own picks: `random` is
 * one choice, `leastRequest` as many as it is told.
 */
export function fullest(n: number, choices: 1 | 2 | 3, trials: number, seed: number): number[] {
  const never: Workload = {
    name: 'balls into bins',
    replicas: n,
    requestsPerSecond: 1000,
    durationMs: n,
    arrivals: 'even',
    workers: 0,
    serve: () => ({ serviceMs: 0, status: 200 }),
  };
  return Array.from({ length: trials }, (_, trial) => {
    const random = seededRandom(seed + trial);
    const balancer = new CoreBalancer(
      choices === 1 ? 'random' : 'leastRequest',
      never,
      random,
      false,
      Math.max(2, choices),
    );
    const loads = new Uint32Array(n);
    for (let ball = 0; ball < n; ball++) {
      const { replica } = balancer.pick(0);
      loads[replica] = (loads[replica] ?? 0) + 1;
    }
    return loads.reduce((max, load) => Math.max(max, load), 0);
  });
}

export interface HashFigures {
  readonly name: string;
  /** Entries of the fullest and the emptiest backend over the mean. */
  readonly most: number;
  readonly least: number;
  /** Part of the entries that moved although their backend stayed, by part of the backends that failed. */
  readonly disruption: readonly { readonly failed: number; readonly moved: number }[];
}

/** Balance and disruption of a table over `count` backends, rebuilt without some of them. */
export function hashFigures(
  kind: 'maglev' | 'ring',
  count: number,
  size: number,
  failedParts: readonly number[],
): HashFigures {
  const members = Array.from({ length: count }, (_, index) => ({ id: `backend-${10_000 + index}`, weight: 1 }));
  const make = (list: typeof members) => (kind === 'maglev' ? new MaglevTable(list, size) : new RingTable(list));
  const table = make(members);
  const points = kind === 'maglev' ? size : MAGLEV_SIZE;
  const hashOf = (point: number) => (kind === 'maglev' ? point : Math.floor((point / points) * 2 ** 32));
  const entries = new Uint32Array(count);
  for (let point = 0; point < points; point++) {
    const owner = table.ownerAt(table.start(hashOf(point)));
    entries[owner] = (entries[owner] ?? 0) + 1;
  }
  const mean = points / count;
  const disruption = failedParts.map((failed) => {
    // Which ones fail is spread by hash, the same in every run.
    const ranked = [...members].sort((a, b) => hash32(a.id, 7) - hash32(b.id, 7));
    const gone = new Set(ranked.slice(0, Math.round(failed * count)));
    const left = members.filter((member) => !gone.has(member));
    const after = make(left);
    let moved = 0;
    for (let point = 0; point < points; point++) {
      const owner = members[table.ownerAt(table.start(hashOf(point)))];
      if (owner === undefined || gone.has(owner)) continue;
      if (left[after.ownerAt(after.start(hashOf(point)))] !== owner) moved++;
    }
    return { failed, moved: moved / points };
  });
  const name = kind === 'maglev' ? `Maglev, ${size} slots` : `ring hash, ${table.size} points`;
  return { name, most: Math.max(...entries) / mean, least: Math.min(...entries) / mean, disruption };
}
