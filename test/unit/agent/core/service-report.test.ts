import t from 'tap';
import { clusters } from '../../../../agent/admin/clusters.ts';
import { type DiscoveryFacts, serviceReports } from '../../../../agent/core/service-report.ts';
import type { MeshSnapshot } from '../../../../agent/core/snapshot.ts';
import { createEndpointStats } from '../../../../agent/core/stats.ts';
import { endpointAt, viewOf } from '../../../support/views.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

t.test('one description of services for the admin API and for reports', async (t) => {
  const sixth = endpointAt(1, { address: '::1', port: 80 });
  const stats = { ...createEndpointStats(sixth.id), state: 'ejected', ejectedUntil: 5_000 } as const;
  const snapshot: MeshSnapshot = {
    generation: 1,
    policyVersion: 0,
    services: new Map([['svc', viewOf([{ endpoint: sixth, stats: { ...stats, ejectionText: 'why' } }])]]),
  };
  const discovery: DiscoveryFacts[] = [
    { service: 'svc', source: 'disk', ageMs: 70, holding: null },
    { service: 'never-seen', source: 'none', ageMs: null, holding: 'Consul does not answer; nothing is known yet' },
  ];
  const inputs = { snapshot, discovery, now: 2_000, epochMs: 1_000_000, connectionsOf: () => 3 };
  const reports = serviceReports(inputs);
  t.match(reports, [
    { service: 'svc', source: 'disk', ageMs: 70, holding: null, isPanicking: true },
    { service: 'never-seen', source: 'none', holding: /nothing is known/, endpoints: [] },
  ]);
  t.match(reports[0]?.endpoints, [
    { address: '[::1]:80', connections: 3, ewmaMs: null, reason: 'why', ejectedUntilEpochMs: 1_003_000 },
  ]);
  const clock = new VirtualClock();
  const shown = clusters({ clock, snapshot: () => snapshot, discovery: () => discovery, connectionsOf: () => 3 });
  const moment = { now: clock.now(), epochMs: clock.epochMs() };
  t.same(
    shown.map(({ inFlight, ...report }) => report),
    serviceReports({ ...inputs, ...moment }).map((report) => {
      return { ...report, endpoints: report.endpoints.map(({ latency: _latency, ...rest }) => rest) };
    }),
    'all but the distributions',
  );
});
