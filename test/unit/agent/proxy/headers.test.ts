// What the agent changes in fields, and its own answers.

import t from 'tap';
import { REASON_STATUS, type Reason } from '../../../../agent/core/reason.ts';
import { applyChanges, composeRequestHead, forwardedLines } from '../../../../agent/proxy/headers.ts';
import { BODY_NONE } from '../../../../agent/proxy/http1/framing.ts';
import { composeRescue } from '../../../../agent/proxy/rescue.ts';
import { get, judge } from '../../../support/judge-request.ts';

function parsed(input: string) {
  const verdict = judge([Buffer.from(input, 'latin1')]);
  if (verdict.kind !== 'message') throw new Error(JSON.stringify(verdict));
  return verdict.head;
}

const FACTS = {
  target: '/',
  host: 'a',
  requestId: 'r',
  forwarded: forwardedLines('10.0.0.9', 'a'),
  changes: null,
  framing: BODY_NONE,
  deadlineMs: Number.POSITIVE_INFINITY,
  trafficClass: 'normal' as const,
};

t.test('G1 G3 G4 G6 client copies go, the agent speaks for itself', async (t) => {
  const fields = [
    'Connection: close, X-Forwarded-For, X-Forwarded-Client-Cert, X-Mine',
    'X-Forwarded-For: 6.6.6.6',
    'X-Forwarded-Proto: https',
    'X-Forwarded-Client-Cert: By=x',
    'X-Real-IP: 6.6.6.6',
    'Forwarded: for=6.6.6.6',
    'X-Outrigger-Endpoint: x',
    'X-Mine: 1',
    'Proxy: http://evil',
    'Traceparent: 00-1-2-01',
    'Via: 1.0 edge',
    'Cookie: a=b',
    'Cookie: c=d',
  ].map((line) => `${line}\r\n`);
  t.equal(
    composeRequestHead(parsed(get(fields.join(''))), FACTS),
    'GET / HTTP/1.1\r\nhost: a\r\ntraceparent: 00-1-2-01\r\ncookie: a=b\r\ncookie: c=d\r\nx-request-id: r\r\nx-forwarded-for: 10.0.0.9\r\n' +
      'x-forwarded-proto: http\r\nx-forwarded-host: a\r\nvia: 1.0 edge, 1.1 outrigger\r\n\r\n',
  );
});

t.test('D16 TE goes on as trailers or not at all', async (t) => {
  t.match(composeRequestHead(parsed(get('TE: trailers, gzip\r\n')), FACTS), /\r\nte: trailers\r\n/);
  t.notMatch(composeRequestHead(parsed(get('TE: gzip\r\n')), FACTS), /\r\nte:/);
});

t.test('I18 header changes: set, add, remove, in this order, and nothing that would break the head', async (t) => {
  const changes = {
    set: [
      { name: 'a', value: '9' },
      { name: 'content-length', value: '5' },
      { name: 'content_length', value: '5' },
      { name: 'x', value: 'a\r\nb: c' },
    ],
    add: [
      { name: 'b', value: '3' },
      { name: 'gone', value: '1' },
    ],
    remove: ['c', 'gone'],
  };
  t.same(applyChanges(['a', '1', 'a', '2', 'b', '2', 'c', '1'], changes), ['b', '2', 'a', '9', 'b', '3']);
});

t.test('every reason that has a status is told in header and body, in ASCII', async (t) => {
  for (const [reason, status] of Object.entries(REASON_STATUS)) {
    const rescue = {
      reason: reason as Reason,
      message: 'näh',
      service: 'a',
      isHead: false,
      mustClose: true,
      epochMs: 0,
      why: '',
      retry: '' as const,
      retryAfterSeconds: 1,
    };
    const text = composeRescue(rescue);
    if (status === null) {
      t.equal(text, '', reason);
      continue;
    }
    const [head = '', body = ''] = text.split('\r\n\r\n');
    t.match(head, new RegExp(`^HTTP/1.1 ${status} [A-Za-z -]+\r\n`), reason);
    t.match(head, new RegExp(`\r\nx-outrigger-reason: ${reason}(\r\n|$)`));
    t.match(head, new RegExp(`\r\ncontent-length: ${body.length}\r\n`));
    t.same(JSON.parse(body), { reason, message: 'näh', service: 'a' });
    t.equal(composeRescue({ ...rescue, isHead: true }), `${head}\r\n\r\n`);
  }
});
