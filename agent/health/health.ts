// Active health checks: asks every endpoint of every service whose policy says so, in its own time, and hands each result over.
// Owns timers and connections; what a result leads to is the mesh's business.

import type { HealthCheckPolicy } from '#contract/policy/outlier.ts';
import type { Random } from '../clock.ts';
import type { Endpoint } from '../core/endpoint.ts';
import type { CheckResult } from '../core/outlier/checks.ts';
import type { MeshSnapshot } from '../core/snapshot.ts';
import { type Probe, startProbe } from './probe.ts';

export interface HealthChecksOptions {
  readonly random: Random;
  /** Called with every result, and with null when an endpoint that is still there is not asked any more. */
  readonly onResult: (service: string, endpointId: string, result: CheckResult | null) => void;
  /** True while the agent does not trust its own measurement: what fails then says nothing. */
  readonly isFrozen: () => boolean;
}

export interface HealthChecks {
  /** Begins, changes and ends checks so that they fit the snapshot. O(endpoints of services with checks). */
  reconcile(snapshot: MeshSnapshot): void;
  stop(): void;
}

export function createHealthChecks(options: HealthChecksOptions): HealthChecks {
  /** By endpoint id; an endpoint has one service. */
  const checkers = new Map<string, Checker>();

  function reconcile({ services }: MeshSnapshot): void {
    const wanted = new Set<string>();
    for (const { service, policy, endpoints } of services.values()) {
      if (policy.healthCheck.type === 'off') continue;
      for (const { endpoint } of endpoints) {
        wanted.add(endpoint.id);
        const checker = checkers.get(endpoint.id);
        if (checker?.endpoint === endpoint && checker.policy === policy.healthCheck) continue;
        checker?.stop();
        checkers.set(endpoint.id, new Checker(service, endpoint, policy.healthCheck, options));
      }
    }
    for (const [id, checker] of checkers) {
      if (wanted.has(id)) continue;
      checker.stop();
      checkers.delete(id);
      options.onResult(checker.service, id, null);
    }
  }

  return {
    reconcile,
    stop() {
      for (const checker of checkers.values()) checker.stop();
      checkers.clear();
    },
  };
}

/** Checks one endpoint, one check at a time, until it is stopped. */
class Checker {
  readonly service: string;
  readonly endpoint: Endpoint;
  readonly policy: HealthCheckPolicy;
  readonly #options: HealthChecksOptions;
  #timer: NodeJS.Timeout;
  #probe: Probe | null = null;
  #isStopped = false;

  constructor(service: string, endpoint: Endpoint, policy: HealthCheckPolicy, options: HealthChecksOptions) {
    this.service = service;
    this.endpoint = endpoint;
    this.policy = policy;
    this.#options = options;
    // The first one anywhere in the interval, so that the checks of many endpoints do not come in step.
    this.#timer = this.#after(options.random() * policy.intervalMs);
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#probe?.cancel();
  }

  #after(delayMs: number): NodeJS.Timeout {
    const timer = setTimeout(() => void this.#check(), delayMs);
    timer.unref();
    return timer;
  }

  async #check(): Promise<void> {
    this.#probe = startProbe(this.endpoint, this.service, this.policy);
    const result = await this.#probe.result;
    this.#probe = null;
    if (this.#isStopped) return;
    const { intervalMs, jitterPercent } = this.policy;
    this.#timer = this.#after(intervalMs * (1 + (this.#options.random() * jitterPercent) / 100));
    if (result.isPassed || !this.#options.isFrozen()) {
      this.#options.onResult(this.service, this.endpoint.id, result);
    }
  }
}
