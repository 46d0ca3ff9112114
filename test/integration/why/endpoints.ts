// Situations that an endpoint, a limit or a timeout decides.

import type { WhyMesh } from '../../support/why-mesh.ts';
import type { Situation } from './situation.ts';

const severalTimes = (service: string) => async (mesh: WhyMesh) => {
  for (let request = 0; request < 4; request++) await mesh.ask('before', service);
};

export const ENDPOINT_SITUATIONS: readonly Situation[] = [
  {
    what: 'round robin: it was not its turn',
    service: 'turns',
    answer: /^HTTP\/1.1 200/,
    lines: [
      [/^attempt 1 +127\.0\.0\.1:\d+ was next by the balancer; answered 200/, 'turns'],
      [/^ +not 127\.0\.0\.1:\d+: it was not its turn/, 'turns'],
    ],
  },
  {
    what: 'a key that belongs to another',
    service: 'sticky',
    request: { headers: ['X-User: u1'] },
    answer: /^HTTP\/1.1 200/,
    lines: [[/^ +not 127\.0\.0\.1:\d+: the key of the request belongs to another one/, 'hash-on']],
  },
  {
    what: 'a request without a key',
    service: 'sticky',
    answer: /^HTTP\/1.1 200/,
    lines: [[/^ +not 127\.0\.0\.1:\d+: the request has no key to hash: chance took another one/, 'hash-on']],
  },
  {
    what: 'peak EWMA compares two of four, by default',
    service: 'plain',
    answer: /^HTTP\/1.1 200/,
    lines: [
      [
        /^ +not 127\.0\.0\.1:\d+: compared: load [\d.]+ against [\d.]+ {2}loadBalancer\.policy peakEwma, default$/,
        null,
      ],
      [/^ +not 127\.0\.0\.1:\d+: not drawn: 2 of 4 are compared for each pick/, null],
      [/^deadline +4000 ms from the policy/, 'mesh-request'],
    ],
  },
  {
    what: 'an endpoint that is ejected',
    service: 'eject',
    before: severalTimes('eject'),
    answer: /^HTTP\/1.1 200/,
    lines: [
      [
        /^ +not 127\.0\.0\.1:PORT\(eject-2\): .* ejected for 300 s \(1st time\): 1 consecutive .*, (29\d|300)\.\d s left/,
        'eject-after',
      ],
    ],
  },
  {
    what: 'panic: too few serve',
    service: 'panic',
    before: severalTimes('panic'),
    answer: /^HTTP\/1.1 (200|503)/,
    lines: [[/^ +panic: so few serve that those that are out are used too/, 'panic']],
  },
  {
    what: 'a retry at another endpoint',
    service: 'retry',
    // Round robin: from the second request on the busy one has the first turn, and its retry the other.
    before: severalTimes('retry'),
    answer: /^HTTP\/1.1 200/,
    lines: [
      [/^attempt 1 +127\.0\.0\.1:PORT\(retry-2\) was next by the balancer; answered 503/, 'retry-policy'],
      [/^ +the policy repeats this status: asked again/, 'retry-on'],
      [/^attempt 2 +127\.0\.0\.1:PORT\(retry-1\) .*answered 200/, 'retry-policy'],
      [/^ +not 127\.0\.0\.1:PORT\(retry-2\): it failed this request already/, null],
    ],
  },
  {
    what: 'no retry: an override for the caller leaves the method out',
    service: 'retry',
    request: { method: 'PUT', body: 'x' },
    answer: /^HTTP\/1.1 503/,
    lines: [[/^ +the method may act twice, and there is no Idempotency-Key/, 'retry-methods']],
  },
  {
    what: 'no retry: the budget is spent',
    service: 'budget',
    answer: /^HTTP\/1.1 503/,
    lines: [[/^ +a retry was wanted, and the retry budget was spent/, 'budget']],
  },
  {
    what: 'no retry: the method may act twice',
    service: 'broken',
    request: { method: 'POST', body: 'x' },
    answer: /^HTTP\/1.1 502/,
    lines: [[/^ +the method may act twice, and there is no Idempotency-Key {2}retries\.methods .*, default$/, null]],
  },
  {
    what: 'no attempt is left',
    service: 'broken',
    answer: /^HTTP\/1.1 502/,
    lines: [[/^ +no attempt is left by the policy {2}retries\.attempts \d+, default$/, null]],
  },
  {
    what: 'nobody listens',
    service: 'refused',
    answer: /^HTTP\/1.1 503[\s\S]*upstream_connect_failure/,
    lines: [[/^attempt 1 +127\.0\.0\.1:\d+ was the only one; connect_failure/, null]],
  },
  {
    what: 'an attempt that took too long',
    service: 'slow',
    answer: /^HTTP\/1.1 504[\s\S]*upstream_timeout/,
    lines: [
      [/^deadline +200 ms from the policy/, 'slow-request'],
      [/^answer +504 upstream_timeout: timeouts\.backendRequest 100ms/, 'slow-attempt'],
    ],
  },
  {
    what: 'a caller that waits no longer',
    service: 'plain',
    request: { headers: ['X-Outrigger-Deadline: 1'] },
    answer: /^HTTP\/1.1 504[\s\S]*deadline_exceeded/,
    lines: [[/^GET \/ to plain: deadline_exceeded \(its caller waits/, null]],
  },
  {
    what: 'the limit of requests in flight',
    service: 'full',
    before: async (mesh) => {
      mesh.ask('first', 'full').catch(() => undefined); // its answer never comes; the agent's end ends it
      await new Promise((resolve) => setTimeout(resolve, 100));
    },
    answer: /^HTTP\/1.1 503[\s\S]*upstream_overflow/,
    lines: [
      [/^limits +1 in flight, limit 1/, 'full'],
      [/^answer +503 upstream_overflow: limits\.maxConcurrentRequests 1/, 'full'],
    ],
  },
  {
    what: 'the rate limit',
    service: 'rate',
    before: severalTimes('rate'),
    answer: /^HTTP\/1.1 429[\s\S]*rate_limited/,
    lines: [[/^answer +429 rate_limited: rateLimit\.requests 1/, 'rate']],
  },
  {
    what: 'ServiceIntentions deny the caller',
    service: 'secret',
    answer: /^HTTP\/1.1 403[\s\S]*denied/,
    lines: [[/^access +denied: source web/, 'denied']],
  },
  {
    what: 'zones: the own one carries all',
    service: 'zoned',
    answer: /^HTTP\/1.1 200/,
    lines: [[/^ +not 127\.0\.0\.1:PORT\(zoned-3\): zone b.*/, 'zoned']],
  },
  {
    what: 'zones: the own one is too small, a part goes to the other',
    service: 'spill',
    answer: /^HTTP\/1.1 200/,
    lines: [
      [/^ +zone [ab] gets [\d.]+ % of the requests/, null],
      [/^ +not 127\.0\.0\.1:\d+: zone [ab] gets [\d.]+ % of the requests/, 'spill'],
    ],
  },
  {
    what: 'priority levels: the first carries all',
    service: 'levels',
    answer: /^HTTP\/1.1 200/,
    lines: [
      [/^ +not 127\.0\.0\.1:PORT\(levels-2\): priority level 1: the levels before it carry all requests/, 'levels'],
    ],
  },
  {
    what: 'priority levels: the first is out, the second takes over',
    service: 'levels',
    before: (mesh) =>
      fetch(`${mesh.admin}/endpoints/levels/eject?endpoint=levels-1&for=5m&reason=disk`, { method: 'POST' }),
    answer: /^HTTP\/1.1 200/,
    lines: [
      [/^attempt 1 +127\.0\.0\.1:PORT\(levels-2\) was the only one/, null],
      [/^ +not 127\.0\.0\.1:PORT\(levels-1\): .*ejected for 300 s by operator: disk/, null],
    ],
  },
  {
    what: 'an agent that talks to a part of the service',
    service: 'part',
    answer: /^HTTP\/1.1 200/,
    lines: [[/^ +not 127\.0\.0\.1:\d+: this agent talks to 1 of its level, and it is not one of them/, 'part']],
  },
  {
    what: 'a person drained it',
    service: 'drained',
    before: (mesh) =>
      fetch(`${mesh.admin}/endpoints/drained/drain?endpoint=drained-2&for=5m&reason=new`, { method: 'POST' }),
    answer: /^HTTP\/1.1 200/,
    lines: [[/^ +not 127\.0\.0\.1:PORT\(drained-2\): .*drained for 300 s by operator: new/, null]],
  },
  {
    what: 'Consul has it critical, or in maintenance',
    service: 'unfit',
    answer: /^HTTP\/1.1 200/,
    lines: [
      [/^ +not 127\.0\.0\.1:PORT\(unfit-2\): it is critical in Consul now \(check web is up\)/, null],
      [/^ +not 127\.0\.0\.1:PORT\(unfit-3\): it is in maintenance in Consul now/, null],
    ],
  },
  {
    what: 'a service that nobody knows',
    service: 'nowhere',
    answer: /^HTTP\/1.1 404[\s\S]*no_route/,
    lines: [[/no_route \(no service is called nowhere: neither configuration nor Consul knows it\)/, null]],
  },
];
