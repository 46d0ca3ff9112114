// A proxy listener in a process of its own, for tests that take its descriptors, its port or its life away.
//
//   node test/support/small-agent.ts ORIGIN_PORT[,…] [PORT [reuse]]      prints the port; SIGTERM drains and ends

import { DEFAULT_POLICY } from '#contract/policy/plan.ts';
import { systemClock, systemRandom } from '../../agent/clock.ts';
import { createEndpointStats } from '../../agent/core/stats.ts';
import { createServiceStats, createServiceView } from '../../agent/core/view.ts';
import { Admission, readMaxDescriptors } from '../../agent/proxy/admission.ts';
import { createProxyListener } from '../../agent/proxy/listener.ts';
import { Pools } from '../../agent/proxy/pools.ts';
import { Metrics } from '../../agent/telemetry/metrics.ts';

const [ports = '', port = '0', reuse] = process.argv.slice(2);
const endpoints = ports.split(',').map((text) => {
  const id = `a@127.0.0.1:${text}`;
  const endpoint = { id, address: '127.0.0.1', port: Number(text), weight: 1, zone: null, tags: [], meta: {} };
  return { endpoint, stats: createEndpointStats(id) };
});
const plan = { service: 'a', policy: DEFAULT_POLICY, rules: [], permission: { kind: 'allow' as const } };
const view = createServiceView(plan, endpoints, createServiceStats('a'));
const pools = new Pools({ clock: systemClock });
const listener = createProxyListener({
  direction: 'outbound',
  address: { host: '127.0.0.1', port: Number(port) },
  reusePort: reuse === 'reuse',
  service: 'web',
  route: { kind: 'byHost' },
  mesh: { snapshot: { generation: 1, policyVersion: 0, services: new Map([['a', view]]) }, requestSweep: () => {} },
  pools,
  metrics: new Metrics(),
  accessLog: { write: () => {} },
  clock: systemClock,
  random: systemRandom,
  admission: new Admission(readMaxDescriptors()),
  isDraining: () => false,
});
process.stdout.write(`${(await listener.listen()).port}\n`);
process.once('SIGTERM', () => {
  void listener.drain(5_000).then(() => {
    pools.closeAll();
    process.exit(0);
  });
});
