// What the process costs. The names are prom-client's where Prometheus' naming rules allow them; its own collection is not
// used, because some of its gauges end in _total and its plain lag gauge measures the scrape.

import { readdir, readFile } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Family, Sample } from './families.ts';

/** A family whose value may take a file to read. */
export type ProcessFamily = Omit<Family, 'samples'> & { samples(): Promise<Sample[]> };

/** Precision of the event-loop measurement: 50 wake-ups a second. */
const RESOLUTION_MS = 20;

export function processFamilies(): { families: ProcessFamily[]; stop(): void } {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  const startedAtSeconds = Math.round(performance.timeOrigin / 1000);
  const family = (
    name: string,
    help: string,
    value: () => number | null | Promise<number | null>,
    type: 'gauge' | 'counter' = 'gauge',
  ): ProcessFamily => {
    return {
      name,
      help,
      type,
      async samples() {
        const found = await value();
        return found === null ? [] : [{ labels: {}, value: found }];
      },
    };
  };
  const cpu = 'process_cpu_seconds_total';
  return {
    stop: () => delay.disable(),
    families: [
      family(cpu, 'User and system CPU time spent.', () => sum(process.cpuUsage()) / 1e6, 'counter'),
      family('process_start_time_seconds', 'Start of the process, seconds since 1970.', () => startedAtSeconds),
      family('process_resident_memory_bytes', 'Resident memory.', () => process.memoryUsage.rss()),
      family('process_open_fds', 'Open file descriptors.', openDescriptors),
      family('process_max_fds', 'Most file descriptors that may be open.', maxDescriptors),
      family('nodejs_heap_size_used_bytes', 'Heap in use.', () => process.memoryUsage().heapUsed),
      family('nodejs_heap_size_total_bytes', 'Heap allocated.', () => process.memoryUsage().heapTotal),
      family(
        'nodejs_external_memory_bytes',
        'Memory of buffers outside the heap.',
        () => process.memoryUsage().external,
      ),
      family('nodejs_eventloop_lag_p99_seconds', 'Event-loop delay, 99th percentile since the former scrape.', () =>
        lagSeconds(delay.percentile(99)),
      ),
      family('nodejs_eventloop_lag_max_seconds', 'Longest event-loop delay since the former scrape.', () => {
        const longest = lagSeconds(delay.max);
        delay.reset();
        return longest;
      }),
    ],
  };
}

/** The monitor measures the time between its own wake-ups; what exceeds the plan is delay. */
function lagSeconds(nanoseconds: number): number {
  return Math.max(0, nanoseconds / 1e9 - RESOLUTION_MS / 1000);
}

function sum({ user, system }: NodeJS.CpuUsage): number {
  return user + system;
}

/** Null where there is no /proc: the series is then absent, as in Prometheus' own clients. */
async function openDescriptors(): Promise<number | null> {
  const names = await readdir('/proc/self/fd').catch(() => null);
  return names === null ? null : names.length;
}

async function maxDescriptors(): Promise<number | null> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const found = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
  return found === undefined ? null : Number(found);
}
