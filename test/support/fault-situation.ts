// A small fleet in virtual time with one fault: callers that count as agents do, the real fleet memory, the real intake, and the
// accounts that come out.

import type { EndpointReport, ServiceReport } from '#contract/frames.ts';
import { SketchRecorder } from '#contract/latency-sketch.ts';
import type { RequestResult } from '../../agent/core/reason.ts';
import { EdgeCounters } from '../../agent/telemetry/edge.ts';
import { Fleet } from '../../control-plane/core/fleet.ts';
import type { AccountCounts } from '../../control-plane/core/slo/accounts.ts';
import { Arrivals } from '../../control-plane/core/slo/arrivals.ts';
import { SloBook } from '../../control-plane/core/slo/book.ts';
import { HINDSIGHT_MS, SloIntake } from '../../control-plane/core/slo/intake.ts';
import { orderReport } from './control-plane-client.ts';
import { seededRandom } from './seeded-random.ts';
import { sloTarget } from './slo-target.ts';

/** How a request or an attempt ended. */
export interface Ending {
  readonly result: RequestResult;
  readonly status: number;
  /** By the agent's own fault. */
  readonly isOwn?: boolean;
  /** How long it took; QUICK_MS when absent. */
  readonly ms?: number;
}

export interface Moment {
  readonly caller: number;
  readonly zone: string;
  readonly random: () => number;
}

export interface Situation {
  readonly callers?: number;
  readonly endpoints?: number;
  /** Requests of one caller per second. */
  readonly rate?: number;
  /** Callers are spread over these. */
  readonly zones?: readonly string[];
  /** One more attempt elsewhere after a failed one. */
  readonly isRetrying?: boolean;
  /** Five failures in a row take an endpoint out for half a minute at this caller. */
  readonly isEjecting?: boolean;
  /** How long the fault lasts, ms. */
  readonly forMs?: number;
  /** From which on successes count as slow; none when absent. */
  readonly latencyThresholdMs?: number;
  /** How long the mesh holds each request during the fault. */
  readonly holdMs?: number;
  /** How an attempt at an endpoint ends during the fault; null: well. */
  readonly attempt?: (moment: Moment & { readonly endpoint: number }) => Ending | null;
  /** How a request ends during the fault before anything is attempted; null: it goes on. */
  readonly refuse?: (moment: Moment) => Ending | null;
}

const QUICK_MS = 5;
const WELL: Ending = { result: 'ok', status: 200 };
const STEP_MS = 20;
const BEFORE_MS = 30_000;
const REPORT_EVERY_MS = 2_000;
const EJECTED_FOR_MS = 30_000;

interface Stats {
  attempts: number;
  failures: number;
  inARow: number;
  outUntil: number;
  readonly latency: SketchRecorder;
}

class Caller {
  readonly edge = new EdgeCounters('outbound', 'orders', 'payments');
  readonly endpoints: Stats[];
  sequence = 0;
  reportAt: number;
  isSuspicious = false;

  constructor(endpoints: number, reportAt: number) {
    this.endpoints = Array.from({ length: endpoints }, () => {
      return { attempts: 0, failures: 0, inARow: 0, outUntil: 0, latency: new SketchRecorder() };
    });
    this.reportAt = reportAt;
  }

  pick(now: number, random: () => number, tried: number): number {
    const all = this.endpoints.map((_, index) => index);
    const fresh = all.filter((index) => index !== tried && (this.endpoints[index]?.outUntil ?? 0) <= now);
    const from = fresh.length > 0 ? fresh : all;
    return from[Math.floor(random() * from.length)] ?? 0;
  }
}

/** @returns the bad events by account, all of which happened during the fault */
export function runSituation(
  situation: Situation,
  seed: number,
): { readonly accounts: AccountCounts; readonly bad: number } {
  const { callers: count = 4, endpoints = 5, rate = 10, zones = ['a'], forMs = 30_000 } = situation;
  const { latencyThresholdMs = 0, holdMs = 0 } = situation;
  const { isRetrying = false, isEjecting = false, attempt = () => null, refuse = () => null } = situation;
  const random = seededRandom(seed);
  const fleet = new Fleet();
  const slos = new SloBook(() => sloTarget({ latencyThresholdMs }));
  const intake = new SloIntake(fleet, slos, new Arrivals(true));
  const callers = Array.from({ length: count }, () => new Caller(endpoints, REPORT_EVERY_MS * random()));
  const zoneOf = (caller: number): string => zones[caller % zones.length] ?? 'a';

  const tryAt = (caller: Caller, endpoint: number, moment: Moment | null, now: number): Ending => {
    const ending = (moment === null ? null : attempt({ ...moment, endpoint })) ?? WELL;
    const stats = caller.endpoints[endpoint];
    if (stats === undefined) return ending;
    stats.attempts++;
    const isFailure = ending.result !== 'ok' || ending.status >= 500;
    // As core/outlier/record.ts counts: what the agent did itself, and what the client did, is held against nobody.
    if (!isFailure || ending.isOwn === true || ending.result === 'downstream_disconnect') {
      if (!isFailure) {
        stats.inARow = 0;
        stats.latency.record(ending.ms ?? QUICK_MS);
      }
      return ending;
    }
    stats.failures++;
    stats.inARow++;
    if (stats.inARow === 2) caller.isSuspicious = true;
    if (isEjecting && stats.inARow >= 5) stats.outUntil = now + EJECTED_FOR_MS;
    return ending;
  };

  const request = (caller: Caller, index: number, now: number, isFaulty: boolean): void => {
    const moment = isFaulty ? { caller: index, zone: zoneOf(index), random } : null;
    caller.edge.begin();
    let ending = moment === null ? null : refuse(moment);
    if (ending === null) {
      const first = caller.pick(now, random, -1);
      ending = tryAt(caller, first, moment, now);
      const isAgain = isRetrying && (ending.result !== 'ok' || ending.status >= 500);
      if (isAgain) ending = tryAt(caller, caller.pick(now, random, first), moment, now);
    }
    const ms = (ending.ms ?? QUICK_MS) + (isFaulty ? holdMs : 0);
    caller.edge.end(ending.result, ending.status, ms, ending.isOwn === true, latencyThresholdMs);
  };

  const report = (caller: Caller, index: number, now: number): void => {
    caller.reportAt = now + REPORT_EVERY_MS;
    caller.isSuspicious = false;
    const quiet = {
      weight: 1,
      inFlight: 0,
      connections: 0,
      ewmaMs: null,
      reason: null,
      ejectedUntilEpochMs: null,
    } as const;
    const said = caller.endpoints.map(({ attempts, failures, latency }, nth): EndpointReport => {
      return {
        ...quiet,
        latency: latency.sketch(),
        id: `p${nth}`,
        address: `10.0.0.${nth}:80`,
        state: 'serving',
        attempts,
        failures,
      };
    });
    const seen = { service: 'payments', source: 'static', ageMs: null, holding: null, isPanicking: false } as const;
    const services: ServiceReport[] = [{ ...seen, endpoints: said }];
    const body = orderReport(++caller.sequence, {
      startedAtEpochMs: 0,
      zone: zoneOf(index),
      edges: [caller.edge.report()],
      services,
    });
    if (fleet.record(`orders-${index}`, body, now) !== null) intake.take(`orders-${index}`, body, now, now);
  };

  const endsAt = BEFORE_MS + forMs + HINDSIGHT_MS + 2 * REPORT_EVERY_MS;
  for (let now = 0; now < endsAt; now += STEP_MS) {
    const isFaulty = now >= BEFORE_MS && now < BEFORE_MS + forMs;
    callers.forEach((caller, index) => {
      if (random() < (rate * STEP_MS) / 1_000) request(caller, index, now, isFaulty);
      if (caller.isSuspicious || now >= caller.reportAt) report(caller, index, now);
    });
    if (now % REPORT_EVERY_MS === 0) intake.review(now);
  }
  const view = slos.view('payments', endsAt);
  if (view === null) throw new Error('nothing was counted');
  return { accounts: view.accounts, bad: view.bad };
}
