// What the control plane says about endpoints, kept until a watch asks for it. One slot for each service that is wanted; what
// nobody wants is not kept.

import { decodeEndpoints, type HealthFacts } from '#contract/endpoint-frames.ts';
import type { MeshEvent } from '#contract/frames.ts';
import type { Clock } from '../clock.ts';
import type { HealthAnswer, HealthQuestion, HealthSource } from './health-source.ts';

/** Data older than this is no base, whatever else is said: Consul is asked at least once a minute. */
const LONGEST_AGE_MS = 90_000;

interface Current {
  readonly facts: HealthFacts;
  readonly digest: string;
  readonly index: string;
  /** Monotonic ms when Consul said so. */
  readonly saidAt: number;
  readonly recoveredAt: number | null;
  readonly isDenied: boolean;
}

interface Slot {
  /** Of this stream; null until it said something that could be used. */
  current: Current | null;
  /** Why `current` must not be used, or null. */
  trouble: string | null;
  /** What was said last could not be used, so "the same as last" says nothing. */
  isRefused: boolean;
  /** Counts what was said; the watch was told up to `told`. */
  news: number;
  told: number;
  wake: (() => void) | null;
}

export interface EndpointFeedOptions {
  readonly clock: Clock;
  /** All services that are wanted; called again whenever they change. */
  sendWanted(services: readonly string[]): void;
  onEvent(event: MeshEvent): void;
}

const NOTHING: HealthFacts = {
  health: { endpoints: [], criticalCount: 0, maintenanceCount: 0, leftOut: [], isPanicSet: false, dropped: {} },
  isFiltered: false,
  isUncertain: false,
};

export class EndpointFeed implements HealthSource {
  readonly #options: EndpointFeedOptions;
  readonly #slots = new Map<string, Slot>();
  /** Why there is no stream, or null. */
  #lost: string | null = 'it was not reached yet';
  #digests = 0;

  constructor(options: EndpointFeedOptions) {
    this.#options = options;
  }

  want(service: string): void {
    if (this.#slots.has(service)) return;
    this.#slots.set(service, { current: null, trouble: null, isRefused: false, news: 0, told: 0, wake: null });
    this.#send();
  }

  drop(service: string): void {
    if (this.#slots.delete(service)) this.#send();
  }

  /** A stream is open; it knows nothing of what is wanted yet. */
  opened(): void {
    this.#lost = null;
    for (const slot of this.#slots.values()) {
      slot.current = null;
      slot.trouble = null;
      slot.isRefused = false;
    }
  }

  closed(why: string): void {
    const wasOpen = this.#lost === null;
    this.#lost = why;
    // Once, not with every attempt to connect.
    if (wasOpen) for (const slot of this.#slots.values()) announce(slot);
  }

  /** The control plane does not take the list of what is wanted. */
  refused(why: string): void {
    for (const slot of this.#slots.values()) {
      if (slot.current !== null || slot.trouble !== null) continue;
      slot.trouble = why;
      announce(slot);
    }
  }

  /** @param data  of an event `endpoints` */
  take(data: string): void {
    const decoded = decodeEndpoints(data);
    if (!decoded.ok) {
      const { code, path, message } = decoded.problem;
      const slot = decoded.service === null ? undefined : this.#slots.get(decoded.service);
      const why = `what it said could not be used (${code}${path === '' ? '' : ` at ${path}`}: ${message})`;
      if (slot?.trouble !== why) {
        const whose = decoded.service === null ? 'some service' : decoded.service;
        this.#emit(
          decoded.service,
          `Endpoints of ${whose} from the control plane were refused: ${code} ${path} ${message}.`,
        );
      }
      if (slot === undefined) return;
      slot.trouble = why;
      slot.isRefused = true;
      announce(slot);
      return;
    }
    const { service, told } = decoded.push;
    const slot = this.#slots.get(service);
    if (slot === undefined) return;
    const now = this.#options.clock.now();
    if (told.kind === 'stale') slot.trouble = told.why;
    else if (told.kind === 'denied') {
      slot.trouble = null;
      slot.current = { ...this.#from(NOTHING), index: '1', saidAt: now, recoveredAt: null, isDenied: true };
    } else {
      const { index, ageMs, recoveredMs, facts } = told;
      const known = facts === null ? slot.current : this.#from(facts);
      if (known === null || (facts === null && slot.isRefused)) return;
      const { facts: kept, digest } = known;
      const recoveredAt = recoveredMs === null ? null : now - recoveredMs;
      slot.trouble = null;
      slot.isRefused = false;
      slot.current = { facts: kept, digest, index, saidAt: now - ageMs, recoveredAt, isDenied: false };
    }
    announce(slot);
  }

  isGood(service: string): boolean {
    const slot = this.#slots.get(service);
    return slot !== undefined && this.#troubleOf(slot) === null && slot.current !== null;
  }

  /** Why the control plane is not good for the service, as a phrase. */
  whyNot(service: string): string {
    const slot = this.#slots.get(service);
    return (slot === undefined ? null : this.#troubleOf(slot)) ?? 'it has not said anything yet';
  }

  async ask({ service, index, waitMs, signal }: HealthQuestion): Promise<HealthAnswer> {
    const slot = this.#slots.get(service);
    if (slot === undefined) return { kind: 'stopped' };
    const isAtHand = index === null && this.#troubleOf(slot) === null && slot.current !== null;
    if (!isAtHand && slot.told === slot.news) await untilNews(slot, waitMs, signal);
    if (signal.aborted) return { kind: 'stopped' };
    slot.told = slot.news;
    const trouble = this.#troubleOf(slot);
    if (trouble === null && slot.current !== null) return this.#answer(slot.current);
    return {
      kind: 'failure',
      origin: 'control-plane',
      text: trouble ?? 'it has not said anything yet',
      wasGone: false,
    };
  }

  #answer({ facts, digest, index, saidAt, recoveredAt, isDenied }: Current): HealthAnswer {
    const now = this.#options.clock.now();
    const recoveredMs = recoveredAt === null ? null : now - recoveredAt;
    return {
      kind: 'health',
      origin: 'control-plane',
      facts,
      digest,
      index,
      ageMs: now - saidAt,
      recoveredMs,
      isDenied,
    };
  }

  #troubleOf({ current, trouble }: Slot): string | null {
    const why = this.#lost ?? trouble;
    if (why !== null || current === null || current.isDenied) return why;
    const ageMs = this.#options.clock.now() - current.saidAt;
    return ageMs > LONGEST_AGE_MS ? `what it knows is ${Math.round(ageMs / 1000)} s old` : null;
  }

  #from(facts: HealthFacts): Pick<Current, 'facts' | 'digest'> {
    return { facts, digest: `pushed ${++this.#digests}` };
  }

  #send(): void {
    this.#options.sendWanted([...this.#slots.keys()]);
  }

  #emit(service: string | null, text: string): void {
    const { clock, onEvent } = this.#options;
    const at = { atEpochMs: clock.epochMs(), service, endpoint: null };
    onEvent({ ...at, kind: 'discovery', reason: 'endpoints_refused', text });
  }
}

function announce(slot: Slot): void {
  slot.news++;
  slot.wake?.();
}

/** Resolves with the next news, after the wait, or when the question is withdrawn. */
function untilNews(slot: Slot, waitMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      slot.wake = null;
      resolve();
    };
    const timer = setTimeout(done, waitMs);
    slot.wake = done;
    if (signal.aborted) done();
    else signal.addEventListener('abort', done);
  });
}
