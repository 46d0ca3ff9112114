// What the rule of a request does beside sending it somewhere: holding it, answering it on purpose, copying it. Made only for
// requests whose rule says so.

import type { Reason } from '../core/reason.ts';
import type { Destination } from './destination.ts';
import type { DownstreamConnection } from './downstream-connection.ts';
import type { FaultName } from './headers.ts';
import type { RequestHead } from './http1/request-head.ts';
import { InjectedFault } from './injected-fault.ts';
import { mirrorRequest, noteUnfinished } from './mirror.ts';
import type { RequestBody } from './request-body.ts';
import type { ProxyScope } from './scope.ts';

/** The request that the effects are on. */
export interface EffectsSource {
  readonly scope: ProxyScope;
  readonly down: DownstreamConnection;
  readonly head: RequestHead;
  readonly body: RequestBody;
  readonly requestId: string;
  /** Monotonic ms after which the caller no longer waits. */
  readonly callerDeadlineAt: number;
}

/** One of the two follows when `holds` said true, unless the request ends before. */
export interface EffectsOwner extends EffectsSource {
  /** It goes on; the destination allows as much less time as was used up. */
  onHeld(destination: Destination): void;
  /** The agent answers it itself; with fault_injected, with `abortStatus`. */
  onCallFailed(reason: Reason, message: string): void;
}

/** Null for nearly every request: its rule has no effects. */
export function effectsOf(owner: EffectsOwner, destination: Destination): RuleEffects | null {
  const { rule } = destination;
  return rule === null || (rule.fault === null && rule.mirror === null) ? null : new RuleEffects(owner, destination);
}

export class RuleEffects {
  /** How long the request was held. */
  heldMs = 0;
  /** Status of the answer that was ordered; 0 before. */
  abortStatus = 0;
  readonly #owner: EffectsOwner;
  readonly #destination: Destination;
  #fault: InjectedFault | null = null;
  #isMirrored = false;

  constructor(owner: EffectsOwner, destination: Destination) {
    this.#owner = owner;
    this.#destination = destination;
  }

  /** What was spoiled; `''` for nothing. */
  get faultName(): FaultName | '' {
    return this.#fault?.name ?? '';
  }

  /** @returns true when the request does not go on now: the owner will hear more */
  holds(now: number): boolean {
    const { rule, policy, view } = this.#destination;
    const { scope, callerDeadlineAt } = this.#owner;
    if (rule === null || rule.fault === null) return false;
    const requestMs = policy.timeouts.requestMs > 0 ? policy.timeouts.requestMs : Number.POSITIVE_INFINITY;
    this.#fault = new InjectedFault(scope, view.service, {
      onFaultOver: () => {
        this.heldMs = scope.clock.now() - now;
        this.#owner.onHeld(withLess(this.#destination, this.heldMs));
      },
      onFaultAbort: (status) => {
        this.abortStatus = status;
        this.#owner.onCallFailed('fault_injected', `rule ${rule.name} answers ${status} on purpose`);
      },
      onFaultTimeout: () =>
        this.#owner.onCallFailed('upstream_timeout', `rule ${rule.name} held it on purpose for all the time it had`),
    });
    return this.#fault.begin(rule.fault, Math.min(requestMs, callerDeadlineAt - now));
  }

  /**
   * Copies the request, once. To be called when it is whole and has gone on.
   *
   * @param rest  the last of its body, which is not kept yet; null when all is
   */
  mirror(rest: Buffer | null): void {
    const mirror = this.#destination.rule?.mirror ?? null;
    if (mirror === null || this.#isMirrored) return;
    this.#isMirrored = true;
    mirrorRequest(this.#owner, mirror, this.#destination, rest);
  }

  end(): void {
    this.#fault?.cancel();
    const mirror = this.#destination.rule?.mirror ?? null;
    if (mirror === null || this.#isMirrored || this.#owner.head.upgrade !== null) return;
    this.#isMirrored = true;
    noteUnfinished(this.#owner.scope, mirror);
  }
}

/** The same destination for a request that has used up some of its time. */
function withLess(destination: Destination, usedMs: number): Destination {
  const { timeouts } = destination.policy;
  if (timeouts.requestMs === 0) return destination;
  const requestMs = Math.max(1, timeouts.requestMs - usedMs);
  return { ...destination, policy: { ...destination.policy, timeouts: { ...timeouts, requestMs } } };
}
