// Who chooses in a simulation: the real core behind a real mesh, and algorithms of others to compare it with.

import type { BalancerPolicy, PolicyDocument } from '#contract/policy/policy.ts';
import type { Clock, Random } from '../../agent/clock.ts';
import type { Endpoint } from '../../agent/core/endpoint.ts';
import { beginAttempt, endAttempt } from '../../agent/core/outlier/record.ts';
import { pickEndpoint } from '../../agent/core/pick.ts';
import type { ServiceView } from '../../agent/core/snapshot.ts';
import type { EndpointStats } from '../../agent/core/stats.ts';
import { Mesh } from '../../agent/mesh/mesh.ts';
import type { Balancer, Picked, Workload } from './fleet.ts';

const SERVICE = 'replicas';

/** The agent's own deciding: pickEndpoint, beginAttempt, endAttempt and the sweeps of a Mesh, in virtual time. */
export class CoreBalancer implements Balancer {
  readonly name: string;
  readonly #random: Random;
  readonly #mesh: Mesh;
  readonly #indexOf = new Map<string, number>();
  readonly #stats: readonly EndpointStats[];
  #now = 0;
  /** Times an endpoint was ejected. */
  ejections = 0;

  /** @param isEjecting  false: only the algorithm is compared; nothing is ejected or held back */
  constructor(policy: BalancerPolicy, workload: Workload, random: Random, isEjecting: boolean, choiceCount = 2) {
    this.name = isEjecting ? `${policy}, with ejection` : policy;
    this.#random = random;
    const clock: Clock = { now: () => this.#now, epochMs: () => this.#now };
    const onEvent = ({ kind }: { readonly kind: string }): void => {
      if (kind === 'ejection') this.ejections++;
    };
    this.#mesh = new Mesh({ caller: 'simulator', clock, random, onEvent, isFrozen: () => !isEjecting });
    const verdict = this.#mesh.applyPolicy({
      version: 1,
      nonce: '1',
      documents: [documentOf(policy, choiceCount)],
    });
    if (verdict.verdict === 'NACK') throw new Error(JSON.stringify(verdict.problems));
    const endpoints = Array.from({ length: workload.replicas }, (_, index) => endpointOf(index, workload));
    for (const [index, { id }] of endpoints.entries()) this.#indexOf.set(id, index);
    this.#mesh.applyEndpoints({ service: SERVICE, source: 'static', endpoints });
    // Ids are as long as each other, so the order of the view is that of the numbers.
    this.#stats = this.#view().endpoints.map(({ stats }) => stats);
  }

  pick(now: number): Picked {
    this.#now = now;
    const view = this.#view();
    const picked = pickEndpoint(view, now, this.#random, []);
    if (picked === null) throw new Error('no endpoint');
    view.stats.inFlight++;
    beginAttempt(picked.stats, now);
    return { replica: this.#indexOf.get(picked.endpoint.id) ?? 0, epoch: picked.stats.epoch };
  }

  end({ replica, epoch }: Picked, latencyMs: number, status: number, now: number): void {
    this.#now = now;
    const view = this.#view();
    const stats = this.#stats[replica];
    if (stats === undefined) return;
    view.stats.inFlight--;
    if (endAttempt(stats, { ...ANSWER, status, latencyMs }, epoch, view.policy, now)) this.#mesh.requestSweep(SERVICE);
  }

  sweep(now: number): void {
    this.#now = now;
    this.#mesh.sweep(now);
  }

  #view(): ServiceView {
    const view = this.#mesh.snapshot.services.get(SERVICE);
    if (view === undefined) throw new Error('no view');
    return view;
  }
}

const ANSWER = {
  kind: 'response',
  retryAfterMs: 0,
  stalledMs: 0,
  isSent: true,
  isReusedConnection: true,
  isHeadRelayed: true,
} as const;

function documentOf(policy: BalancerPolicy, choiceCount: number): PolicyDocument {
  return {
    apiVersion: 'outrigger.dev/v1',
    kind: 'MeshDefaults',
    metadata: { name: 'global' },
    spec: { loadBalancer: { policy, choiceCount } },
  };
}

function endpointOf(index: number, workload: Workload): Endpoint {
  const id = `${SERVICE}@${String(index).padStart(4, '0')}`;
  const weight = workload.weights?.[index] ?? 1;
  return { id, address: '127.0.0.1', port: 1 + index, weight, zone: null, tags: [], meta: {} };
}

/** Weight that is left to a replica with requests in flight: weight / (active + 1)^bias. Envoy's least request. */
export function leastRequestWeight(weight: number, active: number, bias: number): number {
  return weight / (active + 1) ** bias;
}

/**
 * Envoy's least request over unequal weights: weighted turns, where every turn looks at the weight that requests in flight have
 * left. Envoy keeps a queue of deadlines; smooth turns are the same order.
 *
 * @see Envoy, least_request active_request_bias
 */
export class EnvoyLeastRequest implements Balancer {
  readonly name = 'Envoy least request';
  readonly #weights: readonly number[];
  readonly #active: number[];
  readonly #current: number[];

  constructor({ replicas, weights = [] }: Workload) {
    this.#weights = Array.from({ length: replicas }, (_, index) => weights[index] ?? 1);
    this.#active = this.#weights.map(() => 0);
    this.#current = this.#weights.map(() => 0);
  }

  pick(): Picked {
    let total = 0;
    let best = 0;
    for (const [index, weight] of this.#weights.entries()) {
      const left = leastRequestWeight(weight, this.#active[index] ?? 0, 1);
      total += left;
      this.#current[index] = (this.#current[index] ?? 0) + left;
      if ((this.#current[index] ?? 0) > (this.#current[best] ?? 0)) best = index;
    }
    this.#current[best] = (this.#current[best] ?? 0) - total;
    this.#active[best] = (this.#active[best] ?? 0) + 1;
    return { replica: best, epoch: 0 };
  }

  end({ replica }: Picked): void {
    this.#active[replica] = (this.#active[replica] ?? 0) - 1;
  }
}
