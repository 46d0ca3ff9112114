// Error budgets as gauges: what is shown is what the book says, and a service that is gone leaves no series behind.

import { Registry } from 'prom-client';
import t from 'tap';
import { addSloGauges } from '../../../control-plane/api/slo-metrics.ts';
import { NO_ACCOUNTS } from '../../../control-plane/core/slo/accounts.ts';
import { SloBook, type SloView } from '../../../control-plane/core/slo/book.ts';
import { sloTarget } from '../../support/slo-target.ts';

t.test('objective, budget, burn, causes, availability and alerts of each service', async (t) => {
  const book = new SloBook(() => sloTarget());
  const epochMs = 1_700_000_000_000;
  book.record('payments', 'outbound', 990, { ...NO_ACCOUNTS, instance: 7, client: 3 }, epochMs);
  const registry = new Registry();
  let services = ['payments'];
  addSloGauges(
    () => services.flatMap((service): SloView[] => [book.view(service, epochMs)].filter((view) => view !== null)),
    [registry],
  );
  const text = await registry.metrics();
  for (const line of [
    'outrigger_slo_objective_ratio{service="payments"} 0.999',
    'outrigger_slo_bad_events{service="payments",account="instance"} 7',
    'outrigger_slo_bad_events{service="payments",account="client"} 3',
    'outrigger_slo_bad_events{service="payments",account="policy"} 0',
    'outrigger_slo_availability_ratio{service="payments",period="day"} 0.99',
    'outrigger_slo_alert_firing{service="payments",alert="burn_1h"} 0',
  ])
    t.ok(text.split('\n').includes(line), line);
  const value = (name: string): number => Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1]);
  t.ok(
    Math.abs(value('outrigger_slo_error_budget_left_ratio{service="payments"}') + 9) < 1e-6,
    'ten times what was allowed',
  );
  for (const window of ['5m', '30m', '1h', '2h', '6h', '1d', '3d'])
    t.ok(Math.abs(value(`outrigger_slo_burn_rate{service="payments",window="${window}"}`) - 10) < 1e-6, window);
  services = [];
  t.notMatch(await registry.metrics(), /payments/);
});
