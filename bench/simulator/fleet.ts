// The world of a simulation: virtual time, replicas with a queue each, and requests that arrive in it. Deterministic: the same
// seed gives the same result to the last digit. Knows no balancing; it is asked for a replica and told how the attempt ended.

import type { Random } from '../../agent/clock.ts';

/** What a replica does with one request. */
export interface Service {
  /** Time at a worker, ms. */
  readonly serviceMs: number;
  readonly status: number;
}

export interface Workload {
  readonly name: string;
  readonly replicas: number;
  readonly requestsPerSecond: number;
  readonly durationMs: number;
  /** `even`: one request each 1/rate; `poisson`: exponential gaps. */
  readonly arrivals: 'even' | 'poisson';
  /** Requests that one replica works on at once; the rest wait in line. */
  readonly workers: number;
  /** Weight as registered, 1 for all by default. */
  readonly weights?: readonly number[];
  serve(replica: number, now: number, random: Random): Service;
}

/** One choice; `epoch` is the balancer's own and comes back to it. */
export interface Picked {
  readonly replica: number;
  readonly epoch: number;
}

/** Chooses and learns. */
export interface Balancer {
  readonly name: string;
  pick(now: number): Picked;
  /** @param latencyMs  waiting in line included */
  end(picked: Picked, latencyMs: number, status: number, now: number): void;
  /** Called every 100 ms of virtual time. */
  sweep?(now: number): void;
}

export interface Result {
  /** Sorted. */
  readonly latenciesMs: Float64Array;
  readonly failures: number;
  /** Requests by replica. */
  readonly picks: readonly number[];
}

const SWEEP_MS = 100;

/** Runs a workload to its end and until the last answer is there. O(requests × log(requests in flight)). */
export function simulate(workload: Workload, balancer: Balancer, random: Random): Result {
  const requests = arrivalTimes(workload, random);
  const latencies = new Float64Array(requests.length);
  const picks = Array.from({ length: workload.replicas }, () => 0);
  const queues = Array.from({ length: workload.replicas }, () => new Float64Array(workload.workers));
  const ends = new EventHeap();
  let failures = 0;
  let nextSweepAt = 0;
  const advance = (until: number): void => {
    for (;;) {
      const endAt = ends.nextAt;
      if (Math.min(endAt, nextSweepAt) > until) return;
      if (nextSweepAt <= endAt) {
        balancer.sweep?.(nextSweepAt);
        nextSweepAt += SWEEP_MS;
        continue;
      }
      const { picked, begunAt, status } = ends.take();
      balancer.end(picked, endAt - begunAt, status, endAt);
    }
  };
  for (const [index, now] of requests.entries()) {
    advance(now);
    const picked = balancer.pick(now);
    const { replica } = picked;
    const { serviceMs, status } = workload.serve(replica, now, random);
    const endAt = startAt(queues[replica] ?? new Float64Array(1), now, serviceMs) + serviceMs;
    ends.add({ at: endAt, picked, begunAt: now, status });
    latencies[index] = endAt - now;
    picks[replica] = (picks[replica] ?? 0) + 1;
    if (status >= 500) failures++;
  }
  return { latenciesMs: latencies.sort(), failures, picks };
}

/** Takes the worker that is free first; its entry becomes the time at which it is free again. */
function startAt(workers: Float64Array, now: number, serviceMs: number): number {
  if (workers.length === 0) return now;
  let first = 0;
  for (let worker = 1; worker < workers.length; worker++) {
    if ((workers[worker] ?? 0) < (workers[first] ?? 0)) first = worker;
  }
  const start = Math.max(now, workers[first] ?? 0);
  workers[first] = start + serviceMs;
  return start;
}

function arrivalTimes({ requestsPerSecond, durationMs, arrivals }: Workload, random: Random): number[] {
  const gapMs = 1000 / requestsPerSecond;
  const times: number[] = [];
  for (let at = gapMs; at <= durationMs; at += arrivals === 'even' ? gapMs : -Math.log(1 - random()) * gapMs)
    times.push(at);
  return times;
}

interface End {
  readonly at: number;
  readonly picked: Picked;
  readonly begunAt: number;
  readonly status: number;
}

/** Binary heap by time; equal times in no particular, but always the same, order. */
class EventHeap {
  readonly #events: End[] = [];

  get nextAt(): number {
    return this.#events[0]?.at ?? Number.POSITIVE_INFINITY;
  }

  add(event: End): void {
    const events = this.#events;
    let at = events.length;
    events.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = events[parent] as End; // parent < at < length
      if (above.at <= event.at) break;
      events[at] = above;
      at = parent;
    }
    events[at] = event;
  }

  /** Not to be called when empty. */
  take(): End {
    const events = this.#events;
    const first = events[0] as End;
    const last = events.pop() as End;
    if (events.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= events.length) break;
      if (child + 1 < events.length && (events[child + 1] as End).at < (events[child] as End).at) child++;
      if ((events[child] as End).at >= last.at) break;
      events[at] = events[child] as End;
      at = child;
    }
    events[at] = last;
    return first;
  }
}

/** Share of requests that ended well within a time. */
export function successWithin({ latenciesMs, failures }: Result, ms: number): number {
  let low = 0;
  let high = latenciesMs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((latenciesMs[middle] ?? 0) <= ms) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - failures) / latenciesMs.length;
}

export function quantile({ latenciesMs }: Result, part: number): number {
  return latenciesMs[Math.min(latenciesMs.length - 1, Math.floor(part * latenciesMs.length))] ?? 0;
}
