// What one pick looked at, as it was at that moment: enough to make the same pick again and to tell a person why. Written by
// pick.ts and the balancers, read by replay.ts and explain.ts.

import type { EndpointView, ServiceView } from '../snapshot.ts';
import {
  ACTS_ONCE,
  FEW_SAMPLES,
  FIRST_SAMPLE,
  HASH,
  HELD,
  PICKED_AT,
  PICKS,
  Place,
  ROUND_ROBIN_AT,
  roomFor,
  SAMPLE_WIDTH,
  SAMPLED,
  SAMPLES,
  SEED,
  SERVICE_IN_FLIGHT,
  TRIED,
  WAY,
} from './storage.ts';

/** How the endpoint was found. `again`: not picked, but used once more for a reason of its connection. */
export type PickWay = 'balancer' | 'probe' | 'only' | 'again';

/** A view that a record refers to; forgotten (null) when too many are kept. */
export interface HeldView {
  view: ServiceView | null;
}

/** Measurement of an endpoint that was compared, as the comparison read it. */
export interface Sample {
  readonly endpoint: EndpointView;
  /** Cost in ms for peakEwma, requests in flight per share of the weight for leastRequest, requests in flight for hashing. */
  readonly load: number;
  readonly inFlight: number;
  readonly ewmaMs: number;
  readonly ewmaAt: number;
  readonly penaltyMs: number;
  readonly penaltyAt: number;
}

const NOBODY: readonly EndpointView[] = Object.freeze([]);

export class PickTrace {
  protected readonly place: Place;
  /** Those beyond the few that have a place: more choices than two, or a long way round a hash circle. */
  #furtherSamples: Sample[] | null = null;

  constructor(place: Place = new Place(roomFor(1), 0)) {
    this.place = place;
  }

  /** To be called right before the pick. */
  begin(
    held: HeldView,
    view: ServiceView,
    seed: number,
    now: number,
    hash: number,
    tried: readonly EndpointView[],
    isRepeatable: boolean,
  ): void {
    const { numbers, at, refs, refAt } = this.place;
    refs[refAt + HELD] = held;
    // The request's list grows with its attempts.
    refs[refAt + TRIED] = tried.length === 0 ? NOBODY : [...tried];
    refs[refAt + WAY] = 'balancer';
    numbers[at + SEED] = seed;
    numbers[at + PICKED_AT] = now;
    numbers[at + HASH] = hash;
    numbers[at + PICKS] = view.stats.picks;
    numbers[at + ROUND_ROBIN_AT] = view.cursor.at;
    numbers[at + SERVICE_IN_FLIGHT] = view.stats.inFlight;
    numbers[at + SAMPLES] = 0;
    numbers[at + ACTS_ONCE] = isRepeatable ? 0 : 1;
    this.#furtherSamples = null;
  }

  /** @param scratch  holds the load; a number that is handed over to a function that is not inlined is allocated */
  note(endpoint: EndpointView, scratch: Float64Array): void {
    const load = scratch[0] ?? 0;
    const { numbers, at, refs, refAt } = this.place;
    const { stats } = endpoint;
    const count = numbers[at + SAMPLES] ?? 0;
    numbers[at + SAMPLES] = count + 1;
    if (count >= FEW_SAMPLES) {
      const { inFlight, ewmaMs, ewmaAt, penaltyMs, penaltyAt } = stats;
      this.#furtherSamples ??= [];
      this.#furtherSamples.push({ endpoint, load, inFlight, ewmaMs, ewmaAt, penaltyMs, penaltyAt });
      return;
    }
    refs[refAt + SAMPLED + count] = endpoint;
    let index = at + FIRST_SAMPLE + count * SAMPLE_WIDTH;
    numbers[index++] = load;
    numbers[index++] = stats.inFlight;
    numbers[index++] = stats.ewmaMs;
    numbers[index++] = stats.ewmaAt;
    numbers[index++] = stats.penaltyMs;
    numbers[index] = stats.penaltyAt;
  }

  /** For a walk that meets the same endpoint again and again. O(endpoints met). */
  noteOnce(endpoint: EndpointView, scratch: Float64Array): void {
    const { numbers, at, refs, refAt } = this.place;
    const count = Math.min(numbers[at + SAMPLES] ?? 0, FEW_SAMPLES);
    for (let index = 0; index < count; index++) if (refs[refAt + SAMPLED + index] === endpoint) return;
    if (this.#furtherSamples?.some((sample) => sample.endpoint === endpoint) === true) return;
    this.note(endpoint, scratch);
  }

  set way(way: PickWay) {
    this.setRef(WAY, way);
  }

  get way(): PickWay {
    return this.ref(WAY) as PickWay;
  }

  get held(): HeldView {
    return this.ref(HELD) as HeldView;
  }

  /** Endpoints that had their turn, oldest first. */
  get tried(): readonly EndpointView[] {
    return this.ref(TRIED) as readonly EndpointView[];
  }

  get seed(): number {
    return this.number(SEED);
  }

  /** Monotonic ms of the pick. */
  get now(): number {
    return this.number(PICKED_AT);
  }

  get hash(): number {
    return this.number(HASH);
  }

  get isRepeatable(): boolean {
    return this.number(ACTS_ONCE) === 0;
  }

  /** ServiceStats before the pick. */
  get picks(): number {
    return this.number(PICKS);
  }

  get roundRobinAt(): number {
    return this.number(ROUND_ROBIN_AT);
  }

  get serviceInFlight(): number {
    return this.number(SERVICE_IN_FLIGHT);
  }

  protected number(index: number): number {
    const { numbers, at } = this.place;
    return numbers[at + index] ?? 0;
  }

  protected ref(index: number): unknown {
    const { refs, refAt } = this.place;
    return refs[refAt + index];
  }

  protected setRef(index: number, value: unknown): void {
    const { refs, refAt } = this.place;
    refs[refAt + index] = value;
  }

  samples(): Sample[] {
    const { numbers, at, refs, refAt } = this.place;
    const count = Math.min(this.number(SAMPLES), FEW_SAMPLES);
    const few = Array.from({ length: count }, (_, index): Sample => {
      const from = at + FIRST_SAMPLE + index * SAMPLE_WIDTH;
      const [load = 0, inFlight = 0, ewmaMs = 0, ewmaAt = 0, penaltyMs = 0, penaltyAt = 0] = numbers.subarray(
        from,
        from + SAMPLE_WIDTH,
      );
      const endpoint = refs[refAt + SAMPLED + index] as EndpointView;
      return { endpoint, load, inFlight, ewmaMs, ewmaAt, penaltyMs, penaltyAt };
    });
    return [...few, ...(this.#furtherSamples ?? [])];
  }
}
