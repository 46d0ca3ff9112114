// What the page saw since it was opened, one sample a second and service: the control plane says what is, not what was. Pure.

import type { ServiceView } from '../../../core/views.ts';

/** Fifteen minutes; 900 samples of 200 services are about 12 MB. */
export const HISTORY_LENGTH = 900;
const SAMPLE_EVERY_MS = 1_000;
const SERVICE_LIMIT = 500;

export interface Sample {
  readonly atEpochMs: number;
  readonly requestsPerSecond: number;
  readonly failuresPerSecond: number;
  readonly retriesPerSecond: number;
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly p99Ms: number | null;
}

interface Series {
  readonly samples: Sample[];
  good: number;
  valid: number;
}

export class History {
  readonly #series = new Map<string, Series>();
  readonly #total: Sample[] = [];
  #lastAt = 0;

  /** At most one sample a second is kept. Failures are the difference of what was counted since the sample before. */
  record(services: Iterable<ServiceView>, atEpochMs: number): boolean {
    const sinceMs = atEpochMs - this.#lastAt;
    if (sinceMs < SAMPLE_EVERY_MS) return false;
    const isFirst = this.#lastAt === 0;
    this.#lastAt = atEpochMs;
    let [requestsPerSecond, failuresPerSecond, retriesPerSecond] = [0, 0, 0];
    for (const view of services) {
      const sample = this.#sampleOf(view, atEpochMs, isFirst ? null : sinceMs);
      if (sample === null) continue;
      requestsPerSecond += sample.requestsPerSecond;
      failuresPerSecond += sample.failuresPerSecond;
      retriesPerSecond += sample.retriesPerSecond;
    }
    const none = { p50Ms: null, p95Ms: null, p99Ms: null };
    push(this.#total, { atEpochMs, requestsPerSecond, failuresPerSecond, retriesPerSecond, ...none });
    return true;
  }

  of(service: string): readonly Sample[] {
    return this.#series.get(service)?.samples ?? [];
  }

  /** Sums over all services. */
  get total(): readonly Sample[] {
    return this.#total;
  }

  #sampleOf(view: ServiceView, atEpochMs: number, sinceMs: number | null): Sample | null {
    const { good, valid } = view.availability.life;
    const known = this.#series.get(view.service);
    if (known === undefined && this.#series.size >= SERVICE_LIMIT) return null;
    const series = known ?? { samples: [], good, valid };
    this.#series.set(view.service, series);
    const failed = valid - good - (series.valid - series.good);
    series.good = good;
    series.valid = valid;
    const sample: Sample = {
      atEpochMs,
      requestsPerSecond: view.requestsPerSecond,
      // A control plane that began anew counts from zero.
      failuresPerSecond: sinceMs === null ? 0 : (Math.max(0, failed) * 1000) / sinceMs,
      retriesPerSecond: view.retriesPerSecond,
      p50Ms: view.p50Ms,
      p95Ms: p95Of(view),
      p99Ms: view.p99Ms,
    };
    push(series.samples, sample);
    return sample;
  }
}

/** The service's own where it says one, else the worst of any caller. */
export function p95Of(view: ServiceView & { readonly p95Ms?: number | null }): number | null {
  if (view.p95Ms !== undefined) return view.p95Ms;
  const known = view.edges
    .filter(({ direction }) => direction === view.measuredBy)
    .flatMap(({ p95Ms }) => (p95Ms === null ? [] : [p95Ms]));
  return known.length === 0 ? null : Math.max(...known);
}

function push(samples: Sample[], sample: Sample): void {
  samples.push(sample);
  if (samples.length > HISTORY_LENGTH) samples.shift();
}
