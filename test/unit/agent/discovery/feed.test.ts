// Discovery by the control plane without a network: whom to ask when, what a word of the control plane means, and that no word takes
// an endpoint away by being broken.

import fc from 'fast-check';
import t from 'tap';
import { endpointsJson, factsJson, staleJson } from '#contract/endpoint-frames.ts';
import type { MeshEvent } from '#contract/frames.ts';
import { EndpointFeed } from '../../../../agent/discovery/endpoint-feed.ts';
import type { HealthAnswer } from '../../../../agent/discovery/health-source.ts';
import { type Choice, choose, DEFAULT_CHOICE, firstChoice } from '../../../../agent/discovery/source-choice.ts';
import { seededRandom } from '../../../support/seeded-random.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

function pushOf(ports: readonly number[] | null, { service = 'payments', index = '5', ageMs = 0 } = {}): string {
  if (ports === null) return endpointsJson(service, { index, ageMs, recoveredMs: null }, null);
  const endpoints = ports.map((port) => {
    const id = `${service}@p${port}@127.0.0.1:${port}`;
    return { id, address: '127.0.0.1', port, weight: 1, zone: null, tags: [], meta: {} };
  });
  const health = { endpoints, criticalCount: 0, maintenanceCount: 0, leftOut: [], isPanicSet: false, dropped: {} };
  const facts = factsJson(service, { health, isFiltered: false, isUncertain: false });
  return endpointsJson(service, { index, ageMs, recoveredMs: null }, facts);
}

function createFeed(): { feed: EndpointFeed; clock: VirtualClock; events: MeshEvent[]; wanted: string[][] } {
  const clock = new VirtualClock();
  const events: MeshEvent[] = [];
  const wanted: string[][] = [];
  const feed = new EndpointFeed({
    clock,
    onEvent: (event) => events.push(event),
    sendWanted: (services) => wanted.push([...services]),
  });
  return { feed, clock, events, wanted };
}

const ask = (feed: EndpointFeed, index: bigint | null = null, waitMs = 5): Promise<HealthAnswer> =>
  feed.ask({ service: 'payments', index, waitMs, timeoutMs: 50, signal: new AbortController().signal });

function said(answer: HealthAnswer): string {
  if (answer.kind !== 'health') return answer.kind === 'failure' ? `failure: ${answer.text}` : answer.kind;
  const { facts, index, ageMs } = answer;
  return `${facts.health.endpoints.map(({ port }) => port)} at ${index}, ${ageMs} ms old`;
}

t.test('a feed answers from what was said last, and its age grows', async (t) => {
  const { feed, clock, wanted } = createFeed();
  feed.want('payments');
  t.same(wanted, [['payments']]);
  feed.opened();
  t.equal(feed.isGood('payments'), false, 'a stream alone is nothing');
  feed.take(pushOf([7001, 7002], { ageMs: 30 }));
  feed.take(pushOf([9001], { service: 'other' }));
  t.equal(feed.isGood('payments'), true);
  t.equal(feed.isGood('other'), false, 'nobody wants it');
  t.equal(said(await ask(feed)), '7001,7002 at 5, 30 ms old');
  clock.advance(1_000);
  t.equal(said(await ask(feed)), '7001,7002 at 5, 1030 ms old');
  feed.take(pushOf(null, { index: '6' }));
  t.equal(said(await ask(feed)), '7001,7002 at 6, 0 ms old', 'confirmed');
  clock.advance(89_000);
  t.equal(feed.isGood('payments'), true);
  clock.advance(2_000);
  t.equal(feed.isGood('payments'), false);
  t.match(feed.whyNot('payments'), /91 s old/);
});

t.test('a question with an index waits for news', async (t) => {
  const { feed } = createFeed();
  feed.want('payments');
  feed.opened();
  feed.take(pushOf([7001]));
  await ask(feed);
  const waiting = ask(feed, 5n, 5_000);
  feed.take(pushOf([7001, 7002], { index: '6' }));
  t.match(said(await waiting), /^7001,7002 at 6/);
  t.match(said(await ask(feed, 6n, 5)), /^7001,7002 at 6/, 'after the wait the same again, as Consul does');
  const stop = new AbortController();
  const withdrawn = feed.ask({ service: 'payments', index: 6n, waitMs: 5_000, timeoutMs: 1, signal: stop.signal });
  stop.abort();
  t.equal((await withdrawn).kind, 'stopped');
});

t.test('stale, lost, refused: said once each, and old data is not taken for new', async (t) => {
  const { feed, events } = createFeed();
  feed.want('payments');
  feed.opened();
  feed.take(pushOf([7001]));
  await ask(feed);
  feed.take(staleJson('payments', 'Consul answered 500'));
  t.equal(said(await ask(feed, 5n)), 'failure: Consul answered 500');
  feed.take(pushOf(null, { index: '7' }));
  t.match(said(await ask(feed, 5n)), /^7001 at 7/, 'what was said before is true again');

  for (const bad of [
    '{"service":"payments","index":"8","ageMs":0,"facts":{"entries":[{"id":"p","address":"a","port":"x"}]}}',
    `{"service":"payments","index":"8","ageMs":0,"facts":{"entries":[${'0,'.repeat(1e6)}0]}}`,
  ]) {
    feed.take(bad);
    feed.take(bad);
    t.equal(feed.isGood('payments'), false);
    t.match(said(await ask(feed, 7n)), /^failure: what it said could not be used \(OTR_T/);
    feed.take(pushOf(null, { index: '9' }));
    t.equal(feed.isGood('payments'), false, '"the same as last" after something unusable says nothing');
  }
  t.same(
    events.map(({ reason, text }) => `${reason} ${/OTR_\w+/.exec(text)?.[0]}`),
    ['endpoints_refused OTR_TYPE', 'endpoints_refused OTR_TOO_LARGE'],
    'each kind once',
  );
  feed.take('{"service":"__proto__","index":"1","ageMs":0}');
  t.equal(events.at(-1)?.text.includes('OTR_FORMAT'), true);
  feed.take(pushOf([7001, 7003], { index: '10' }));
  t.match(said(await ask(feed, 7n)), /^7001,7003 at 10/);

  feed.closed('socket hang up');
  t.equal(said(await ask(feed, 10n)), 'failure: socket hang up');
  feed.closed('ECONNREFUSED');
  const next = ask(feed, 10n, 20);
  feed.opened();
  t.equal(feed.isGood('payments'), false, 'a new stream has said nothing yet');
  t.equal(said(await next), 'failure: it has not said anything yet');
  feed.refused('the control plane answered 404');
  t.equal(feed.whyNot('payments'), 'the control plane answered 404');
  feed.drop('payments');
  t.equal((await ask(feed)).kind, 'stopped');
});

t.test('choose() waits before it leaves the control plane, and longer before it comes back', async (t) => {
  const random = (): number => 0;
  const step = (choice: Choice, isGood: boolean, now: number, hasEndpoints = true): Choice =>
    choose(choice, { isGood, hasEndpoints, now }, random, DEFAULT_CHOICE);
  let choice = firstChoice(DEFAULT_CHOICE);
  choice = step(choice, false, 0);
  t.equal(step(choice, true, 2_999).dueAt, null, 'good again in time');
  t.equal(step(choice, false, 2_999).origin, 'control-plane');
  choice = step(choice, false, 3_000);
  t.equal(choice.origin, 'consul');
  choice = step(choice, true, 10_000);
  choice = step(choice, false, 15_000);
  choice = step(choice, true, 16_000);
  t.equal(step(choice, true, 25_999).origin, 'consul', 'good without a break');
  choice = step(choice, true, 26_000);
  t.equal(choice.origin, 'control-plane');
  choice = step(step(choice, false, 30_000), false, 33_000);
  t.same([choice.origin, choice.returnMs], ['consul', 20_000], 'one that comes and goes is trusted later');
  const cold = step(firstChoice(DEFAULT_CHOICE), false, 0, false);
  t.equal(step(cold, false, 1_000, false).origin, 'consul', 'without any endpoint patience is short');
});

t.test(
  'whatever the control plane does, the source changes at most once in three seconds and then ever more rarely',
  async (t) => {
    const looks = fc.array(fc.boolean(), { minLength: 400, maxLength: 4_000 });
    fc.assert(
      fc.property(looks, fc.integer({ min: 1, max: 1e6 }), (goods, seed) => {
        const random = seededRandom(seed);
        let choice = firstChoice(DEFAULT_CHOICE);
        let changes = 0;
        let last = Number.NEGATIVE_INFINITY;
        goods.forEach((isGood, i) => {
          const now = i * 250;
          // Runs of a second and more, so that there is something to follow.
          const isSteady = goods[Math.floor(i / 40) * 40] ?? isGood;
          const next = choose(choice, { isGood: isSteady, hasEndpoints: true, now }, random, DEFAULT_CHOICE);
          if (next.origin !== choice.origin) {
            if (now - last < 3_000) throw new Error(`changed after ${now - last} ms`);
            last = now;
            changes++;
          }
          choice = next;
        });
        // 10 + 3 s for the first round, then 20 + 3, 40 + 3, …
        return changes <= 2 * (Math.ceil(Math.log2(goods.length * 0.25)) + 1);
      }),
      { seed: 11, numRuns: 200 },
    );
    t.pass();
  },
);
