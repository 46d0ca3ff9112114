// The published numbers of error budgets.

import t from 'tap';
import { BURN_ALERTS, budgetSpentAt, burnRate, detectionMs, errorRatioAt } from '../../../control-plane/core/burn.ts';

const round = (value: number, digits = 6) => Number(value.toFixed(digits));

t.test('burn thresholds at 99.9 %: 14.4, 6, 3, 1 are 1.44, .6, .3, .1 % of errors', async (t) => {
  t.same(
    BURN_ALERTS.map(({ rate }) => round(errorRatioAt(rate, 0.999) * 100)),
    [1.44, 0.6, 0.3, 0.1],
  );
});

t.test('a total outage at 99.9 % is detected after 52, 130 and 259 s by 14.4@1h, 6@6h and 1@3d', async (t) => {
  const seconds = new Map(BURN_ALERTS.map((alert) => [alert.rate, Math.round(detectionMs(alert, 0.999) / 1000)]));
  t.same([seconds.get(14.4), seconds.get(6), seconds.get(1)], [52, 130, 259]);
});

t.test('the budget spent at the alert: 2, 5, 10, 10 % over 30 days', async (t) => {
  const windowMs = 30 * 24 * 3_600_000;
  t.same(
    BURN_ALERTS.map((alert) => round(budgetSpentAt(alert, windowMs) * 100)),
    [2, 5, 10, 10],
  );
});

t.test('burn rate of events', async (t) => {
  t.equal(round(burnRate(0, 100, 0.999), 3), 1000, 'an outage of everything');
  t.equal(round(burnRate(999, 1, 0.999)), 1, 'exactly what may be');
  t.equal(burnRate(0, 0, 0.999), 0, 'no events, no burning');
});
