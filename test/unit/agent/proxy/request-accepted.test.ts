// Requests that are accepted, against the pure parsers: what becomes of their target, fields and body, whatever way they are
// cut.

import t, { type Test } from 'tap';
import type { RequestHead } from '../../../../agent/proxy/http1/request-head.ts';
import { chunked, get, HOST, judge, judgeEveryWay, post } from '../../../support/judge-request.ts';

function accepted(t: Test, input: string): { head: RequestHead; body: string; rest: string } {
  const verdict = judgeEveryWay(t, input);
  t.equal(verdict.kind, 'message', JSON.stringify(input.slice(0, 90)));
  if (verdict.kind !== 'message') throw new Error(`refused: ${JSON.stringify(verdict)}`);
  return verdict;
}

t.test('A7 one empty line before the request is ignored', async (t) => {
  t.equal(accepted(t, `\r\n${get('')}`).head.method, 'GET');
});

t.test('A11 dot segments, double slashes and escaped letters are brought to one spelling', async (t) => {
  for (const [given, path] of [
    ['/a/../admin', '/admin'],
    ['/a//b', '/a/b'],
    ['/%61dmin', '/admin'],
    ['/./', '/'],
    ['/a/%2e%2e/b', '/b'],
    ['/../../etc', '/etc'],
    ['/a/b/..', '/a/'],
    ['/a%2fb', '/a%2Fb'],
    ['/plain?x=/../%zz', '/plain'],
  ] as const) {
    const { head } = accepted(t, get('', `GET ${given} HTTP/1.1`));
    t.equal(head.path, path);
    t.ok(head.target.startsWith(path));
  }
  t.equal(accepted(t, get('', 'GET /x/../y?a=1 HTTP/1.1')).head.target, '/y?a=1');
});

t.test('A14 methods are case-sensitive tokens', async (t) => {
  t.equal(accepted(t, get('', 'get / HTTP/1.1')).head.method, 'get');
  t.equal(accepted(t, get('', 'FOO / HTTP/1.1')).head.method, 'FOO');
});

t.test('B12 high bytes at the edges of other values are kept', async (t) => {
  t.same(accepted(t, get('X: \x85admin\xa0\r\n')).head.fields, ['x', '\x85admin\xa0']);
});

t.test('B15 names of object machinery and numbers are plain names', async (t) => {
  const fields = ['__proto__', 'constructor', 'hasOwnProperty'].map((n) => `${n}: 1\r\n`).join('');
  t.equal(accepted(t, get(fields)).head.fields.length, 6);
  const numbers = Array.from({ length: 60 }, (_, at) => `${at + 1}: v\r\n`).join('');
  t.equal(accepted(t, get(numbers)).head.fields.length, 120);
});

t.test('B13 names with _ are carried unless they look like one that steers', async (t) => {
  t.same(accepted(t, get('X_Tenant: 1\r\nuser_id: 2\r\n_ga: 3\r\n')).head.fields, [
    'x_tenant',
    '1',
    'user_id',
    '2',
    '_ga',
    '3',
  ]);
  t.equal(accepted(t, chunked('0\r\nX_Sum: 1\r\n\r\n')).body, '');
});

t.test('B16 exactly 100 fields and a value of 8 KiB are accepted', async (t) => {
  t.equal(accepted(t, get(Array.from({ length: 99 }, (_, at) => `x-${at}: 1\r\n`).join(''))).head.fields.length, 198);
  t.equal(accepted(t, get(`X: ${'a'.repeat(8192)}\r\n`)).head.fields[1]?.length, 8192);
});

t.test('B18 a head that is not complete is neither accepted nor refused', async (t) => {
  t.same(judge([Buffer.from(`GET / HTTP/1.1\r\n${HOST}`)]), { kind: 'incomplete' });
});

t.test('C7 leading zeros are decimal', async (t) => {
  t.equal(accepted(t, post('Content-Length: 010\r\n', '0123456789')).head.framing, 10);
  t.equal(accepted(t, post('Content-Length: 00005\r\n', 'hello')).body, 'hello');
});

t.test('C10 C12 what follows the declared length is the next message', async (t) => {
  t.equal(accepted(t, post('Content-Length: 0\r\n', 'POST /2')).rest, 'POST /2');
  t.equal(accepted(t, post('Content-Length: 5\r\n', 'hello!')).rest, '!');
});

t.test('C11 E13 a body that is cut short stays incomplete', async (t) => {
  t.equal(judgeEveryWay(t, post('Content-Length: 5\r\n', 'hell')).kind, 'incomplete');
  t.equal(judgeEveryWay(t, chunked('5\r\nhel')).kind, 'incomplete');
});

t.test('D11 Transfer-Encoding in any case and spacing', async (t) => {
  for (const line of ['Transfer-Encoding:chunked', 'tRANSFER-eNCODING: CHUNKED', 'Transfer-Encoding:\tchunked\t']) {
    t.equal(accepted(t, post(`${line}\r\n`, '5\r\nhello\r\n0\r\n\r\n')).body, 'hello');
  }
});

t.test('D15 Content-Encoding: chunked frames nothing', async (t) => {
  t.equal(accepted(t, post('Content-Encoding: chunked\r\nContent-Length: 5\r\n', 'hello')).head.framing, 5);
});

t.test('D16 TE is understood for trailers only', async (t) => {
  t.equal(accepted(t, get('TE: trailers, gzip\r\n')).head.wantsTrailers, true);
  t.equal(accepted(t, get('TE: gzip\r\n')).head.wantsTrailers, false);
  t.equal(accepted(t, get('TE: trailers;q=0.5\r\n')).head.wantsTrailers, false);
});

t.test('E6 E11 E14 extensions and trailers are checked and dropped', async (t) => {
  t.equal(accepted(t, chunked('5;a=b;c="d \\" e"\r\nhello\r\n0\r\n\r\n')).body, 'hello');
  t.equal(accepted(t, chunked('0\r\nX:POST / HTTP/1.1\r\n\r\n')).body, '');
  const merged = accepted(t, chunked('1\r\nx\r\n0\r\nContent-Length: 9\r\nHost: evil\r\nAuthorization: x\r\n\r\n'));
  t.same(
    { host: merged.head.host, fields: merged.head.fields, body: merged.body },
    { host: 'a', fields: [], body: 'x' },
  );
});

t.test('E16 an extra byte after the message is left for the next one', async (t) => {
  t.equal(accepted(t, chunked('0\r\n\r\nX')).rest, 'X');
});

t.test('F3 F7 hosts are brought to one spelling', async (t) => {
  t.equal(accepted(t, 'GET http://A.SVC.:80/x HTTP/1.1\r\nHost: a.svc\r\n\r\n').head.host, 'a.svc');
  t.equal(accepted(t, 'GET / HTTP/1.1\r\nHost: A.SVC.\r\n\r\n').head.host, 'a.svc');
  t.equal(accepted(t, 'GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n').head.host, '[::1]:8080');
  t.equal(accepted(t, 'GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n').head.target, '/?q');
});

t.test('F10 HTTP/1.0 without Host has an empty one', async (t) => {
  t.equal(accepted(t, 'GET / HTTP/1.0\r\n\r\n').head.host, '');
});

t.test('G3 G6 hop-by-hop fields and Proxy do not travel', async (t) => {
  const hop =
    'Keep-Alive: 5\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\nTrailer: x\r\nProxy: http://x\r\nTE: gzip\r\nUpgrade: x\r\n';
  t.same(accepted(t, get(hop)).head.fields, []);
});

t.test('G5 close wins over keep-alive and empty options are ignored', async (t) => {
  t.equal(accepted(t, get('Connection: keep-alive, close\r\n')).head.isKeepAlive, false);
  t.equal(accepted(t, get('Connection: ,,close\r\n')).head.isKeepAlive, false);
  t.equal(accepted(t, `GET / HTTP/1.0\r\n${HOST}\r\n`).head.isKeepAlive, false);
  t.equal(accepted(t, `GET / HTTP/1.0\r\n${HOST}Connection: Keep-Alive\r\n\r\n`).head.isKeepAlive, true);
});

t.test('G7 hops are counted in Via', async (t) => {
  t.equal(accepted(t, get('Via: 1.1 outrigger, 1.0 other\r\nVia: 1.1 outrigger\r\n')).head.hops, 2);
});

t.test('H8 Expect is ignored in HTTP/1.0 and not waited for without a body', async (t) => {
  t.equal(
    accepted(t, `POST / HTTP/1.0\r\n${HOST}Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx`).head.expectsContinue,
    false,
  );
  t.equal(accepted(t, post('Expect: 100-continue\r\nContent-Length: 0\r\n')).head.expectsContinue, false);
  t.equal(accepted(t, post('Expect: 100-continue\r\nContent-Length: 1\r\n', 'x')).head.expectsContinue, true);
});

t.test('H12 H13 only one protocol with Connection: upgrade in HTTP/1.1 is an upgrade, and never h2c', async (t) => {
  const upgrade = (fields: string, line?: string) => accepted(t, get(fields, line)).head.upgrade;
  t.equal(upgrade('Connection: Upgrade\r\nUpgrade: WebSocket\r\n'), 'websocket');
  t.equal(upgrade('Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n'), null);
  t.equal(upgrade('Upgrade: websocket\r\n'), null);
  t.equal(upgrade('Connection: upgrade\r\nUpgrade: websocket\r\n', 'GET / HTTP/1.0'), null);
  t.equal(upgrade('Connection: upgrade\r\nUpgrade: websocket, h2c\r\n'), null);
});
