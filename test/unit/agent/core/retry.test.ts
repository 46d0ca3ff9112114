import t from 'tap';
import { RetryBudget } from '../../../../agent/core/retry/budget.ts';
import { decideRetry } from '../../../../agent/core/retry/decide.ts';
import { outcome, policyWith } from '../../../support/views.ts';

const FACTS = { method: 'GET', hasIdempotencyKey: false, isReplayable: true, attemptsDone: 1, msLeft: 1000 };

t.test('decideRetry()', async (t) => {
  const all = ['connectFailure', 'reset', 'timeout', '5xx', 'gatewayError'] as const;
  const cases: [string, Parameters<typeof decideRetry>, string][] = [
    ['a 503 under gatewayError', [outcome({ status: 503 }), policyWith(), FACTS], 'gateway_error'],
    ['a 500 under the defaults', [outcome({ status: 500 }), policyWith(), FACTS], 'not_retriable'],
    ['a 500 under 5xx', [outcome({ status: 500 }), policyWith({ retries: { onConditions: ['5xx'] } }), FACTS], '5xx'],
    [
      'a 429 that is listed',
      [outcome({ status: 429 }), policyWith({ retries: { onStatuses: [429] } }), FACTS],
      'status',
    ],
    ['a 200', [outcome(), policyWith({ retries: { onConditions: all } }), FACTS], 'not_retriable'],
    ['a POST that was sent', [outcome({ status: 503 }), policyWith(), { ...FACTS, method: 'POST' }], 'not_idempotent'],
    [
      'a POST with an Idempotency-Key',
      [outcome({ status: 503 }), policyWith(), { ...FACTS, method: 'POST', hasIdempotencyKey: true }],
      'gateway_error',
    ],
    [
      'a POST of which nothing was sent',
      [outcome({ kind: 'connect_failure', isSent: false }), policyWith(), { ...FACTS, method: 'POST' }],
      'connect_failure',
    ],
    [
      'a POST on a connection that was reset before it was used',
      [outcome({ kind: 'reset', isSent: false }), policyWith(), { ...FACTS, method: 'POST' }],
      'reset',
    ],
    [
      'a POST on a stale connection',
      [outcome({ kind: 'reset', isReusedConnection: true }), policyWith(), { ...FACTS, method: 'POST' }],
      'not_idempotent',
    ],
    [
      'a GET on a stale connection',
      [outcome({ kind: 'reset', isReusedConnection: true }), policyWith(), FACTS],
      'stale_connection',
    ],
    ['a reset', [outcome({ kind: 'reset' }), policyWith(), FACTS], 'reset'],
    ['a timeout', [outcome({ kind: 'timeout' }), policyWith(), FACTS], 'timeout'],
    ['a protocol error', [outcome({ kind: 'protocol_error' }), policyWith(), FACTS], 'protocol_error'],
    [
      'a timeout under 5xx, which includes no answer',
      [outcome({ kind: 'timeout' }), policyWith({ retries: { onConditions: ['5xx'] } }), FACTS],
      'timeout',
    ],
    [
      'a timeout that the policy does not name',
      [outcome({ kind: 'timeout' }), policyWith({ retries: { onConditions: ['reset'] } }), FACTS],
      'not_retriable',
    ],
    ['an overflow', [outcome({ kind: 'overflow', isSent: false }), policyWith(), FACTS], 'overflow'],
    [
      'a canceled attempt',
      [outcome({ kind: 'canceled' }), policyWith({ retries: { onConditions: all } }), FACTS],
      'canceled',
    ],
    [
      'a relayed head',
      [outcome({ kind: 'reset', status: 200, isHeadRelayed: true }), policyWith(), FACTS],
      'head_relayed',
    ],
    [
      'a body that went by',
      [outcome({ status: 503 }), policyWith(), { ...FACTS, isReplayable: false }],
      'not_replayable',
    ],
    [
      'the second of two attempts',
      [outcome({ status: 503 }), policyWith(), { ...FACTS, attemptsDone: 2 }],
      'attempts_exhausted',
    ],
    [
      'retries turned off',
      [outcome({ status: 503 }), policyWith({ retries: { attempts: 0 } }), FACTS],
      'attempts_exhausted',
    ],
    ['no time left', [outcome({ status: 503 }), policyWith(), { ...FACTS, msLeft: 0 }], 'deadline'],
  ];
  for (const [name, args, expected] of cases) {
    const decision = decideRetry(...args);
    t.equal(decision.retry ? decision.reason : decision.why, expected, name);
    t.equal(
      decision.retry,
      /^(gateway_error|5xx|status|connect|reset|stale|timeout|protocol|overflow)/.test(expected),
      name,
    );
  }
});

t.test('RetryBudget', async (t) => {
  t.test('an idle start holds the floor of the whole interval: 10/s over 10 s are 100 retries', async (t) => {
    const budget = new RetryBudget();
    budget.configure(policyWith());
    t.equal(budget.balance(0), 100);
    let taken = 0;
    while (taken < 1000 && budget.tryWithdraw(5)) taken++;
    t.equal(taken, 100);
    t.equal(budget.balance(5), 0);
    t.equal(budget.tryWithdraw(8000), false, 'what was spent is spent for the interval');
    t.equal(budget.tryWithdraw(10_000), true, 'and comes back when it leaves the window');
  });
  t.test('100 requests a second at 20 % add 20 retries a second', async (t) => {
    const budget = new RetryBudget();
    budget.configure(policyWith());
    for (let request = 0; request < 100; request++) budget.deposit(request * 10);
    t.equal(Math.round(budget.balance(1000) - 100), 20);
    t.equal(Math.round(budget.balance(10_500) - 100), 0, 'a minute of traffic is not remembered');
  });
  t.test('without a floor five requests buy exactly one retry', async (t) => {
    const budget = new RetryBudget();
    budget.configure(policyWith({ retries: { budget: { percent: 20, intervalMs: 10_000, minRetriesPerSecond: 0 } } }));
    for (let request = 0; request < 4; request++) budget.deposit(0);
    t.equal(budget.tryWithdraw(0), false);
    budget.deposit(0);
    t.equal(budget.tryWithdraw(0), true);
    t.equal(budget.tryWithdraw(0), false);
  });
  t.test('0 percent without a floor allows nothing', async (t) => {
    const budget = new RetryBudget();
    budget.configure(policyWith({ retries: { budget: { percent: 0, intervalMs: 10_000, minRetriesPerSecond: 0 } } }));
    for (let request = 0; request < 1000; request++) budget.deposit(request);
    t.equal(budget.tryWithdraw(1000), false);
  });
  t.test('a new policy takes effect at once and keeps what was counted', async (t) => {
    const budget = new RetryBudget();
    budget.configure(policyWith());
    for (let request = 0; request < 100; request++) budget.deposit(0);
    budget.configure(policyWith({ retries: { budget: { percent: 50, intervalMs: 10_000, minRetriesPerSecond: 0 } } }));
    t.equal(budget.balance(0), 50);
  });
  t.test('an outage of an hour is amplified by a fifth, not by the number of attempts', async (t) => {
    const budget = new RetryBudget();
    budget.configure(policyWith({ retries: { budget: { percent: 20, intervalMs: 10_000, minRetriesPerSecond: 1 } } }));
    let retries = 0;
    for (let request = 0; request < 360_000; request++) {
      budget.deposit(request * 10);
      if (budget.tryWithdraw(request * 10)) retries++;
    }
    t.ok(retries <= 360_000 * 0.2 + 3600 + 10, `${retries} retries`);
    t.ok(retries >= 360_000 * 0.2, `${retries} retries`);
  });
});
