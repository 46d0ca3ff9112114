// A million messages against llhttp from a fixed seed; OUTRIGGER_FUZZ_SEED looks elsewhere, `npm run fuzz` longer. Also that
// the comparison can fail: an oracle that lies in any one thing must be caught.

import t from 'tap';
import { judgeInput } from './compare.ts';
import { createOracles, formatResult, fuzz, judge } from './fuzz.ts';
import type { Oracle, OracleMessage } from './llhttp.ts';
import { REGRESSIONS } from './regressions.ts';

const EXECUTIONS = 1_000_000;
const SEED = Number(process.env.OUTRIGGER_FUZZ_SEED ?? 1);

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

t.test('a million messages: no crash, no unexplained disagreement, no dependence on cuts', async (t) => {
  const started = performance.now();
  const result = fuzz(EXECUTIONS, SEED);
  const report = formatResult(result, SEED, (performance.now() - started) / 1000);
  t.comment(report);
  t.equal(result.executions, EXECUTIONS);
  t.equal(result.failureCount, 0, report);
  t.ok(result.accepted > EXECUTIONS / 5, `${result.accepted} messages were accepted by both`);
  t.ok(result.stricter.size > 20, 'most classes of refusal came up');
});
