// What is remembered from head to head must never show: each head reads as if it were the first.

import t from 'tap';
import { REQUEST_LIMITS } from '../../../../agent/proxy/http1/fields.ts';
import { parseRequestHead, requestNames } from '../../../../agent/proxy/http1/request-head.ts';

const HOSTS = [
  '',
  'a.example',
  'b.example',
  'A.Example.',
  'a.example',
  'b.example:80',
  'b.example:8080',
  'a b',
  '',
  '[::1]',
  'a..b',
  'a.example',
];
const NAMES = ['x-one', 'X-One', 'x-two', 'accept', 'Content_Length', 'x-one'];

t.test('heads read one after the other mean what each means alone', async (t) => {
  const names = requestNames();
  for (const host of HOSTS) {
    for (const name of NAMES) {
      const bytes = Buffer.from(`GET /x HTTP/1.1\r\nHost: ${host}\r\n${name}: ${host}1\r\n\r\n`, 'latin1');
      const alone = parseRequestHead(bytes, 0, bytes.length, REQUEST_LIMITS);
      t.same(parseRequestHead(bytes, 0, bytes.length, REQUEST_LIMITS, names), alone, `${host} ${name}`);
      t.not(alone, null);
    }
  }
});
