// Copies of requests through real sockets: what the shadow gets, and that the original never notices.

import t from 'tap';
import type { Mirror } from '#contract/policy/route-rule.ts';
import { createSideWork } from '../../agent/proxy/side-work.ts';
import { OK, startOrigin } from '../support/origin.ts';
import { type Rig, startRig } from '../support/proxy-rig.ts';
import { exchangeRaw, rawClient } from '../support/raw-client.ts';
import { ruleTo } from '../support/rules.ts';

const ask = (target = '/', lines = '') => `GET ${target} HTTP/1.1\r\nHost: api\r\n${lines}Connection: close\r\n\r\n`;

function mirror(rig: Rig, port: number, changes: Partial<Mirror> = {}): void {
  const copy: Mirror = { service: 'shadow', subset: null, percent: 100, ...changes };
  rig.setService('api', [port], undefined, [
    ruleTo('api', {
      mirror: copy,
      requestHeaders: { set: [{ name: 'x-env', value: 'test' }], add: [], remove: [] },
    }),
  ]);
}

async function counted(rig: Rig, count: number): Promise<readonly string[]> {
  for (let wait = 0; rig.mirrored.length < count && wait < 1000; wait++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return rig.mirrored;
}

t.test('the shadow gets head, changes and body; its answer goes nowhere', async (t) => {
  const [api, shadow] = [await startOrigin(t), await startOrigin(t)];
  shadow.answer = 'HTTP/1.1 500 Shadow\r\nContent-Length: 6\r\n\r\nshadow';
  const rig = await startRig(t, { api: [api.port], shadow: [shadow.port] });
  mirror(rig, api.port);
  t.match(await exchangeRaw(t, rig.port, ask('/a?b')), /^HTTP\/1.1 200 [\s\S]*ok$/);
  t.same(await counted(rig, 1), ['shadow answered']);
  t.match(shadow.received[0], /^GET \/a\?b HTTP\/1.1\r\nhost: api-shadow\r\n/);
  t.match(shadow.received[0], /x-env: test\r\n/);
  t.match(shadow.received[0], /x-outrigger-class: sheddable\r\n/);
  const chunked =
    'POST / HTTP/1.1\r\nHost: api:8080\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n';
  t.match(await exchangeRaw(t, rig.port, chunked), /^HTTP\/1.1 200 /);
  t.same(await counted(rig, 2), ['shadow answered', 'shadow answered']);
  const copy = shadow.received.join('').split('POST ')[1] ?? '';
  t.match(copy, /host: api-shadow:8080\r\n/);
  t.match(copy, /content-length: 5\r\n\r\nabcde$/);
  t.match(api.received.join(''), /transfer-encoding: chunked/, 'the original is framed as it came');
  t.same(
    rig.ends.map(({ result, status }) => `${result} ${status}`),
    ['ok 200', 'ok 200'],
  );
  t.same(rig.attempts, ['response', 'response'], 'attempts of the original only');
});

t.test('a shadow that is dead, hangs or talks nonsense changes nothing', async (t) => {
  const [api, shadow, hung] = [await startOrigin(t), await startOrigin(t), await startOrigin(t, () => {})];
  const side = createSideWork();
  const rig = await startRig(t, { api: [api.port], shadow: [shadow.port] }, { side });
  mirror(rig, api.port);
  shadow.answer = 'nonsense\r\n\r\n';
  t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 200 /);
  t.same(await counted(rig, 1), ['shadow failed']);
  await shadow.stop();
  t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 200 /);
  t.same(await counted(rig, 2), ['shadow failed', 'shadow failed']);
  rig.setService('shadow', [hung.port]);
  t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 200 /);
  t.equal(side.mirrors, 1, 'still under way, and nobody waits');
  t.equal(rig.mirrored.length, 2);
  t.same(rig.retries, []);
});

t.test('what is not copied is counted: too large, too many, nobody there, not permitted, an upgrade', async (t) => {
  const [api, shadow] = [await startOrigin(t), await startOrigin(t, () => {})];
  const side = createSideWork(1000, 2);
  const rig = await startRig(t, { api: [api.port], shadow: [shadow.port] }, { side });
  mirror(rig, api.port);
  const body = 'x'.repeat(70_000);
  const large = `POST / HTTP/1.1\r\nHost: api\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`;
  t.match(await exchangeRaw(t, rig.port, large), /^HTTP\/1.1 200 /);
  t.same(rig.mirrored, ['shadow body_too_large']);
  for (let request = 0; request < 3; request++) await exchangeRaw(t, rig.port, ask());
  t.same(rig.mirrored.slice(1), ['shadow overflow']);
  side.mirrors = 0;
  rig.setService('shadow', []);
  await exchangeRaw(t, rig.port, ask());
  t.same(rig.mirrored.slice(2), ['shadow no_endpoint']);
  rig.setService('shadow', [shadow.port], undefined, [], { kind: 'deny', from: 'ServiceIntentions/shadow' });
  await exchangeRaw(t, rig.port, ask());
  t.same(rig.mirrored.slice(3), ['shadow denied']);
  mirror(rig, api.port, { service: 'unknown' });
  await exchangeRaw(t, rig.port, ask());
  mirror(rig, api.port, { subset: 'none' });
  rig.setService('shadow', [shadow.port]);
  await exchangeRaw(t, rig.port, ask());
  t.same(rig.mirrored.slice(4), ['unknown no_endpoint', 'shadow no_endpoint']);
  mirror(rig, api.port);
  const before = shadow.requests();
  await exchangeRaw(
    t,
    rig.port,
    'GET / HTTP/1.1\r\nHost: api\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n',
  );
  mirror(rig, api.port, { percent: 0 });
  await exchangeRaw(t, rig.port, ask());
  t.equal(shadow.requests(), before);
  t.equal(rig.mirrored.length, 6);
});

t.test('a retried original is copied once', async (t) => {
  const [api, shadow] = [await startOrigin(t), await startOrigin(t)];
  let turn = 0;
  api.answer = ({ socket }) => {
    turn += 1;
    socket.write(turn === 1 ? 'HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n' : OK);
  };
  const rig = await startRig(t, { api: [api.port], shadow: [shadow.port] });
  mirror(rig, api.port);
  t.match(await exchangeRaw(t, rig.port, ask()), /^HTTP\/1.1 200 /);
  t.equal(api.requests(), 2);
  t.same(await counted(rig, 1), ['shadow answered']);
  t.equal(shadow.requests(), 1);
});

t.test('a body that is answered before it is whole is not copied', async (t) => {
  const [api, shadow] = [await startOrigin(t), await startOrigin(t)];
  const rig = await startRig(t, { api: [api.port], shadow: [shadow.port] });
  mirror(rig, api.port);
  api.answer = OK;
  const client = await rawClient(t, rig.port);
  client.write('POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 6\r\n\r\nabc');
  while ((api.received[0] ?? '').endsWith('abc') === false) await new Promise((resolve) => setTimeout(resolve, 5));
  api.sockets[0]?.write(OK);
  await client.until((text) => text.endsWith('ok'));
  client.write('def');
  t.same(await counted(rig, 1), ['shadow unfinished']);
  t.equal(shadow.requests(), 0);
});
