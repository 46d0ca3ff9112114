// Who wants to know the endpoints of which service, and what each was told last. Whole sets go out when they change, and a short
// word when Consul merely confirmed them; what is to be told is made at the moment of sending, so a slow agent gets the newest.

import { deniedJson, endpointsJson, staleJson } from '#contract/endpoint-frames.ts';
import type { Session } from './session.ts';

/** What is known of one service. */
export interface EndpointState {
  readonly facts: string | null;
  readonly edition: number;
  readonly index: string;
  /** Monotonic ms. */
  readonly confirmedAt: number;
  readonly recoveredAt: number | null;
  readonly failure: string | null;
}

export interface EndpointPushesOptions {
  /** False: it is not watched, and need not be released. */
  readonly want: (service: string) => boolean;
  readonly release: (service: string) => void;
  readonly stateOf: (service: string) => EndpointState | null;
  readonly now: () => number;
  /** Told of each event that was written, with its length. */
  readonly onSent?: (characters: number) => void;
}

interface Wish {
  /** False: there is no room for the watch. */
  readonly isWatched: boolean;
  /** Edition that this stream has; null: none. */
  edition: number | null;
  isDenied: boolean | null;
}

interface Subscriber {
  readonly session: Session;
  readonly wishes: Map<string, Wish>;
  readonly maySee: (service: string) => boolean;
}

export class EndpointPushes {
  readonly #options: EndpointPushesOptions;
  readonly #subscribers = new Map<Session, Subscriber>();
  readonly #byService = new Map<string, Set<Subscriber>>();

  constructor(options: EndpointPushesOptions) {
    this.#options = options;
  }

  /** The services that a stream wants from now on; others it is told nothing of any more. @param maySee  asked at every sending */
  set(session: Session, services: readonly string[], maySee: (service: string) => boolean): void {
    const subscriber = this.#subscribers.get(session) ?? { session, wishes: new Map<string, Wish>(), maySee };
    this.#subscribers.set(session, subscriber);
    const wanted = new Set(services);
    for (const service of [...subscriber.wishes.keys()]) if (!wanted.has(service)) this.#drop(subscriber, service);
    for (const service of wanted) {
      if (subscriber.wishes.has(service)) continue;
      const isWatched = this.#options.want(service);
      subscriber.wishes.set(service, { isWatched, edition: null, isDenied: null });
      const others = this.#byService.get(service) ?? new Set<Subscriber>();
      this.#byService.set(service, others.add(subscriber));
      this.#tell(subscriber, service);
    }
  }

  /** The stream is over. */
  remove(session: Session): void {
    const subscriber = this.#subscribers.get(session);
    if (subscriber === undefined) return;
    for (const service of [...subscriber.wishes.keys()]) this.#drop(subscriber, service);
    this.#subscribers.delete(session);
  }

  /** Something was heard of a service. */
  news(service: string): void {
    for (const subscriber of this.#byService.get(service) ?? []) this.#tell(subscriber, service);
  }

  /** Policies say anew who may know of whom. */
  judgeAgain(): void {
    for (const subscriber of this.#subscribers.values()) {
      for (const [service, { isDenied }] of subscriber.wishes) {
        if (isDenied !== !subscriber.maySee(service)) this.#tell(subscriber, service);
      }
    }
  }

  #drop(subscriber: Subscriber, service: string): void {
    const wish = subscriber.wishes.get(service);
    subscriber.wishes.delete(service);
    const others = this.#byService.get(service);
    others?.delete(subscriber);
    if (others?.size === 0) this.#byService.delete(service);
    if (wish?.isWatched === true) this.#options.release(service);
  }

  #tell(subscriber: Subscriber, service: string): void {
    subscriber.session.endpoints(service, () => {
      const text = this.#textFor(subscriber, service);
      if (text !== null) this.#options.onSent?.(text.length);
      return text;
    });
  }

  /** Null: there is nothing to say. */
  #textFor({ wishes, maySee }: Subscriber, service: string): string | null {
    const wish = wishes.get(service);
    if (wish === undefined) return null;
    const isNews = wish.isDenied !== !maySee(service);
    wish.isDenied = !maySee(service);
    if (wish.isDenied) {
      wish.edition = null;
      return isNews ? deniedJson(service) : null;
    }
    if (!wish.isWatched) return staleJson(service, 'it watches as many services as it may');
    const state = this.#options.stateOf(service);
    if (state === null) return null;
    const { facts, edition, failure, index } = state;
    if (failure !== null) return staleJson(service, failure);
    if (facts === null) return null;
    const now = this.#options.now();
    const recoveredMs = state.recoveredAt === null ? null : now - state.recoveredAt;
    const isKnown = wish.edition === edition;
    wish.edition = edition;
    return endpointsJson(service, { index, ageMs: now - state.confirmedAt, recoveredMs }, isKnown ? null : facts);
  }
}
