// Discovery as a test steers it: real sockets, a second that lasts 100 ms, and everything it said kept.

import { join } from 'node:path';
import type { MeshEvent } from '#contract/frames.ts';
import { systemClock, systemRandom } from '../../agent/clock.ts';
import type { EndpointSet } from '../../agent/core/endpoint.ts';
import { createConsulClient } from '../../agent/discovery/consul-client.ts';
import {
  createDiscovery,
  type Discovery,
  type DiscoveryTiming,
  type UpstreamConfig,
} from '../../agent/discovery/discovery.ts';
import { createLastKnownGood } from '../../agent/discovery/last-known-good.ts';
import { DEFAULT_WATCH_TIMING } from '../../agent/discovery/watcher.ts';
import { createStateFile } from '../../agent/state-file.ts';
import { type Teardown, temporaryFolder } from './processes.ts';
import { answerHealth, healthEntry, type Script } from './scripted-consul.ts';

/** A second lasts 100 ms here, except where a test is about real time. */
export const FAST: DiscoveryTiming['watch'] = {
  ...DEFAULT_WATCH_TIMING,
  waitMs: 400,
  slackMs: 100,
  readTimeoutMs: 400,
  minGapMs: 10,
  pacerSecondMs: 100,
  backOffBaseMs: 20,
  backOffCapMs: 200,
  guard: { emptyHoldMs: 600, confirmMs: 100, settleMs: 300, uncertainMs: 100 },
};

export interface World {
  readonly discovery: Discovery;
  /** Newest set of each service by sorted ports, `7001,7002`, with its source. */
  served(service?: string): string;
  readonly sets: EndpointSet[];
  readonly events: MeshEvent[];
  readonly removed: string[];
}

export function createWorld(
  t: Teardown,
  url: string | null,
  options: {
    upstreams?: readonly UpstreamConfig[];
    timing?: Partial<DiscoveryTiming>;
    stateDir?: string;
    access?: { token?: string; tokenFile?: string; datacenter?: string };
    maxBodyBytes?: number;
    usesOf?: (service: string) => number;
  } = {},
): World {
  const events: MeshEvent[] = [];
  const sets: EndpointSet[] = [];
  const removed: string[] = [];
  const access = { url: url ?? '', token: null, tokenFile: null, datacenter: null, ...options.access };
  const path = join(options.stateDir ?? temporaryFolder(t), 'endpoints.json');
  const discovery = createDiscovery({
    upstreams: options.upstreams ?? [{ service: 'payments', endpoints: null }],
    client: url === null ? null : createConsulClient(access, options.maxBodyBytes),
    clock: systemClock,
    random: systemRandom,
    lastKnownGood: createLastKnownGood({
      file: createStateFile(path, 'endpoints'),
      clock: systemClock,
      onEvent: (event) => events.push(event),
      debounceMs: 10,
    }),
    applyEndpoints: (set) => sets.push(set),
    removeService: (service) => removed.push(service),
    onEvent: (event) => events.push(event),
    ...(options.usesOf === undefined ? {} : { usesOf: options.usesOf }),
    timing: { watch: FAST, ...options.timing },
  });
  t.teardown(() => discovery.stop());
  const served = (service = 'payments'): string => {
    const set = sets.findLast((candidate) => candidate.service === service);
    if (set === undefined) return 'nothing';
    return `${set.source} ${set.endpoints.map(({ port }) => port).sort((a, b) => a - b)}`;
  };
  return { discovery, served, sets, events, removed };
}

export const reasons = ({ events }: World): string[] => events.map(({ reason }) => reason);
export const two: object[] = [healthEntry('p1', 7001), healthEntry('p2', 7002)];

/** Answers `entries` at index 10 at once to a read and never to a blocking query. */
export const steady =
  (entries: unknown, index: string | number = 10): Script =>
  ({ query }, response) => {
    if (!query.has('index')) answerHealth(response, index, entries);
  };
