// What a service promises to its callers. Counted and watched by the control plane; agents report what it is counted from.

import { Type } from 'typebox';
import { CLOSED, duration, notes } from './schema-fields.ts';

export const Slo = Type.Object(
  {
    target: Type.Optional(
      Type.Number({
        minimum: 50,
        maximum: 99.9999,
        default: 99.9,
        ...notes({
          means: 'Percent of the requests of a window that must succeed; what is left is the error budget.',
          larger: 'alerts at fewer failures',
          elsewhere: 'OpenSLO target, Sloth objective',
        }),
      }),
    ),
    window: duration('30d', '1d', '30d', {
      means: 'Time over which the budget is counted, rolling. Alerts whose own window is longer are left out.',
      larger: 'a bad day is remembered longer',
      elsewhere: 'OpenSLO timeWindow',
    }),
    latencyThreshold: duration('0s', '0s', '1h', {
      means:
        'A request that succeeds but takes longer, from its head to the end of the answer, is spent from the budget like a failure; 0s = however long. Upgraded connections are left out.',
      larger: 'slowness is noticed later',
      elsewhere: 'OpenSLO thresholdMetric',
    }),
    freezeBelow: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 100,
        default: 0,
        ...notes({
          means:
            "Percent of the error budget below which the service's documents, and those of the mesh, are changed by force or by a rollback only; 0 = never. Counts from ten bad requests on.",
          larger: 'changes are held back earlier',
          elsewhere: 'error budget policy of the Google SRE Workbook',
        }),
      }),
    ),
  },
  CLOSED,
);
