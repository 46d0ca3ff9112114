// The workloads that algorithms are compared on. Service times are drawn from the simulation's own chance.

import type { Random } from '../../agent/clock.ts';
import type { Workload } from './fleet.ts';

/** Answers of an unbounded number of requests at once: no line forms. */
const UNBOUNDED = 0;

/**
 * Linkerd's "Beyond Round Robin" (2016): 11 replicas with a median of 167 ms and a deviation of 5 ms, 1000 requests a second for
 * a minute; one replica takes 2 s from second 15 to second 45.
 */
export function slowReplica(seconds = 60): Workload {
  const isSlow = (now: number) => now >= (seconds * 1000) / 4 && now < (seconds * 1000 * 3) / 4;
  return {
    name: 'one of eleven replicas takes 2 s for half of the time',
    replicas: 11,
    requestsPerSecond: 1000,
    durationMs: seconds * 1000,
    arrivals: 'even',
    workers: UNBOUNDED,
    serve: (replica, now, random) => ({
      serviceMs: replica === 0 && isSlow(now) ? 2000 : Math.max(1, 167 + 5 * normal(random)),
      status: 200,
    }),
  };
}

/** Ten replicas at four fifths of what they can do, each working on 8 requests at once, 5 ms on average with a long tail. */
export function busyFleet(seconds = 30): Workload {
  return {
    name: 'ten busy replicas, service times with a long tail',
    replicas: 10,
    requestsPerSecond: 12_800,
    durationMs: seconds * 1000,
    arrivals: 'poisson',
    workers: 8,
    serve: (_replica, _now, random) => ({ serviceMs: longTail(5, random), status: 200 }),
  };
}

/** Two strong replicas of weight 4 and four weak ones of weight 1, a quarter as fast. */
export function unequalFleet(seconds = 30): Workload {
  const weights = [4, 4, 1, 1, 1, 1];
  return {
    name: 'two replicas of weight 4 and four of weight 1, a quarter as fast',
    replicas: 6,
    requestsPerSecond: 1800,
    durationMs: seconds * 1000,
    arrivals: 'poisson',
    workers: 4,
    weights,
    serve: (replica, _now, random) => ({
      serviceMs: longTail(20 / (weights[replica] ?? 1), random),
      status: 200,
    }),
  };
}

/** One of ten replicas answers 503 after 1 ms, the others take 20 ms. */
export function blackHole(seconds = 30): Workload {
  return {
    name: 'one of ten replicas fails fast',
    replicas: 10,
    requestsPerSecond: 1000,
    durationMs: seconds * 1000,
    arrivals: 'poisson',
    workers: UNBOUNDED,
    serve: (replica, _now, random) =>
      replica === 0 ? { serviceMs: 1, status: 503 } : { serviceMs: longTail(20, random), status: 200 },
  };
}

/** Standard normal (Box and Muller); draws twice. */
function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** Lognormal with this mean; a hundredth of all takes more than four times as long. */
function longTail(meanMs: number, random: Random): number {
  const sigma = 0.75;
  return meanMs * Math.exp(sigma * normal(random) - (sigma * sigma) / 2);
}
