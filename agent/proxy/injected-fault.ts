// Spoils one request on purpose: holds it for a while, answers it in place of the service, or both. Whoever sees the answer is
// told (x-outrigger-fault), so that nobody hunts a fault that was ordered.

import type { FaultInjection } from '#contract/policy/route-rule.ts';
import type { FaultName } from './headers.ts';
import type { ProxyScope } from './scope.ts';

/** Called once after `begin` said that it holds the request, unless the fault is canceled. */
export interface FaultOwner {
  /** @param heldMs  how long the request was held */
  onFaultOver(heldMs: number): void;
  onFaultAbort(status: number): void;
  /** The delay took all the time there was. */
  onFaultTimeout(): void;
}

export class InjectedFault {
  /** What was done so far. */
  name: FaultName | '' = '';
  readonly #scope: ProxyScope;
  readonly #service: string;
  readonly #owner: FaultOwner;
  #timer: NodeJS.Timeout | null = null;

  constructor(scope: ProxyScope, service: string, owner: FaultOwner) {
    this.#scope = scope;
    this.#service = service;
    this.#owner = owner;
  }

  /**
   * @param leftMs  how long the request may take at most
   * @returns       false when chance spares the request: it goes on at once and the owner hears nothing
   */
  begin({ delay, abort }: FaultInjection, leftMs: number): boolean {
    const { random, side, metrics } = this.#scope;
    const status = abort !== null && random() * 100 < abort.percent ? abort.status : 0;
    let heldMs = delay !== null && random() * 100 < delay.percent ? delay.durationMs : 0;
    if (heldMs > 0 && side.held >= side.maxHeld) {
      metrics.fault(this.#service, 'overflow');
      heldMs = 0;
    }
    if (heldMs > 0) this.#hold(heldMs, leftMs, status);
    else if (status > 0) this.#abort(status);
    return heldMs > 0 || status > 0;
  }

  #hold(heldMs: number, leftMs: number, status: number): void {
    const { side, metrics } = this.#scope;
    side.held += 1;
    this.name = 'delay';
    metrics.fault(this.#service, 'delay');
    this.#timer = setTimeout(() => this.#release(heldMs, leftMs, status), Math.min(heldMs, leftMs));
  }

  #release(heldMs: number, leftMs: number, status: number): void {
    this.cancel();
    if (heldMs >= leftMs) this.#owner.onFaultTimeout();
    else if (status > 0) this.#abort(status);
    else this.#owner.onFaultOver(heldMs);
  }

  #abort(status: number): void {
    this.name = 'abort';
    this.#scope.metrics.fault(this.#service, 'abort');
    this.#owner.onFaultAbort(status);
  }

  /** The request is over, whatever was to become of it. */
  cancel(): void {
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#scope.side.held -= 1;
  }
}
