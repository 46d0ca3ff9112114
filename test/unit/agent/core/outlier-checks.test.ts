// Active health checks as a level, and what it does to an endpoint's states.

import t from 'tap';
import { applyDecision } from '../../../../agent/core/outlier/apply.ts';
import { forgetChecks, recordCheck } from '../../../../agent/core/outlier/checks.ts';
import { beginAttempt, endAttempt } from '../../../../agent/core/outlier/record.ts';
import { decideSweep } from '../../../../agent/core/outlier/sweep.ts';
import { createEndpointStats, type EndpointStats } from '../../../../agent/core/stats.ts';
import { seededRandom } from '../../../support/seeded-random.ts';
import { endpointViews, outcome, policyWith } from '../../../support/views.ts';

const THRESHOLDS = { healthyThreshold: 2, unhealthyThreshold: 3 };

function check(stats: EndpointStats, results: string, now = 1): boolean[] {
  return [...results].map((result) =>
    recordCheck(stats, { isPassed: result === '+', text: 'answered 503' }, THRESHOLDS, now),
  );
}

t.test('recordCheck() counts in a row, and believes the first passed check', async (t) => {
  const cases = [
    ['+', 'passing'],
    ['--', 'unknown'],
    ['--+', 'passing'],
    ['---', 'failing'],
    ['+--+--', 'passing'],
    ['+---', 'failing'],
    ['---+', 'failing'],
    ['---+-+', 'failing'],
    ['---++', 'passing'],
  ] as const;
  for (const [results, expected] of cases) {
    const stats = createEndpointStats('a');
    check(stats, results);
    t.equal(stats.health, expected, results);
  }
  const stats = createEndpointStats('a');
  t.same(
    check(stats, '+++----'),
    [true, false, false, false, false, true, false],
    'a sweep only when something changed',
  );
  forgetChecks(stats);
  t.match(stats, { health: 'unknown', passedChecks: 0, failedChecks: 0, checkPassedAt: -1, checkText: '' });
});

function service(changes = {}) {
  const policy = policyWith({ outlierDetection: changes });
  const views = endpointViews(1, 1);
  const [view] = views;
  if (view === undefined) throw new Error('no endpoint');
  const sweep = (now: number): string[] =>
    decideSweep(views, policy, now, seededRandom(1)).map((decision) => {
      applyDecision(decision, now);
      return 'reason' in decision ? `${decision.kind} ${decision.reason}` : decision.kind;
    });
  const fail = (): void => {
    for (let time = 0; time < 5; time++) {
      beginAttempt(view.stats, 0);
      endAttempt(view.stats, outcome({ status: 503 }), view.stats.epoch, policy, 0);
    }
  };
  return { stats: view.stats, sweep, fail };
}

t.test('failed checks eject, and hold the endpoint out until checks pass', async (t) => {
  const { stats, sweep } = service({ successfulActiveHealthCheckUnejectHost: false });
  check(stats, '---');
  t.same(sweep(1000), ['eject health_check_failed']);
  t.match(
    stats.ejectionText,
    /3 active health checks failed in a row, last: answered 503; 1 of 2 endpoints out, limit 1$/,
  );
  t.same(sweep(100_000), [], 'no live request is wasted on it');
  check(stats, '+', 100_001);
  t.same(sweep(100_001), []);
  check(stats, '+', 100_002);
  t.same(sweep(100_002), ['reinstate health_check_passed']);
  t.same(sweep(100_003), []);
});

t.test('a passed check ends an ejection of another reason only where the policy says so', async (t) => {
  for (const successfulActiveHealthCheckUnejectHost of [true, false]) {
    const { stats, sweep, fail } = service({ successfulActiveHealthCheckUnejectHost });
    check(stats, '+', 5);
    fail();
    t.same(sweep(10), ['eject consecutive_5xx'], 'checks from before do not vouch');
    t.same(sweep(20), []);
    t.same(check(stats, '+', 30), [true]);
    t.same(sweep(30), successfulActiveHealthCheckUnejectHost ? ['reinstate health_check_passed'] : []);
  }
});

t.test('once nobody asks any more the ejection ends as any other', async (t) => {
  const { stats, sweep } = service();
  check(stats, '---');
  sweep(0);
  forgetChecks(stats);
  t.same(sweep(30_000), ['probe']);
});

t.test('the ceiling holds for failed checks too, and is said once', async (t) => {
  const policy = policyWith();
  const views = endpointViews(1, 1, 1);
  for (const { stats } of views) check(stats, '---');
  const decide = (): string[] =>
    decideSweep(views, policy, 0, seededRandom(1)).map((decision) => {
      applyDecision(decision, 0);
      return decision.kind;
    });
  t.same(decide(), ['eject', 'overflow', 'overflow']);
  for (const { stats } of views) endAttempt(stats, outcome(), stats.epoch, policy, 0);
  t.same(decide(), [], 'requests that succeed do not make it news again');
});
