// Endpoints to many streams over real sockets: whole sets when they change, a short word when not, the newest only to who is slow,
// nothing to who may not know.

import { createServer, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import t from 'tap';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import { visibleTo } from '../../../control-plane/core/scope.ts';
import { EndpointPushes, type EndpointState } from '../../../control-plane/push/endpoint-pushes.ts';
import { Hub } from '../../../control-plane/push/hub.ts';
import { until } from '../../support/processes.ts';

const state = (edition: number, changes: Partial<EndpointState> = {}): EndpointState => ({
  facts: `{"entries":[],"edition":${edition}}`,
  edition,
  index: String(edition),
  confirmedAt: performance.now(),
  recoveredAt: null,
  failure: null,
  ...changes,
});

function intentions(name: string, denied: string): PolicyDocument {
  const spec = { defaultAction: 'allow', sources: [{ name: denied, action: 'deny' }] };
  return { apiVersion: 'outrigger.dev/v1', kind: 'ServiceIntentions', metadata: { name }, spec };
}

/** What an agent is sent, as data of the events `endpoints`. */
async function createWorld(t: { teardown(run: () => unknown): unknown }, documents: readonly PolicyDocument[] = []) {
  const states = new Map<string, EndpointState>();
  const wants = new Map<string, number>();
  let room = 100;
  let characters = 0;
  const endpoints = new EndpointPushes({
    want: (service) => {
      if (room <= 0) return false;
      room--;
      wants.set(service, (wants.get(service) ?? 0) + 1);
      return true;
    },
    release: (service) => {
      room++;
      wants.set(service, (wants.get(service) ?? 0) - 1);
    },
    stateOf: (service) => states.get(service) ?? null,
    now: () => performance.now(),
    onSent: (length) => {
      characters += length;
    },
  });
  const hub = new Hub({
    initial: { version: 1, generation: 'g', documents, trial: null },
    endpoints,
    visible: visibleTo,
    createNonce: () => 'n',
    now: () => performance.now(),
    events: { connected: () => undefined, disconnected: () => undefined, pushed: () => undefined },
  });
  const server = createServer((request, response: ServerResponse) => {
    const [agentId = '', service = ''] = (request.url ?? '').slice(1).split('/');
    hub.connect({ agentId, life: 'one', service: service === '' ? null : service, response });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  t.teardown(() => {
    hub.close();
    server.close();
    server.closeAllConnections();
  });
  const open = async (agentId: string, service = 'web'): Promise<{ socket: Socket; told: () => string[] }> => {
    const socket = connect(typeof address === 'object' && address !== null ? address.port : 0, '127.0.0.1');
    t.teardown(() => socket.destroy());
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    socket.write(`GET /${agentId}/${service} HTTP/1.1\r\nhost: x\r\n\r\n`);
    await until(() => text.includes('event: policies'), 5_000);
    return {
      socket,
      told: () => [...text.matchAll(/event: endpoints\ndata: (.*)\n\n/g)].map((match) => match[1] ?? ''),
    };
  };
  const say = (service: string, next: EndpointState): void => {
    states.set(service, next);
    endpoints.news(service);
  };
  return { hub, open, say, wants, sent: () => characters, fill: () => (room = 0) };
}

/** Without what differs from run to run. */
const plain = (told: readonly string[]): string[] => told.map((text) => text.replace(/,"ageMs":\d+/, ''));

t.test('the whole set when it changes, a short word when it was confirmed, why when it is stale', async (t) => {
  const { hub, open, say, wants, sent } = await createWorld(t);
  const { told, socket } = await open('web-1');
  t.equal(hub.watch('web-1', 'one', ['payments', 'payments', 'stock']), 'ok');
  t.same(
    [...wants],
    [
      ['payments', 1],
      ['stock', 1],
    ],
  );
  say('payments', state(1));
  say('payments', state(1, { index: '7' }));
  say('payments', state(1, { failure: 'Consul answered 500' }));
  say('payments', state(1, { index: '8' }));
  say('payments', state(2, { recoveredAt: performance.now() }));
  say('other', state(1));
  await until(() => told().length >= 5, 5_000);
  t.same(plain(told()), [
    '{"service":"payments","index":"1","facts":{"entries":[],"edition":1}}',
    '{"service":"payments","index":"7"}',
    '{"service":"payments","stale":"Consul answered 500"}',
    '{"service":"payments","index":"8"}',
    '{"service":"payments","index":"2","recoveredMs":0,"facts":{"entries":[],"edition":2}}'.replace(
      '"recoveredMs":0',
      /"recoveredMs":[\d.]+/.exec(told()[4] ?? '')?.[0] ?? '',
    ),
  ]);
  t.equal(sent(), told().join('').length);
  t.equal(hub.watch('web-1', 'one', ['stock']), 'ok');
  say('payments', state(3));
  t.same(wants.get('payments'), 0, 'what is not wanted any more is released');
  socket.destroy();
  await until(() => wants.get('stock') === 0, 5_000);
  t.equal(hub.watch('web-1', 'one', ['stock']), 'no_stream');
  t.equal(told().length, 5);
});

t.test('an agent that does not read gets the newest set of each service and no more', async (t) => {
  const { hub, open, say } = await createWorld(t);
  const { told, socket } = await open('web-1');
  socket.pause();
  hub.watch('web-1', 'one', ['payments', 'stock']);
  const large = 'x'.repeat(1 << 20);
  for (let edition = 1; edition <= 64; edition++) {
    say('payments', state(edition, { facts: `{"entries":[],"edition":${edition},"large":"${large}"}` }));
    say('stock', state(edition));
    if (edition % 8 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  socket.resume();
  await until(() => told().some((text) => text.includes('"payments","index":"64"')), 10_000);
  await until(() => told().some((text) => text.includes('"stock","index":"64"')), 10_000);
  t.ok(told().length < 64, `${told().length} of 128 events were sent`);
});

t.test('who may not call a service is not told who serves it, from the moment that policies say so', async (t) => {
  const { hub, open, say } = await createWorld(t, [intentions('payments', 'web')]);
  const web = await open('web-1', 'web');
  const shop = await open('shop-1', 'shop');
  for (const id of ['web-1', 'shop-1']) hub.watch(id, 'one', ['payments']);
  say('payments', state(1));
  await until(() => shop.told().length === 1, 5_000);
  t.same(web.told(), ['{"service":"payments","denied":true}']);
  hub.publish({ version: 2, generation: 'g', documents: [intentions('payments', 'shop')], trial: null });
  await until(() => web.told().length === 2 && shop.told().length === 2, 5_000);
  t.match(web.told()[1], /"edition":1/);
  t.same(shop.told()[1], '{"service":"payments","denied":true}');
  say('payments', state(2));
  await until(() => web.told().length === 3, 5_000);
  t.equal(shop.told().length, 2);
});

t.test('without room for another watch the agent hears that it has to ask Consul', async (t) => {
  const { hub, open, fill } = await createWorld(t);
  const { told } = await open('web-1');
  fill();
  hub.watch('web-1', 'one', ['payments']);
  await until(() => told().length === 1, 5_000);
  t.match(told()[0], /"stale":"it watches as many services as it may"/);
});
