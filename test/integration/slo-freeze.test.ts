// A budget that is nearly spent holds changes back: who is concerned, what is let through all the same, and when it is over.

import t from 'tap';
import { runCommand } from '../support/command-line.ts';
import { ask, orderReport, startControlPlane } from '../support/control-plane-client.ts';

t.test('below its part of the budget a service is changed by force or by a rollback only', async (t) => {
  const { url } = await startControlPlane(t);
  const put = (path: string, spec: object, query = '', method = 'PUT') => {
    const [kind, name] = path.split('/');
    const document = { apiVersion: 'outrigger.dev/v1', kind, metadata: { name }, spec };
    return ask(`${url}/v1/policies/${path}${query}`, method, method === 'PUT' ? document : undefined);
  };
  const startedAtEpochMs = Date.now();
  let sequence = 0;
  const count = (requests: number, bad: number) => {
    const ends = { direction: 'outbound', source: 'orders', destination: 'payments', retries: 0, inFlight: 0 } as const;
    const edges = [{ ...ends, requests, successes: requests - bad }];
    return ask(`${url}/v1/agents/orders-1/reports`, 'POST', orderReport(++sequence, { startedAtEpochMs, edges }));
  };
  const promise = (attempts: number) => ({ slo: { target: 99, freezeBelow: 25 }, retries: { attempts } });
  t.equal((await put('ServicePolicy/payments', promise(1))).status, 201);
  await count(1_000, 6);
  t.match((await ask(`${url}/v1/slo/payments`, 'GET')).body, { isFrozen: false, freezeBelow: 0.25 });
  t.equal((await put('ServicePolicy/payments', promise(2))).status, 200, '40 % are left');
  await count(1_003, 9);
  t.match(
    (await ask(`${url}/v1/slo/payments`, 'GET')).body,
    { isFrozen: false },
    '10 % are left, but nine failures say little',
  );
  await count(1_104, 10);
  const { body } = await ask(`${url}/v1/slo/payments`, 'GET');
  t.match(body, { isFrozen: true, from: { freezeBelow: 'ServicePolicy/payments' } });

  const held = { status: 409, body: { code: 'OTR_ERR_BUDGET_SPENT', service: 'payments' } };
  t.match(await put('ServicePolicy/payments', promise(3)), {
    ...held,
    body: {
      ...held.body,
      detail:
        /^payments has 9\.4 % of its error budget left, and below 25 % \(ServicePolicy\/payments\) changes are held back: put a former revision back, or send force=true/,
    },
  });
  t.match(await put('ServicePolicy/payments', promise(3), '?rollout=staged'), held);
  t.match(await put('ServicePolicy/payments', {}, '', 'DELETE'), held);
  t.match(
    await put('HTTPRoute/payments', { parentRefs: [{ kind: 'Service', name: 'payments' }], rules: [{ name: 'all' }] }),
    held,
  );
  t.match(await put('MeshDefaults/global', { timeouts: { request: '9s' } }), held, 'the mesh concerns everybody');
  t.equal((await put('ServicePolicy/carts', promise(3))).status, 201, 'others go on');
  t.match(await put('ServicePolicy/payments', promise(3), '?force=maybe'), { status: 400 });

  const back = await ask(`${url}/v1/policies/ServicePolicy/payments/rollback`, 'POST', { revision: 1 });
  t.equal(back.status, 200, 'a rollback mends');
  const hidden = `?message=${'x'.repeat(280)}&force=true`;
  t.equal((await put('ServicePolicy/payments', promise(3), hidden)).status, 200);
  const log = JSON.stringify((await ask(`${url}/v1/audit`, 'GET')).body);
  t.match(log, /"result":"revision [^"]+, by force"/, 'a long message does not hide the force from the log');

  const file = `${t.testdir({ 'policy.yaml': yamlOf(4) })}/policy.yaml`;
  const refused = await runCommand(['policy', 'apply', '-f', file, '--control-plane', url]);
  t.equal(refused.code, 1);
  t.match(refused.err, /payments has 9\.4 % of its error budget left/);
  t.match(await runCommand(['policy', 'apply', '-f', file, '--control-plane', url, '--force']), { code: 0 });
  const shown = await runCommand(['slo', 'payments', '--control-plane', url]);
  t.match(shown.out, /^changes {3}held back below 25 % \(ServicePolicy\/payments\), but for rollbacks and --force$/m);

  await count(10_000, 10);
  t.match((await ask(`${url}/v1/slo/payments`, 'GET')).body, { isFrozen: false }, 'good requests earn it back');
  t.equal((await put('ServicePolicy/payments', promise(5))).status, 200);
});

function yamlOf(attempts: number): string {
  return `apiVersion: outrigger.dev/v1
kind: ServicePolicy
metadata: { name: payments }
spec:
  slo: { target: 99, freezeBelow: 25 }
  retries: { attempts: ${attempts} }
`;
}
