// Error budgets as Prometheus gauges. They are sums over all control planes, so each of them shows the same: take one, never their sum.

import { Gauge, type Registry } from 'prom-client';
import type { SloView } from '../core/slo/book.ts';

/** @param views  of the services that may be labels */
export function addSloGauges(views: () => readonly SloView[], registers: Registry[]): void {
  gauge('objective_ratio', 'Share of requests that must succeed.', ['service'], registers, (set) => {
    for (const { service, objective } of views()) set({ service }, objective);
  });
  gauge(
    'error_budget_left_ratio',
    'Part of the error budget of the window that is left: 1 untouched, 0 spent, below 0 overdrawn.',
    ['service'],
    registers,
    (set) => {
      for (const { service, budget } of views()) set({ service }, budget.left);
    },
  );
  gauge(
    'burn_rate',
    'How fast the error budget burns over a window; at 1 it lasts exactly as long as it must.',
    ['service', 'window'],
    registers,
    (set) => {
      for (const { service, burns } of views()) {
        for (const { longMs, longBurn, shortMs, shortBurn } of burns) {
          set({ service, window: windowName(shortMs) }, shortBurn);
          set({ service, window: windowName(longMs) }, longBurn);
        }
      }
    },
  );
  gauge(
    'bad_events',
    'Bad events of the window by the cause they are booked to; a gauge, because the window moves on.',
    ['service', 'account'],
    registers,
    (set) => {
      for (const { service, accounts } of views())
        for (const [account, count] of Object.entries(accounts)) set({ service, account }, count);
    },
  );
  gauge(
    'availability_ratio',
    'Good events as a share of all, in the day, the week and the month up to now.',
    ['service', 'period'],
    registers,
    (set) => {
      for (const { service, periods } of views())
        for (const { name, availability } of periods)
          if (availability !== null) set({ service, period: name }, availability);
    },
  );
  gauge('alert_firing', '1 while a burn-rate alert fires, else 0.', ['service', 'alert'], registers, (set) => {
    for (const { service, burns } of views())
      for (const { name, firingSinceEpochMs } of burns)
        set({ service, alert: name }, firingSinceEpochMs === null ? 0 : 1);
  });
}

function windowName(ms: number): string {
  const minutes = ms / 60_000;
  if (minutes % 1440 === 0) return `${minutes / 1440}d`;
  return minutes % 60 === 0 ? `${minutes / 60}h` : `${minutes}m`;
}

function gauge<Label extends string>(
  name: string,
  help: string,
  labelNames: readonly Label[],
  registers: Registry[],
  fill: (set: (labels: Record<Label, string>, value: number) => void) => void,
): void {
  new Gauge<Label>({
    name: `outrigger_slo_${name}`,
    help,
    labelNames: [...labelNames],
    registers,
    collect() {
      this.reset();
      fill((labels, value) => this.set(labels, value));
    },
  });
}
