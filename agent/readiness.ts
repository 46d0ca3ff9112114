// Whether the application may send its calls, and if not, why not: the answer of GET /ready. Owns drain and the manual
// health switch; everything else is asked when asked.

import type { Clock } from './clock.ts';

/** How long an agent without any policy waits for a silent control plane before it serves with the built-in defaults. */
export const POLICY_GRACE_MS = 1_000;

export interface ReadinessOptions {
  readonly clock: Clock;
  policy(): { readonly source: 'control-plane' | 'disk' | 'local' | 'none'; readonly failure: string | null };
  discovery(): readonly { readonly service: string; readonly source: string; readonly failure: string | null }[];
}

/**
 * Ready when the listeners are open, every declared upstream has endpoints from some source or a first answer from Consul,
 * and policies came from some source or POLICY_GRACE_MS are over. Once ready an agent stays ready: a source that goes away
 * later is no reason to stop serving (fail static).
 */
export class Readiness {
  readonly #options: ReadinessOptions;
  readonly #startedAt: number;
  #areListenersOpen = false;
  #wasReady = false;
  #isDraining = false;
  #isFailed = false;

  constructor(options: ReadinessOptions) {
    this.#options = options;
    this.#startedAt = options.clock.now();
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  listenersOpen(): void {
    this.#areListenersOpen = true;
  }

  /** From now on every answer asks for the connection to be closed, and /ready is 503. There is no way back. */
  drain(): void {
    this.#isDraining = true;
  }

  /** Envoy's /healthcheck/fail and /healthcheck/ok. */
  fail(isFailing: boolean): void {
    this.#isFailed = isFailing;
  }

  /** Everything that stands against being ready, as phrases; empty when ready. */
  reasons(): string[] {
    const reasons: string[] = [];
    if (this.#isDraining) reasons.push('draining');
    if (this.#isFailed) reasons.push('told to fail by /healthcheck/fail');
    if (!this.#wasReady) {
      const starting = this.#starting();
      if (starting.length === 0) this.#wasReady = true;
      reasons.push(...starting);
    }
    return reasons;
  }

  #starting(): string[] {
    const { clock, policy, discovery } = this.#options;
    const reasons = this.#areListenersOpen ? [] : ['the listeners are not open yet'];
    for (const { service, source, failure } of discovery()) {
      if (source !== 'none') continue;
      reasons.push(`nobody has said yet who serves ${service}${failure === null ? '' : `: ${failure}`}`);
    }
    const { source, failure } = policy();
    if (source === 'none' && clock.now() - this.#startedAt < POLICY_GRACE_MS) {
      reasons.push(`no policies yet${failure === null ? '' : `: ${failure}`}`);
    }
    return reasons;
  }
}
