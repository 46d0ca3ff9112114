// A proxy listener in a process of its own, for tests that take its descriptors, its port or its life away.
//
//   node test/support/small-agent.ts ORIGIN_PORT[,…] [PORT [reuse]]      prints the port; SIGTERM drains and ends

import type { PolicyDocument } from '#contract/policy/policy.ts';
import { systemClock, systemRandom } from '../../agent/clock.ts';
import { Mesh } from '../../agent/mesh/mesh.ts';
import { Admission, readMaxDescriptors } from '../../agent/proxy/admission.ts';
import { createProxyListener } from '../../agent/proxy/listener.ts';
import { Pools } from '../../agent/proxy/pools.ts';
import { Metrics } from '../../agent/telemetry/metrics.ts';

const [ports = '', port = '0', reuse] = process.argv.slice(2);
const mesh = new Mesh({
  caller: 'web',
  clock: systemClock,
  random: systemRandom,
  onEvent: () => {},
});
mesh.applyEndpoints({
  service: 'a',
  source: 'static',
  endpoints: ports.split(',').map((text) => {
    return {
      id: `a@127.0.0.1:${text}`,
      address: '127.0.0.1',
      port: Number(text),
      weight: 1,
      zone: null,
      tags: [],
      meta: {},
    };
  }),
});
// So that an instance that was restarted is back before the next one goes.
const spec = { outlierDetection: { baseEjectionTime: '500ms' } };
const document: PolicyDocument = {
  apiVersion: 'outrigger.dev/v1',
  kind: 'MeshDefaults',
  metadata: { name: 'global' },
  spec,
};
const { problems } = mesh.applyPolicy({ version: 1, nonce: '1', documents: [document] });
if (problems.length > 0) throw new Error(JSON.stringify(problems));
setInterval(() => mesh.sweep(systemClock.now()), 100).unref();
const pools = new Pools({ clock: systemClock });
const listener = createProxyListener({
  direction: 'outbound',
  address: { host: '127.0.0.1', port: Number(port) },
  reusePort: reuse === 'reuse',
  service: 'web',
  route: { kind: 'byHost' },
  mesh,
  pools,
  metrics: new Metrics(),
  accessLog: { wants: () => false, write: () => {} },
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
