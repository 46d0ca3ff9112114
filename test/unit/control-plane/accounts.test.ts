// Faults of all kinds, one at a time, in virtual time: at least 99 % of the bad events are booked to the account that the fault belongs to.

import t from 'tap';
import { ACCOUNTS, type Account } from '../../../control-plane/core/slo/accounts.ts';
import { type Ending, runSituation, type Situation } from '../../support/fault-situation.ts';

const answer = (status: number): Ending => ({ result: 'ok', status });
const REFUSED: Ending = { result: 'upstream_connect_failure', status: 503 };
const UNREACHED: Ending = { result: 'upstream_connect_timeout', status: 503 };
const RESET: Ending = { result: 'upstream_reset', status: 502 };
const GARBLED: Ending = { result: 'upstream_protocol_error', status: 502 };
const LATE: Ending = { result: 'upstream_timeout', status: 504 };
const CUT_SHORT: Ending = { result: 'response_aborted', status: 200 };
const SLEPT: Ending = { result: 'upstream_timeout', status: 504, isOwn: true };
const SLOW: Ending = { result: 'ok', status: 200, ms: 300 };
const NO_SOCKET: Ending = { result: 'upstream_overflow', status: 503, isOwn: true };

/** At the endpoints with these numbers. */
const at = (bad: readonly number[], ending: Ending): Situation => ({
  attempt: ({ endpoint }) => (bad.includes(endpoint) ? ending : null),
});
const everywhere = (ending: Ending, share = 1): Situation => ({
  attempt: ({ random }) => (random() < share ? ending : null),
});
const refused = (result: Exclude<Ending['result'], 'ok'>, status: number, share = 0.5): Situation => ({
  refuse: ({ random }) => (random() < share ? { result, status } : null),
});

const SITUATIONS: readonly (readonly [name: string, account: Account, situation: Situation])[] = [
  ['one of 5 answers 500', 'instance', at([2], answer(500))],
  ['one of 5 answers 503', 'instance', at([2], answer(503))],
  ['one of 5 refuses connections', 'instance', at([2], REFUSED)],
  ['one of 5 does not take connections', 'instance', at([2], UNREACHED)],
  ['one of 5 resets', 'instance', at([2], RESET)],
  ['one of 5 answers garbage', 'instance', at([2], GARBLED)],
  ['one of 5 hangs', 'instance', at([2], LATE)],
  ['one of 5 breaks its answers off', 'instance', at([2], CUT_SHORT)],
  ['one of 5 is dead and ejected after five', 'instance', { ...at([2], REFUSED), isEjecting: true }],
  ['one of 2 hangs', 'instance', { ...at([0], LATE), endpoints: 2 }],
  ['two of 4 answer 500', 'instance', { ...at([0, 1], answer(500)), endpoints: 4 }],
  ['two of 5 are dead, with retries', 'instance', { ...at([1, 3], REFUSED), isRetrying: true }],
  ['three of 10 reset', 'instance', { ...at([0, 4, 8], RESET), endpoints: 10 }],
  [
    'one of 5 answers 503 to three of ten',
    'instance',
    { attempt: ({ endpoint, random }) => (endpoint === 2 && random() < 0.3 ? answer(503) : null) },
  ],
  ['one of 5 is dead for five seconds', 'instance', { ...at([2], REFUSED), forMs: 5_000, rate: 20 }],
  ['one of 5, asked by one caller alone', 'instance', { ...at([2], answer(500)), callers: 1, rate: 20 }],
  ['one of 5 at 50 callers', 'instance', { ...at([2], RESET), callers: 50, rate: 2 }],
  ['all of 5 answer 500', 'service', everywhere(answer(500))],
  ['all of 5 refuse connections', 'service', everywhere(REFUSED)],
  ['all of 5 hang', 'service', everywhere(LATE)],
  ['all of 5 reset, with retries', 'service', { ...everywhere(RESET), isRetrying: true }],
  ['all of 5 answer 503 to one of ten', 'service', everywhere(answer(503), 0.1)],
  ['all of 5 lose one of 25 answers', 'service', { ...everywhere(RESET, 0.04), rate: 40 }],
  ['all of 5 are dead and ejected in turn', 'service', { ...everywhere(REFUSED), isEjecting: true }],
  ['four of 5 answer 500', 'service', at([0, 1, 2, 3], answer(500))],
  ['eight of 10 hang', 'service', { ...at([0, 1, 2, 3, 4, 5, 6, 7], LATE), endpoints: 10 }],
  ['the only endpoint is dead', 'service', { ...everywhere(REFUSED), endpoints: 1 }],
  ['the only endpoint, asked by one caller', 'service', { ...everywhere(answer(500)), endpoints: 1, callers: 1 }],
  ['there is no endpoint', 'service', refused('no_healthy_upstream', 503, 1)],
  ['one caller reaches nothing', 'path', { attempt: ({ caller }) => (caller === 1 ? UNREACHED : null) }],
  [
    'one caller does not reach one endpoint',
    'path',
    { attempt: ({ caller, endpoint }) => (caller === 1 && endpoint === 2 ? UNREACHED : null) },
  ],
  [
    'one of 50 callers loses half of its packets',
    'path',
    { callers: 50, rate: 4, attempt: ({ caller, random }) => (caller === 7 && random() < 0.5 ? LATE : null) },
  ],
  [
    'one zone does not reach one endpoint',
    'path',
    {
      callers: 8,
      zones: ['a', 'b'],
      attempt: ({ zone, endpoint }) => (zone === 'a' && endpoint === 2 ? UNREACHED : null),
    },
  ],
  [
    'one zone reaches nothing',
    'path',
    { callers: 9, zones: ['a', 'b', 'c'], attempt: ({ zone }) => (zone === 'c' ? LATE : null) },
  ],
  ['a caller that stands still', 'caller', { attempt: ({ caller }) => (caller === 0 ? SLEPT : null) }],
  ['all callers that stand still', 'caller', everywhere(SLEPT, 0.7)],
  ['a caller without sockets', 'caller', { attempt: ({ caller }) => (caller === 2 ? NO_SOCKET : null) }],
  ['a caller that is going away', 'caller', refused('draining', 503)],
  ['a caller with more to do than it can', 'caller', refused('overloaded', 503)],
  ['denied', 'policy', refused('denied', 403)],
  ['rate-limited', 'policy', refused('rate_limited', 429)],
  ['over the limit of concurrent requests', 'policy', refused('upstream_overflow', 503)],
  ['shed by admission control', 'policy', refused('admission_rejected', 503)],
  ['an injected fault', 'policy', refused('fault_injected', 503)],
  ['a loop', 'policy', refused('loop_detected', 508)],
  [
    'clients that leave',
    'client',
    { attempt: ({ random }) => (random() < 0.3 ? { result: 'downstream_disconnect', status: 0 } : null) },
  ],
  ['one of 5 is slow', 'instance', { ...at([2], SLOW), latencyThresholdMs: 100 }],
  ['all of 5 are slow', 'service', { ...everywhere(SLOW), latencyThresholdMs: 100 }],
  [
    'one caller finds all of 5 slow',
    'path',
    { attempt: ({ caller }) => (caller === 1 ? SLOW : null), latencyThresholdMs: 100 },
  ],
  ['requests that are held on purpose', 'policy', { holdMs: 200, latencyThresholdMs: 100 }],
];

t.ok(SITUATIONS.length >= 30, `${SITUATIONS.length} situations`);

for (const [name, account, situation] of SITUATIONS) {
  t.test(`${name}: ${account}`, async (t) => {
    for (const seed of [1, 2, 3]) {
      const { accounts, bad } = runSituation(situation, seed);
      const share = accounts[account] / bad;
      const rest = ACCOUNTS.filter((other) => other !== account && accounts[other] > 0);
      const strays = rest.map((other) => `, ${accounts[other]} ${other}`).join('');
      const text = `seed ${seed}: ${accounts[account]} of ${bad}${strays}`;
      t.comment(text);
      t.ok(bad >= 20 && share >= 0.99, text);
    }
  });
}
