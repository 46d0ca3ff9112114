// When checks run and what their results mean: TTLs that expire, probes with a staggered start and one interval between runs,
// thresholds of consecutive results. Timers and probes are handed in; statuses are reported, not stored.

import type { CheckDefinition } from './definitions.ts';
import type { RunProbe } from './probe.ts';
import type { CheckStatus } from './state/model.ts';
import type { After, Random } from './time.ts';

export interface CheckScheduleOptions {
  readonly after: After;
  readonly random: Random;
  readonly run: RunProbe;
  readonly report: (checkId: string, status: CheckStatus, output: string) => void;
}

interface Running {
  readonly definition: CheckDefinition;
  readonly stopped: AbortController;
  cancel: () => void;
  /** Last output a TTL check was given; part of what its expiry says. */
  output: string;
  successes: number;
  failures: number;
}

export class CheckSchedule {
  readonly #options: CheckScheduleOptions;
  readonly #running = new Map<string, Running>();

  constructor(options: CheckScheduleOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#running.size;
  }

  /** Starts a check, ending a former one of the same id. A TTL counts from now; a probe starts at a random point of its interval. */
  start(checkId: string, definition: CheckDefinition): void {
    this.stop(checkId);
    const running: Running = {
      definition,
      stopped: new AbortController(),
      cancel: () => {},
      output: '',
      successes: 0,
      failures: 0,
    };
    this.#running.set(checkId, running);
    const { probe } = definition;
    if (probe.kind === 'ttl') this.#armTtl(checkId, running, probe.ttlMs);
    else this.#armProbe(checkId, running, this.#options.random() * probe.intervalMs);
  }

  stop(checkId: string): void {
    const running = this.#running.get(checkId);
    if (running === undefined) return;
    running.cancel();
    running.stopped.abort();
    this.#running.delete(checkId);
  }

  stopAll(): void {
    for (const checkId of [...this.#running.keys()]) this.stop(checkId);
  }

  /** A sign of life for a TTL check; false when there is no such TTL check. */
  beat(checkId: string, status: CheckStatus, output: string): boolean {
    const running = this.#running.get(checkId);
    if (running === undefined || running.definition.probe.kind !== 'ttl') return false;
    running.output = output.slice(0, running.definition.maxOutputBytes);
    this.#armTtl(checkId, running, running.definition.probe.ttlMs);
    this.#options.report(checkId, status, running.output);
    return true;
  }

  #armTtl(checkId: string, running: Running, ttlMs: number): void {
    running.cancel();
    running.cancel = this.#options.after(ttlMs, () => {
      const last = running.output === '' ? '' : ` (last output before timeout follows): ${running.output}`;
      this.#options.report(checkId, 'critical', `TTL expired${last}`);
    });
  }

  #armProbe(checkId: string, running: Running, delayMs: number): void {
    running.cancel = this.#options.after(delayMs, () => void this.#runOnce(checkId, running));
  }

  /** One run and the next appointment; `run` never rejects, so neither does this. */
  async #runOnce(checkId: string, running: Running): Promise<void> {
    const { probe, maxOutputBytes } = running.definition;
    if (probe.kind === 'ttl') return;
    const result = await this.#options.run(probe, maxOutputBytes, running.stopped.signal);
    if (running.stopped.signal.aborted) return;
    this.#count(running, result.status);
    if (isDue(running, result.status)) this.#options.report(checkId, result.status, result.output);
    this.#armProbe(checkId, running, probe.intervalMs);
  }

  #count(running: Running, status: CheckStatus): void {
    if (status === 'critical') {
      running.failures++;
      running.successes = 0;
    } else {
      running.successes++;
      running.failures = 0;
    }
  }
}

/** Enough results of this kind in a row to say so. */
function isDue(running: Running, status: CheckStatus): boolean {
  const { successesBeforePassing, failuresBeforeCritical } = running.definition;
  return status === 'critical'
    ? running.failures >= failuresBeforeCritical
    : running.successes >= successesBeforePassing;
}
