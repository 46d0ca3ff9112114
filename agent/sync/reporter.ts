// Tells the control plane what this agent sees, every two seconds and at once after something happened. Forward only:
// nothing waits for it, at most one report is under way, and a control plane that is gone costs one attempt per back-off.

import type { AgentReport, MeshEvent } from '#contract/frames.ts';
import type { Clock, Random } from '../clock.ts';
import { type BackOff, backOffMs } from '../core/back-off.ts';
import type { ControlPlaneClient } from './control-plane-client.ts';

export interface ReporterOptions {
  readonly client: ControlPlaneClient;
  readonly agentId: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Called once per attempt; its events are handed over and kept here until they are delivered. */
  buildReport(): AgentReport;
  /** Mean time between reports, a fifth of it by chance; default 2 s. */
  readonly intervalMs?: number;
  /** What reportNow() waits for more of the same; default 50 ms. */
  readonly coalesceMs?: number;
  readonly timeoutMs?: number;
  readonly backOff?: BackOff;
}

export interface Reporter {
  start(): void;
  /** Brings the next report forward; while the control plane does not answer, the back-off is kept. */
  reportNow(): void;
  status(): { readonly sent: number; readonly failed: number; readonly failure: string | null };
  stop(): Promise<void>;
}

const MAX_EVENTS = 100;

export function createReporter(options: ReporterOptions): Reporter {
  const { client, clock, random, buildReport, intervalMs = 2_000, coalesceMs = 50, timeoutMs = 5_000 } = options;
  const backOff = options.backOff ?? { baseMs: intervalMs, capMs: 30_000 };
  const path = `/v1/agents/${encodeURIComponent(options.agentId)}/reports`;
  const stop = new AbortController();
  /** Events of reports that were not delivered, oldest first, and how many did not fit. */
  let undelivered: readonly MeshEvent[] = [];
  let undeliveredDropped = 0;
  let timer: NodeJS.Timeout | null = null;
  let dueAt = Number.POSITIVE_INFINITY;
  let sending: Promise<void> | null = null;
  let isAskedForNow = false;
  let sent = 0;
  let failed = 0;
  let failuresInARow = 0;
  let failure: string | null = null;

  function schedule(delayMs: number): void {
    if (stop.signal.aborted) return;
    if (timer !== null) clearTimeout(timer);
    dueAt = clock.now() + delayMs;
    timer = setTimeout(send, delayMs).unref();
  }

  function send(): void {
    sending ??= attempt().finally(() => {
      sending = null;
      const isUrgent = isAskedForNow && failuresInARow === 0;
      isAskedForNow = false;
      if (failuresInARow > 0) schedule(backOffMs(failuresInARow, random, backOff));
      else schedule(isUrgent ? coalesceMs : intervalMs * (0.9 + 0.2 * random()));
    });
  }

  async function attempt(): Promise<void> {
    let report: AgentReport;
    try {
      report = withUndelivered(buildReport());
    } catch (error) {
      // A report that cannot be made is one that was not delivered; the agent serves on.
      failed++;
      failuresInARow++;
      failure = `the report could not be made: ${String(error)}`;
      return;
    }
    const fault = await client.post(path, report, stop.signal, timeoutMs);
    if (fault === null) {
      sent++;
      failuresInARow = 0;
      undelivered = [];
      undeliveredDropped = 0;
    } else {
      failed++;
      failuresInARow++;
      undelivered = report.events;
      undeliveredDropped = report.eventsDropped;
    }
    failure = fault;
  }

  /** The newest events are kept: the oldest ones are the likeliest to be known from elsewhere. */
  function withUndelivered(report: AgentReport): AgentReport {
    const events = [...undelivered, ...report.events];
    const surplus = Math.max(0, events.length - MAX_EVENTS);
    const eventsDropped = undeliveredDropped + report.eventsDropped + surplus;
    return { ...report, events: events.slice(surplus), eventsDropped };
  }

  function reportNow(): void {
    if (sending !== null) {
      isAskedForNow = true;
      return;
    }
    if (failuresInARow === 0 && timer !== null && dueAt - clock.now() > coalesceMs) schedule(coalesceMs);
  }

  return {
    start: () => schedule(intervalMs * 0.2 * random()),
    reportNow,
    status: () => ({ sent, failed, failure }),
    stop: async () => {
      stop.abort();
      if (timer !== null) clearTimeout(timer);
      await sending;
    },
  };
}
