import pino from 'pino';
import t from 'tap';
import {
  type AccessLogOptions,
  type AccessRecord,
  createAccessLog,
  MAX_VALUE_BYTES,
  safeText,
} from '../../../../agent/telemetry/access-log.ts';

const RECORD: AccessRecord = {
  direction: 'outbound',
  source: 'web',
  destination: 'orders',
  method: 'GET',
  path: '/orders/7',
  status: 200,
  result: 'ok',
  durationMs: 12.345678,
  bytesIn: 0,
  bytesOut: 1024,
  endpoint: '10.0.0.7:7001',
  attempts: 1,
  requestId: 'abc',
  retryReason: null,
};

function written(mode: AccessLogOptions, ...records: Partial<AccessRecord>[]): string[] {
  const lines: string[] = [];
  const accessLog = createAccessLog(pino({ level: 'info' }, { write: (line: string) => lines.push(line) }), mode);
  for (const record of records) accessLog.write({ ...RECORD, ...record });
  return lines;
}

t.test('a line carries the fields of the record, at info', async (t) => {
  const [line] = written({ mode: 'all' }, {});
  const { level, time, pid, hostname, ...fields } = JSON.parse(line ?? '{}');
  t.equal(level, 30);
  t.same(fields, { log: 'access', ...RECORD, durationMs: 12.346 });
});

t.test('the mode decides which requests are written', async (t) => {
  const ends: Partial<AccessRecord>[] = [
    {},
    { status: 404 },
    { status: 500 },
    { status: 503, result: 'no_healthy_upstream' },
    { status: 404, result: 'no_route' },
    { status: 200, result: 'response_aborted' },
  ];
  t.equal(written({ mode: 'all' }, ...ends).length, 6);
  t.equal(written({ mode: 'failures' }, ...ends).length, 4);
  t.equal(written({ mode: 'off' }, ...ends).length, 0);
});

t.test(
  'no hostile value breaks a line, colours a terminal, turns text around or is longer than its cap (S15)',
  async (t) => {
    const hostile = [
      '/a\n{"level":60,"msg":"forged"}',
      '/\u001b[31mred\u001b[0m\u0007',
      '/\u202egnp.exe\u2066\u200f',
      '/line\u2028para\u2029\u0085\u007f',
      `/${'x'.repeat(100_000)}`,
      `/${'ä'.repeat(1000)}`,
      `/${'🛶'.repeat(1000)}`,
      `/${'\u0000'.repeat(1000)}`,
      '/\ud800 lone',
    ];
    for (const value of hostile) {
      const lines = written({ mode: 'all' }, { path: value, requestId: value, method: value });
      t.equal(lines.length, 1);
      const line = lines[0] ?? '';
      t.equal(line.indexOf('\n'), line.length - 1, 'one line');
      const record = JSON.parse(line);
      for (const field of [record.path, record.requestId, record.method]) {
        t.ok(Buffer.byteLength(field) <= MAX_VALUE_BYTES, `${Buffer.byteLength(field)} bytes`);
        t.notMatch(field, /[\p{Cc}\p{Cf}\u2028\u2029]/u);
        if (value.isWellFormed()) t.notMatch(field, '\ufffd', 'cut between characters');
        t.ok(field.isWellFormed());
      }
      t.equal(record.level, 30);
    }
    t.equal(safeText('ordinary'), 'ordinary');
    t.equal(safeText('a\nb'), 'a\\u{a}b');
  },
);

t.test('queries, fragments and user information are left out; a kept query is masked', async (t) => {
  const secrets = [
    '/pay?token=CANARY',
    '/pay?a=1&access_token=CANARY&b=2',
    '/pay?api%5Fkey=CANARY',
    '/pay?p%61ssword=CANARY',
    '/pay?X-Amz-Signature=CANARY&sessionId=CANARY',
    '/pay#CANARY',
    'http://user:CANARY@orders/pay?client_secret=CANARY',
    'http://CANARY@orders',
  ];
  for (const path of secrets) {
    t.notMatch(written({ mode: 'all' }, { path }).join(''), /CANARY/, `${path}, query left out`);
    t.notMatch(written({ mode: 'all', isQueryKept: true }, { path }).join(''), /CANARY/, `${path}, query kept`);
  }
  const pathOf = (path: string, isQueryKept: boolean) =>
    JSON.parse(written({ mode: 'all', isQueryKept }, { path })[0] ?? '{}').path;
  t.equal(pathOf('/a?page=2&token=x', true), '/a?page=2&token=[redacted]');
  t.equal(pathOf('/a?page=2', false), '/a');
  t.equal(pathOf('http://u:p@orders/a?x=1', false), 'http://orders/a');
});
