// Load balancing, from the spelling of the documents to what the request path reads.

import type { Sections } from '../schema/sections-schema.ts';
import { parseDuration } from '../text/durations.ts';
import type { Explained, ExplainedPolicy } from './effective.ts';
import type { BalancerPolicy } from './policy.ts';

/** How endpoints are picked. */
export interface BalancerSettings {
  readonly policy: BalancerPolicy;
  /** Endpoints drawn per pick by peakEwma and leastRequest. */
  readonly choiceCount: number;
  readonly slowStart: {
    /** 0 = off. */
    readonly windowMs: number;
    readonly minWeightPercent: number;
    readonly aggression: number;
  };
  /** Tried in order; the first that a request has is its key. */
  readonly hashOn: readonly HashSource[];
  /** Percent of the mean of requests in flight; 0 = no bound. */
  readonly hashBalanceFactor: number;
  readonly zoneAware: { readonly isEnabled: boolean; readonly minHosts: number; readonly isLoadAware: boolean };
  /** Priority levels, first to last. */
  readonly failover: readonly { readonly kind: 'tag' | 'zone'; readonly value: string }[];
  /** Endpoints of each priority level; 0 = all. */
  readonly subsetSize: number;
}

/** Header names are lower case, cookie names as written. */
export type HashSource =
  | { readonly kind: 'header'; readonly name: string }
  | { readonly kind: 'cookie'; readonly name: string }
  | { readonly kind: 'source' };

type Last = <T>(read: (sections: Sections) => T | undefined) => Explained<T>;

export function explainBalancer(last: Last): ExplainedPolicy['loadBalancer'] {
  return {
    policy: last((s) => s.loadBalancer?.policy),
    choiceCount: last((s) => s.loadBalancer?.choiceCount),
    slowStart: {
      window: last((s) => s.loadBalancer?.slowStart?.window),
      minWeightPercent: last((s) => s.loadBalancer?.slowStart?.minWeightPercent),
      aggression: last((s) => s.loadBalancer?.slowStart?.aggression),
    },
    hashOn: last((s) => s.loadBalancer?.hashOn),
    hashBalanceFactor: last((s) => s.loadBalancer?.hashBalanceFactor),
    zoneAware: {
      enabled: last((s) => s.loadBalancer?.zoneAware?.enabled),
      minHosts: last((s) => s.loadBalancer?.zoneAware?.minHosts),
      loadAware: last((s) => s.loadBalancer?.zoneAware?.loadAware),
    },
    failover: last((s) => s.loadBalancer?.failover),
    subset: { size: last((s) => s.loadBalancer?.subset?.size) },
  };
}

export function toBalancer(explained: ExplainedPolicy['loadBalancer']): BalancerSettings {
  const { slowStart, zoneAware } = explained;
  return {
    policy: explained.policy.value,
    choiceCount: explained.choiceCount.value,
    slowStart: {
      windowMs: parseDuration(slowStart.window.value) ?? 0,
      minWeightPercent: slowStart.minWeightPercent.value,
      aggression: slowStart.aggression.value,
    },
    hashOn: explained.hashOn.value.map(toHashSource),
    hashBalanceFactor: explained.hashBalanceFactor.value,
    zoneAware: {
      isEnabled: zoneAware.enabled.value,
      minHosts: zoneAware.minHosts.value,
      isLoadAware: zoneAware.loadAware.value,
    },
    failover: explained.failover.value.map(({ tag, zone }) =>
      tag === undefined ? { kind: 'zone' as const, value: zone ?? '' } : { kind: 'tag' as const, value: tag },
    ),
    subsetSize: explained.subset.size.value,
  };
}

export function toHashSource({ header, cookie }: { readonly header?: string; readonly cookie?: string }): HashSource {
  if (header !== undefined) return { kind: 'header', name: header.toLowerCase() };
  return cookie === undefined ? { kind: 'source' } : { kind: 'cookie', name: cookie };
}
