// Requests against llhttp, half of the million; and that the comparison can fail: an oracle that lies in any one thing must
// be caught.

import t from 'tap';
import { judgeInput } from './compare.ts';
import { createOracles, judge } from './fuzz.ts';
import { fuzzFor } from './fuzz-test.ts';
import type { Oracle, OracleMessage } from './llhttp.ts';
import { REGRESSIONS } from './regressions.ts';

t.test('what the fuzzer found is explained', async (t) => {
  const oracles = createOracles();
  for (const regression of REGRESSIONS) t.equal(judge(regression, oracles).problem, null, regression.finding);
});

t.test('the comparison notices an oracle that reads anything differently', async (t) => {
  const { request, response } = createOracles();
  const post = Buffer.from(
    'POST /a?b HTTP/1.1\r\nHost: a\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n',
  );
  const ok = Buffer.from('HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 2\r\n\r\nhi');
  const lying =
    (oracle: Oracle, lie: (message: OracleMessage) => Partial<OracleMessage>): Oracle =>
    (bytes, isHead) => {
      const reading = oracle(bytes, isHead);
      return { ...reading, messages: reading.messages.map((message) => ({ ...message, ...lie(message) })) };
    };
  const lies: readonly ((message: OracleMessage) => Partial<OracleMessage>)[] = [
    () => ({ body: 'h' }),
    () => ({ isComplete: false }),
    () => ({ minor: 0 }),
    ({ headers }) => ({ headers: headers.slice(2) }),
    ({ headers }) => ({ headers: [...headers, 'Z', ''] }),
    ({ url }) => ({ method: 7, status: 201, url }),
  ];
  t.equal(judgeInput(post, 'request', [], false, request).problem, null);
  t.equal(judgeInput(ok, 'response', [], false, response).problem, null);
  for (const lie of lies.slice(0, 3).concat(lies.slice(4))) {
    t.not(judgeInput(post, 'request', [], false, lying(request, lie)).problem, null);
    t.not(judgeInput(ok, 'response', [], false, lying(response, lie)).problem, null);
  }
  t.not(judgeInput(ok, 'response', [], false, lying(response, lies[3] ?? (() => ({})))).problem, null);
  t.not(
    judgeInput(
      post,
      'request',
      [],
      false,
      lying(request, () => ({ url: '/a?c' })),
    ).problem,
    null,
  );
  const refusing = Buffer.from('POST / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n');
  const accepting: Oracle = () => request(post, false);
  t.match(judgeInput(refusing, 'request', [], false, accepting).problem, null, 'a control byte is an explanation');
  const odd = Buffer.from('POST / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n');
  t.match(judgeInput(odd, 'request', [], false, accepting).problem, /^refused, llhttp accepts/);
});

fuzzFor('request');
