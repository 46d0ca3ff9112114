// Every route of the table under input that means harm: no 500, no crash, every refusal a problem. Seeded, so that what fails
// once fails again.

import { connect } from 'node:net';
import t from 'tap';
import type { RouteEntry } from '../../control-plane/api/auth.ts';
import { ask, orderReport, startControlPlane } from '../support/control-plane-client.ts';
import { temporaryFolder } from '../support/processes.ts';
import { seededRandom } from '../support/seeded-random.ts';

const SEED = 20_261_126;
const AT_ONCE = 8;
const TOKEN = 'fuzz-token-0123456789abcdef0123456789abcdef';
/** A request that is not answered by then is one that hangs. */
const PATIENCE_MS = 10_000;
/** No limit that would keep the input from its route. */
const OPEN = { bootstrapToken: TOKEN, requestsPerMinute: 1_000_000 };
const MIB = 1024 * 1024;

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/** Sends bytes as they are and settles with the first answer, or null when the connection ends without one. */
function send(port: number, bytes: string): Promise<Answer | null> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes, 'latin1'));
    const done = (): void => {
      socket.destroy();
      resolve(parse(text));
    };
    socket.setEncoding('latin1').on('data', (chunk) => {
      text = (text + chunk).replace(/^HTTP\/1\.1 100 Continue\r\n\r\n/, '');
      if (isWhole(text, bytes.startsWith('HEAD '))) done();
    });
    // A server that has answered may reset while the rest of a large body is on its way.
    socket.on('error', done);
    socket.on('close', done);
    socket.setTimeout(PATIENCE_MS, done);
  });
}

function parse(text: string): Answer | null {
  const end = text.indexOf('\r\n\r\n');
  if (end === -1) return null;
  const head = text.slice(0, end);
  return {
    status: Number(head.slice(9, 12)),
    type: /^content-type: *([^;\r]*)/im.exec(head)?.[1] ?? '',
    body: text.slice(end + 4),
  };
}

/** Streams are whole with their head: nobody waits for their end. */
function isWhole(text: string, isHead: boolean): boolean {
  const answer = parse(text);
  if (answer === null) return false;
  const length = Number(/^content-length: *(\d+)/im.exec(text)?.[1] ?? Number.NaN);
  return Number.isNaN(length) || answer.body.length >= length || isHead || answer.status === 304;
}

const NAMES = [
  '__proto__',
  'constructor',
  'toString',
  '%00',
  '%zz',
  '%ff%fe',
  '..%2f..%2fetc%2fpasswd',
  '%2e%2e',
  '.',
  '-',
  'a%0d%0ax:%20y',
  'x'.repeat(3_000),
  '%F0%9F%92%A3',
  "';drop%20table%20tokens;--",
  '*',
  '0',
  'ServicePolicy',
  'orders-1',
];
const QUERIES = [
  '',
  '?limit=1e9',
  '?limit=1&limit=1',
  '?cursor[]=1',
  '?__proto__[x]=1',
  '?wait=-1s&wait=9',
  '?wait=NaN',
  '?sequence=1&hash=%00',
  '?service=__proto__&life[]=',
  '?rollout=__proto__&soak=-1',
  `?message=${'m'.repeat(2_000)}`,
  '?%',
  '?&&&=&',
];
const TYPES = [
  'application/json',
  'application/json; charset=utf-16',
  'application/yaml',
  'text/plain',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  '',
  'application/json, text/html',
  '\x01',
];
const HEADERS = [
  '',
  'if-match: W/"1", "2"\r\n',
  'if-match: "99999999999999999999"\r\n',
  'if-none-match: \x80\r\n',
  'last-event-id: __proto__\r\n',
  'expect: 100-continue\r\n',
  'expect: nonsense\r\n',
  'origin: null\r\n',
  'origin: http://evil.example\r\n',
  'content-encoding: gzip\r\n',
  'upgrade: websocket\r\nconnection: upgrade\r\n',
  'keep-alive: timeout=5\r\n',
  'cookie: a=b\r\n'.repeat(20),
  'x-forwarded-for: 127.0.0.1\r\n',
];
const BODIES = [
  '',
  '{',
  'null',
  '0',
  '"text"',
  '[]',
  '{}',
  '\x00\x01\xff',
  '{"__proto__":{"polluted":true}}',
  '{"constructor":{"prototype":{"polluted":true}}}',
  '{"name":"a","role":"viewer","__proto__":{"polluted":true}}',
  '['.repeat(50_000),
  `${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`,
  '{"a":1,"a":2}',
  '{"a":1e999}',
  'a: &a [*a, *a]',
  `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [${'*a,'.repeat(9)}*a]\nc: &c [${'*b,'.repeat(9)}*b]\nd: [${'*c,'.repeat(9)}*c]`,
  '!!js/function >\n  function(){}',
  '---\n---\n---\n',
];
const METHODS = [
  'TRACE',
  'OPTIONS',
  'PATCH',
  'PROPFIND',
  'M-SEARCH',
  'SOURCE',
  'QUERY',
  'DELETE',
  'PUT',
  'POST',
  'HEAD',
];

/** Any JSON, at most a few levels deep. */
function anyJson(random: () => number, depth = 0): unknown {
  const kinds = depth > 3 ? 6 : 8;
  switch (Math.floor(random() * kinds)) {
    case 0:
      return null;
    case 1:
      return random() < 0.5;
    case 2:
      return (random() - 0.5) * 10 ** Math.floor(random() * 40);
    case 3:
      return Math.floor(random() * 3) - 1;
    case 4:
      return NAMES[Math.floor(random() * NAMES.length)];
    case 5:
      return '';
    case 6:
      return Array.from({ length: Math.floor(random() * 4) }, () => anyJson(random, depth + 1));
    default:
      return Object.fromEntries(KEYS.filter(() => random() < 0.3).map((key) => [key, anyJson(random, depth + 1)]));
  }
}
/** Keys that one route or another reads. */
const KEYS = [
  ...['apiVersion', 'kind', 'metadata', 'spec', 'name', 'role', 'ttl', 'services', 'agents', 'revision', 'nonce'],
  ...['verdict', 'version', 'problems', 'appliedVersion', 'sequence', 'edges', 'policy', 'events', 'adminUrl', 'rules'],
];

function fill(url: string, name: () => string): string {
  return url
    .replace('::', ':')
    .replace(/:(id|kind|name|caller|service)/g, name)
    .replace('*', name);
}

function request(method: string, path: string, headers: string, body: string | null): string {
  const length = body === null ? '' : `content-length: ${body.length}\r\n`;
  return (
    `${method} ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${TOKEN}\r\n` +
    `${headers}${length}\r\n${body ?? ''}`
  );
}

async function inParallel<T>(jobs: readonly T[], run: (job: T) => Promise<void>): Promise<void> {
  const waiting = jobs.values();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const job of waiting) await run(job);
    }),
  );
}

t.test('no input to any route is answered 500 or ends the process', { timeout: 240_000 }, async (t) => {
  const { url, routes } = await startControlPlane(t, { ...OPEN, folder: temporaryFolder(t) });
  const port = Number(new URL(url).port);
  const admin = { authorization: `Bearer ${TOKEN}` };
  await ask(`${url}/v1/agents/orders-1/reports`, 'POST', orderReport(1, { adminUrl: 'http://127.0.0.1:1' }), admin);
  const random = seededRandom(SEED);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const before = Object.getOwnPropertyNames(Object.prototype).join();

  const jobs: string[] = [];
  const known = (route: RouteEntry): void => {
    const { method } = route;
    const hasBody = method === 'PUT' || method === 'POST';
    const ordinary = fill(route.url, () => pick(['orders-1', 'ServicePolicy', 'payments']));
    for (const name of NAMES)
      jobs.push(
        request(
          method,
          fill(route.url, () => name),
          '',
          hasBody ? '{}' : null,
        ),
      );
    for (const query of QUERIES) jobs.push(request(method, ordinary + query, '', hasBody ? '{}' : null));
    for (const header of HEADERS) jobs.push(request(method, ordinary, header, hasBody ? '{}' : null));
    for (const body of BODIES) jobs.push(request(method, ordinary, 'content-type: application/json\r\n', body));
    for (const type of TYPES) jobs.push(request(method, ordinary, `content-type: ${type}\r\n`, pick(BODIES)));
    for (const other of METHODS) jobs.push(request(other, ordinary, '', null));
    for (let count = 0; count < (hasBody ? 60 : 5); count++) {
      const body = JSON.stringify(anyJson(random));
      const type = `content-type: ${pick(['application/json', 'application/yaml'])}\r\n`;
      jobs.push(request(method, ordinary + pick(QUERIES), type + pick(HEADERS), body));
    }
  };
  for (const route of routes) known(route);

  const faults: string[] = [];
  const statuses = new Map<number, number>();
  await inParallel(jobs, async (bytes) => {
    const answer = await send(port, bytes);
    const line = JSON.stringify(bytes.slice(0, 160));
    if (answer === null) {
      faults.push(`no answer to ${line}`);
      return;
    }
    statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
    if (answer.status === 500) faults.push(`500 to ${line}: ${answer.body.slice(0, 300)}`);
    const isProblem = answer.type === 'application/problem+json';
    // Node itself answers 417, and `ws` an upgrade to the relay that is none, before anything of ours sees them.
    const isFromBelow = answer.status === 417 || (bytes.includes('upgrade: websocket') && bytes.includes('/admin/'));
    if (answer.status >= 400 && !isProblem && !isFromBelow) faults.push(`${answer.status} no problem: ${line}`);
  });
  t.same(faults.slice(0, 20), []);
  t.ok(jobs.length > 3_000, `${jobs.length} requests`);
  t.comment(
    `${jobs.length} requests: ${[...statuses]
      .sort()
      .map(([status, count]) => `${status}×${count}`)
      .join(' ')}`,
  );
  t.equal(Object.getOwnPropertyNames(Object.prototype).join(), before, 'Object.prototype is as it was');
  t.notOk('polluted' in {});
  t.equal((await ask(`${url}/live`, 'GET')).status, 200);
  t.match((await ask(`${url}/v1/audit/verify`, 'GET', undefined, admin)).body, { isIntact: true });
});

t.test('bodies of 10 MB, headers without end, and requests that are none', { timeout: 120_000 }, async (t) => {
  const { url, routes } = await startControlPlane(t, { ...OPEN, folder: temporaryFolder(t) });
  const port = Number(new URL(url).port);
  const large = `{"a":"${'x'.repeat(10 * MIB)}"}`;
  const chunked = `${(64 * 1024).toString(16)}\r\n${'x'.repeat(64 * 1024)}\r\n`.repeat(160);
  for (const { method, url: pattern } of routes.filter(({ method }) => method === 'PUT' || method === 'POST')) {
    const path = fill(pattern, () => 'orders-1');
    const sized = await send(port, request(method, path, 'content-type: application/json\r\n', large));
    // The relay has no agent to take it, and says so before reading.
    t.ok([413, 404, null].includes(sized?.status ?? null), `${method} ${path}: ${sized?.status}`);
    const head = 'content-type: application/json\r\ntransfer-encoding: chunked\r\n';
    const streamed = await send(port, `${request(method, path, head, null)}${chunked}`);
    t.ok([413, 404, null].includes(streamed?.status ?? null), `${method} ${path} in chunks: ${streamed?.status}`);
  }
  const odd: readonly [string, number][] = [
    [request('GET', '/live', `x: ${'y'.repeat(64 * 1024)}\r\n`, null), 431],
    [request('GET', '/live', 'x: y\r\n'.repeat(20_000), null), 431],
    [`GET /${'a'.repeat(64 * 1024)} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`, 431],
    [request('FOO', '/live', '', null), 400],
    [request('get', '/live', '', null), 400],
    ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400],
    ['GET /live HTTP/1.1\r\n\r\n', 400],
    ['GET /live HTTP/9.9\r\nhost: a\r\n\r\n', 400],
    [request('POST', '/v1/tokens', 'transfer-encoding: chunked\r\n', '0\r\n\r\n'), 400],
    [request('POST', '/v1/tokens', 'content-length: 1\r\n', '{}'), 400],
    [request('POST', '/v1/tokens', 'transfer-encoding: gzip\r\n', null), 400],
    [
      request('POST', '/v1/tokens', 'transfer-encoding: chunked\r\ncontent-type: application/json\r\n', null) +
        'zz\r\n',
      400,
    ],
  ];
  for (const [bytes, status] of odd) {
    t.equal((await send(port, bytes))?.status, status, JSON.stringify(bytes.slice(0, 60)));
  }
  t.equal((await ask(`${url}/live`, 'GET')).status, 200);
});
