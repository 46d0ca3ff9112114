// Watches the fleet through the control plane, as any operator could: which endpoints are ejected, and which came back.

import type { EndpointView, ServiceView } from '../../control-plane/core/views.ts';
import { endpointName } from '../fleet.ts';

/** Remembers over time what single looks at the fleet cannot tell. Endpoints are told apart by agent and id. */
export class FleetObserver {
  readonly #out = new Set<string>();
  readonly #ejected = new Set<string>();
  readonly #reinstated = new Set<string>();

  get ejected(): string[] {
    return [...this.#ejected];
  }

  get reinstated(): string[] {
    return [...this.#reinstated];
  }

  /** @returns sentences about what changed since the last look */
  look(services: readonly ServiceView[]): string[] {
    const news: string[] = [];
    for (const { id, address, observers } of services.flatMap(({ endpoints }) => endpoints)) {
      for (const { agentId, state, reason } of observers) {
        const key = `${agentId} ${id}`;
        const name = endpointName(id);
        if (state === 'ejected' && !this.#out.has(key)) {
          this.#out.add(key);
          this.#ejected.add(name);
          news.push(`${agentId}: ${name} ${reason === null ? 'ejected' : withoutName(reason, address)}`);
        } else if (state === 'serving' && this.#out.delete(key)) {
          this.#reinstated.add(name);
          news.push(`${agentId}: ${name} serves again`);
        }
      }
    }
    return news;
  }
}

/** The sentence without the endpoint's name in front: agents speak of addresses, and the demo of instances. */
export function withoutName(reason: string, address: string): string {
  const space = reason.indexOf(' ');
  return reason.slice(0, space).endsWith(`@${address}`) ? reason.slice(space + 1) : reason;
}

/** How many agents keep the endpoint out of their picks, entirely or but for a probe. */
export function outCount({ observers }: EndpointView): number {
  return observers.filter(({ state }) => state === 'ejected' || state === 'probing').length;
}
