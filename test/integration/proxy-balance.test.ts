// Balancing that depends on the request, over real sockets: the same key goes to the same endpoint.

import { connect } from 'node:net';
import t from 'tap';
import { systemClock } from '../../agent/clock.ts';
import { createTcpListener } from '../../agent/proxy/tcp-listener.ts';
import { TcpCounters } from '../../agent/telemetry/tcp-counters.ts';
import { startOrigin } from '../support/origin.ts';
import { policyWith, startRig } from '../support/proxy-rig.ts';
import { exchangeRaw } from '../support/raw-client.ts';
import { seededRandom } from '../support/seeded-random.ts';

const named = (name: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${name.length}\r\n\r\n${name}`;

t.test('ringHash and maglev keep a header, a cookie and an address at one endpoint each', async (t) => {
  const origins = await Promise.all(['one', 'two', 'three'].map((name) => startOrigin(t, named(name))));
  const ports = origins.map(({ port }) => port);
  for (const policy of ['ringHash', 'maglev'] as const) {
    const hashOn = [{ kind: 'header', name: 'x-user' }, { kind: 'cookie', name: 'sid' }, { kind: 'source' }] as const;
    const rig = await startRig(t, { a: ports }, { policy: policyWith({ loadBalancer: { policy, hashOn } }) });
    const ask = async (field: string) => {
      const text = await exchangeRaw(t, rig.port, `GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${field}\r\n`);
      return text.slice(text.indexOf('\r\n\r\n') + 4);
    };
    const seen = new Set<string>();
    for (let user = 0; user < 12; user++) {
      const answer = await ask(`X-User: u${user}\r\n`);
      seen.add(answer);
      t.equal(await ask(`X-User: u${user}\r\nCookie: sid=other${user}\r\n`), answer, 'the header goes first');
      t.equal(await ask(`Cookie: theme=dark; sid=u${user}\r\n`), answer, 'the same key from a cookie');
    }
    // The ports, and so the tables, differ in each run: 80 keys miss one of three endpoints less than once in a million runs.
    for (let user = 12; user < 80; user++) seen.add(await ask(`X-User: u${user}\r\n`));
    t.same(seen.size, 3, 'keys are spread');
    t.equal(new Set(await Promise.all([ask(''), ask(''), ask('')])).size, 1, 'without both, the address is the key');
    t.ok(rig.endpoints('a').every(({ stats }) => stats.inFlight === 0));
  }
});

t.test('TCP connections from one address go to one endpoint', async (t) => {
  const origins = await Promise.all(['one', 'two', 'three'].map((name) => startOrigin(t, named(name))));
  const ports = origins.map(({ port }) => port);
  const hashOn = [{ kind: 'header', name: 'x-user' }, { kind: 'source' }] as const;
  const rig = await startRig(t, { db: ports }, { policy: policyWith({ loadBalancer: { policy: 'maglev', hashOn } }) });
  const listener = createTcpListener({
    address: { host: '127.0.0.1', port: 0 },
    service: 'web',
    destination: 'db',
    counters: new TcpCounters(),
    mesh: { snapshot: rig.snapshot(), requestSweep: () => {} },
    pools: rig.pools,
    metrics: rig.metrics,
    accessLog: { wants: () => false, write: () => {} },
    clock: systemClock,
    random: seededRandom(5),
    isDraining: () => false,
  });
  const { port } = await listener.listen();
  t.teardown(() => listener.close());
  for (let turn = 0; turn < 6; turn++) {
    await new Promise<void>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: db\r\n\r\n'));
      socket.once('close', () => resolve());
      socket.once('data', () => socket.destroy());
    });
  }
  t.same(origins.map((origin) => origin.requests()).sort(), [0, 0, 6]);
});
