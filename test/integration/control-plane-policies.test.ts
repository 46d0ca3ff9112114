// Policies through the whole control plane over real sockets: writes and their conditions, problems, pushes and verdicts.

import { spawnSync } from 'node:child_process';
import t from 'tap';
import { ask, follow, nextPush, orderReport, startControlPlane } from '../support/control-plane-client.ts';

const PAYMENTS = '/v1/policies/ServicePolicy/payments';

function document(attempts: number, name = 'payments') {
  return { apiVersion: 'outrigger.dev/v1', kind: 'ServicePolicy', metadata: { name }, spec: { retries: { attempts } } };
}

t.test('a PUT reaches an open stream, and the answer can wait for the verdict', async (t) => {
  const { url } = await startControlPlane(t);
  const stream = await follow(`${url}/v1/agents/orders-1/stream`);
  t.teardown(() => stream.stop());
  const first = await nextPush(stream);
  t.match(first, { version: 0, documents: [] }, 'the set in force comes at once');

  const put = ask(`${url}${PAYMENTS}?wait=2s`, 'PUT', document(2));
  const second = await nextPush(stream);
  t.match(second, { version: 1, documents: [document(2)] });
  t.not(second.nonce, first.nonce);
  const ack = { version: 1, nonce: second.nonce, verdict: 'ACK', appliedVersion: 1, problems: [] };
  t.equal((await ask(`${url}/v1/agents/orders-1/acks`, 'POST', { ...ack, nonce: first.nonce })).status, 204);
  t.match((await ask(`${url}/v1/agents/orders-1`, 'GET')).body, { policy: { appliedVersion: null, verdict: null } });
  t.equal((await ask(`${url}/v1/agents/orders-1/acks`, 'POST', ack)).status, 204);
  t.match(await put, {
    status: 201,
    body: { revision: 1, version: 1, isChanged: true, agents: { wanted: 1, applied: 1, rejected: 0 } },
  });
  t.match(await ask(`${url}${PAYMENTS}?wait=100ms`, 'PUT', document(3)), {
    status: 200,
    body: { version: 2, agents: { wanted: 1, applied: 0, rejected: 0 } },
  });
});

t.test('changes in quick succession travel together, and a reconnecting agent gets the newest set', async (t) => {
  const { url } = await startControlPlane(t);
  const stream = await follow(`${url}/v1/agents/orders-1/stream`);
  t.teardown(() => stream.stop());
  await nextPush(stream);
  for (let attempts = 0; attempts < 8; attempts++) await ask(`${url}${PAYMENTS}`, 'PUT', document(attempts));
  const versions: number[] = [];
  while (versions.at(-1) !== 8) versions.push((await nextPush(stream)).version);
  t.same(
    versions,
    [...versions].sort((a, b) => a - b),
    'versions only grow',
  );

  const again = await follow(`${url}/v1/agents/orders-1/stream`, { 'last-event-id': '8' });
  t.teardown(() => again.stop());
  t.equal((await nextPush(again)).version, 8, 'the same version too: the agent needs a nonce');
  await stream.ended;
  t.match(
    (await ask(`${url}/v1/agents/orders-1`, 'GET')).body,
    { isConnected: true },
    'the older stream took nothing along',
  );
});

t.test(
  'a NACK shows with its problems, is told as an event, and is not answered with the same set again',
  async (t) => {
    const { url } = await startControlPlane(t);
    await ask(`${url}${PAYMENTS}`, 'PUT', document(2));
    const stream = await follow(`${url}/v1/agents/orders-1/stream`);
    t.teardown(() => stream.stop());
    const { version, nonce } = await nextPush(stream);
    const problems = [
      { code: 'OTR_RANGE', path: 'ServicePolicy/payments: spec.retries.attempts', message: 'must be at most 1' },
    ];
    await ask(`${url}/v1/agents/orders-1/acks`, 'POST', {
      version,
      nonce,
      verdict: 'NACK',
      appliedVersion: 0,
      problems,
    });
    t.match((await ask(`${url}/v1/agents`, 'GET')).body, {
      agents: [
        { id: 'orders-1', policy: { wantedVersion: 1, appliedVersion: 0, verdict: 'NACK', isInSync: false, problems } },
      ],
    });
    const page = await follow(`${url}/v1/events`);
    t.teardown(() => page.stop());
    t.match(JSON.stringify((await page.next()).data), /refused policy version 1 because ServicePolicy\/payments/);
    await ask(`${url}/v1/policies/ServicePolicy/other`, 'PUT', document(1, 'other'));
    t.equal((await nextPush(stream)).version, 2, 'the next push is the next version');
  },
);

t.test('writes are conditional: stale 412, create-only, any, and removals', async (t) => {
  const { url } = await startControlPlane(t);
  const at = `${url}${PAYMENTS}`;
  t.equal((await ask(at, 'PUT', document(1), { 'if-match': '*' })).status, 412);
  t.match((await ask(at, 'PUT', document(1), { 'if-none-match': '*' })).headers.get('etag'), '"1"');
  t.equal((await ask(at, 'PUT', document(2), { 'if-none-match': '*' })).status, 412);
  t.match(await ask(at, 'PUT', document(2), { 'if-match': '"1"' }), { status: 200, body: { revision: 2 } });
  t.match(await ask(at, 'PUT', document(3), { 'if-match': '"1"' }), {
    status: 412,
    body: { code: 'OTR_ERR_STALE_REVISION', revision: 2, detail: 'ServicePolicy/payments is at revision 2' },
  });
  t.equal((await ask(at, 'GET', undefined, { 'if-none-match': '"2"' })).status, 304);
  t.match(await ask(at, 'GET'), { status: 200, body: { revision: 2, document: document(2) } });
  const back = await ask(`${at}/rollback?message=it%20was%20better`, 'POST', { revision: 1 });
  t.match(back, { status: 200, body: { revision: 3, version: 3 } });
  t.match((await ask(at, 'GET')).body, { revision: 3, message: 'it was better', author: 'anonymous' });
  t.equal((await ask(`${at}/rollback?message=a%0Ab`, 'POST', { revision: 1 })).status, 400);
  t.equal((await ask(`${at}/rollback?message=${'x'.repeat(501)}`, 'POST', { revision: 1 })).status, 400);
  t.match((await ask(at, 'GET')).body, { document: document(1) });
  t.equal((await ask(at, 'DELETE', undefined, { 'if-match': '"2"' })).status, 412);
  t.match(await ask(at, 'DELETE'), { status: 200, body: { revision: 4, version: 4 } });
  t.equal((await ask(at, 'GET')).status, 404);
  t.equal((await ask(at, 'DELETE')).status, 404);
  t.equal((await ask(`${at}/rollback`, 'POST', { revision: 4 })).status, 422, 'a removal is no document');
  t.equal((await ask(`${at}/rollback`, 'POST', { revision: 99 })).status, 404);
  t.match((await ask(`${at}/diff?from=1&to=2`, 'GET')).body, {
    from: 1,
    to: 2,
    differences: [{ path: 'spec.retries.attempts', before: 1, after: 2 }],
  });
  t.match((await ask(`${at}/diff`, 'GET')).body, { from: 3, to: 4, differences: [{ before: 1 }] }, 'the last change');
  t.match((await ask(`${at}/diff?to=1`, 'GET')).body, { from: 0, differences: [{ after: 1 }] });
  t.equal((await ask(`${at}/diff?from=9`, 'GET')).status, 404);
  t.equal((await ask(`${at}/diff?from=x`, 'GET')).status, 400);
  const { body } = await ask(`${at}/history`, 'GET');
  t.match(body.revisions, [
    { revision: 4, action: 'remove' },
    { revision: 3 },
    { revision: 2 },
    { revision: 1, author: 'anonymous' },
  ]);
});

t.test('a bad document is refused with all its problems and their places, in YAML and in JSON', async (t) => {
  const { url } = await startControlPlane(t);
  const yaml = [
    'apiVersion: outrigger.dev/v1',
    'kind: ServicePolicy',
    'metadata: { name: payments }',
    'spec:',
    '  retries: { attempts: 99 }',
    '  timeuots: { request: 5s }',
    '',
  ].join('\n');
  const refused = await ask(`${url}${PAYMENTS}`, 'PUT', yaml, { 'content-type': 'application/yaml' });
  t.match(refused, { status: 422, body: { code: 'OTR_ERR_INVALID', title: String, status: 422 } });
  t.equal(refused.headers.get('content-type'), 'application/problem+json; charset=utf-8');
  const problems = refused.body.problems as {
    code: string;
    path: string;
    line: number;
    column: number;
    hint?: string;
  }[];
  t.match(
    problems.find(({ path }) => path === 'spec.retries.attempts'),
    { code: 'OTR_RANGE', line: 5, column: 24 },
  );
  t.match(
    problems.find(({ code }) => code === 'OTR_UNKNOWN_KEY'),
    { line: 6, column: 3 },
  );
  const json = await ask(`${url}${PAYMENTS}`, 'PUT', document(99));
  t.match(json.body.problems, [{ code: 'OTR_RANGE', path: 'spec.retries.attempts', line: 1, column: Number }]);
  const good = yaml.replace('99', '2').replace(/ {2}timeuots.*\n/, '');
  t.equal((await ask(`${url}${PAYMENTS}`, 'PUT', good, { 'content-type': 'application/yaml' })).status, 201);

  const wrongName = await ask(`${url}/v1/policies/ServicePolicy/orders`, 'PUT', document(1));
  t.match(wrongName, { status: 422, body: { problems: [{ code: 'OTR_INCONSISTENT', path: 'metadata.name' }] } });
  t.equal((await ask(`${url}${PAYMENTS}`, 'PUT', '{"a":', { 'content-type': 'application/json' })).status, 422);
  t.equal((await ask(`${url}${PAYMENTS}`, 'PUT', 'x=1', { 'content-type': 'text/plain' })).status, 415);
  const large = { ...document(1), spec: { note: 'x'.repeat(300_000) } };
  t.match(await ask(`${url}${PAYMENTS}`, 'PUT', large), { status: 413, body: { code: 'OTR_ERR_TOO_LARGE' } });
  t.match(await ask(`${url}/v1/policies/ServicePolcy/x`, 'GET'), {
    status: 404,
    body: { detail: /did you mean ServicePolicy/ },
  });
  t.match(await ask(`${url}/v1/nothing`, 'GET'), { status: 404, body: { code: 'OTR_ERR_NOT_FOUND' } });
  t.match(await ask(`${url}/v1/%ff`, 'GET'), { status: 400, body: { code: 'OTR_ERR_BAD_REQUEST' } });
  t.match((await ask(`${url}/v1/policies`, 'GET')).body, { version: 1 }, 'nothing refused was stored');
});

t.test('a dry run judges several documents and stores none; effective values say where they come from', async (t) => {
  const { url } = await startControlPlane(t);
  await ask(`${url}${PAYMENTS}`, 'PUT', document(2));
  const dry = await ask(`${url}/v1/policies:validate`, 'POST', [document(2), document(3, 'orders')]);
  t.match(dry, {
    status: 200,
    body: {
      version: 1,
      changes: [
        { id: 'ServicePolicy/payments', change: 'none', differences: [] },
        { id: 'ServicePolicy/orders', change: 'create', differences: [{ path: 'spec.retries.attempts', after: 3 }] },
      ],
    },
  });
  t.match(await ask(`${url}/v1/policies:validate`, 'POST', [document(99), document(98, 'orders')]), {
    status: 422,
    body: { problems: [{ path: 'spec.retries.attempts' }, { path: 'spec.retries.attempts' }] },
  });
  const effective = await ask(`${url}/v1/effective/orders/payments`, 'GET');
  t.equal(effective.status, 200);
  t.match(effective.body, {
    policy: {
      retries: {
        attempts: { value: 2, from: { kind: 'ServicePolicy', name: 'payments', revision: 1 } },
        on: { from: { kind: 'default' } },
      },
    },
  });
});

t.test('services come from reports, metrics pass promtool, and the description names every route', async (t) => {
  const { url } = await startControlPlane(t);
  const edge = {
    direction: 'outbound',
    source: 'orders',
    destination: 'payments',
    retries: 0,
    inFlight: 1,
  };
  const edges = [{ ...edge, direction: 'outbound' as const, requests: 100, successes: 99 }];
  t.equal((await ask(`${url}/v1/agents/orders-1/reports`, 'POST', orderReport(1, { edges }))).status, 204);
  t.match((await ask(`${url}/v1/services/payments`, 'GET')).body, {
    service: 'payments',
    availability: { life: { good: 99, valid: 100, ratio: 0.99 } },
  });
  t.equal((await ask(`${url}/v1/services/none`, 'GET')).status, 404);
  const bad = orderReport(2, { adminUrl: 'file:///etc/passwd' });
  t.equal((await ask(`${url}/v1/agents/orders-1/reports`, 'POST', bad)).status, 422);
  t.equal((await ask(`${url}/v1/agents/a%2Fb/reports`, 'POST', orderReport(1))).status, 400);
  t.equal((await ask(`${url}/v1/agents/orders-1/reports`, 'POST', { sequence: 1 })).status, 400);

  const metrics = (await ask(`${url}/metrics`, 'GET')).body.text as string;
  t.match(metrics, /outrigger_control_plane_service_availability_ratio\{service="payments",window="life"\} 0\.99/);
  const lint = spawnSync('promtool', ['check', 'metrics'], { input: metrics, encoding: 'utf8' });
  if (lint.error === undefined) t.equal(`${lint.stdout}${lint.stderr}`, '', 'promtool has nothing to say');
  else t.comment('promtool is not installed; metrics were not linted');

  const { openapi, paths } = (await ask(`${url}/v1/openapi.json`, 'GET')).body as { openapi: string; paths: object };
  t.equal(openapi, '3.1.0');
  for (const path of ['/v1/policies/{kind}/{name}', '/v1/policies:validate', '/v1/agents/{id}/stream', '/v1/events']) {
    t.ok(path in paths, path);
  }
  t.equal((await ask(`${url}/live`, 'GET')).status, 200);
  t.match((await ask(`${url}/ready`, 'GET')).body, { status: 'ready', version: 0 });
});

t.test('stopping ends streams at once and is the same twice', async (t) => {
  const { url, stop } = await startControlPlane(t);
  const stream = await follow(`${url}/v1/agents/orders-1/stream`);
  const page = await follow(`${url}/v1/events`);
  await Promise.all([stop(), stop(), stream.ended, page.ended]);
  await t.rejects(fetch(`${url}/live`));
});

t.test('the event stream begins with the whole state and then tells only what changed', async (t) => {
  const { url } = await startControlPlane(t);
  const edge = { direction: 'outbound' as const, source: 'orders', retries: 0, inFlight: 0 };
  const edges = ['payments', 'search'].map((destination) => ({ ...edge, destination, requests: 10, successes: 10 }));
  await ask(`${url}/v1/agents/orders-1/reports`, 'POST', orderReport(1, { edges }));
  const page = await follow(`${url}/v1/events`);
  t.teardown(() => page.stop());
  const state = await page.next();
  t.match(state, { event: 'state', data: { version: 0, agents: [{ id: 'orders-1' }] } });
  t.same(
    (state.data as { services: { service: string }[] }).services.map(({ service }) => service),
    ['orders', 'payments', 'search'],
  );
  const text = 'payments-1 was ejected for 30 s: 5 consecutive 503.';
  const event = {
    kind: 'ejection' as const,
    service: 'payments',
    endpoint: 'payments-1',
    reason: 'consecutive_5xx',
    text,
  };
  const [payments, search] = edges;
  const later = [{ ...payments, requests: 20, successes: 15 }, search] as typeof edges;
  const events = [{ ...event, atEpochMs: 1_700_000_000_000 }];
  await ask(`${url}/v1/agents/orders-1/reports`, 'POST', orderReport(2, { edges: later, events }));
  let mesh: unknown = null;
  let services: string[] = [];
  // The agent's own age changes too, so other changes may come first.
  for (let tries = 0; tries < 6 && (mesh === null || services.length === 0); tries++) {
    const { event: name, data } = await page.next();
    if (name === 'mesh') mesh = data;
    else services = (data as { services: { service: string }[] }).services.map(({ service }) => service);
  }
  t.match(mesh, { ...event, agentId: 'orders-1', sequence: 1 });
  t.same(services, ['payments'], 'what did not change is not told again');
});
