import t from 'tap';
import { MaglevTable } from '../../../../agent/core/balance/maglev.ts';
import { RingTable } from '../../../../agent/core/balance/ring.ts';
import { hash32 } from '../../../../agent/core/hash.ts';
import { hashOfRequest } from '../../../../agent/core/hash-key.ts';
import { NO_HASH, pickEndpoint } from '../../../../agent/core/pick.ts';
import type { EndpointView, ServiceView } from '../../../../agent/core/snapshot.ts';
import { createServiceStats, createServiceView, PLAIN_CONTEXT } from '../../../../agent/core/view.ts';
import { seededRandom } from '../../../support/seeded-random.ts';
import { countPicks, endpointViews, policyWith, viewOf } from '../../../support/views.ts';

const KEYS = Array.from({ length: 20_000 }, (_, index) => hash32(`user-${index}`));
const POLICIES = ['ringHash', 'maglev'] as const;

function members(count: number, weightOf = (_index: number) => 1): { id: string; weight: number }[] {
  return Array.from({ length: count }, (_, index) => ({ id: `svc@${1000 + index}`, weight: weightOf(index) }));
}

function ownersOf(view: ServiceView, tried: readonly EndpointView[] = []): (EndpointView | null)[] {
  const random = seededRandom(1);
  return KEYS.map((hash) => pickEndpoint(view, 0, random, tried, hash));
}

t.test('hash32() is MurmurHash3', async (t) => {
  for (const [text, seed, expected] of [
    ['', 0, 0],
    ['', 1, 0x514e28b7],
    ['abc', 0, 0xb3dd93fa],
    ['hello', 0, 0x248bfa47],
    ['hello, world', 0, 0x149bbb7f],
    ['The quick brown fox jumps over the lazy dog', 0, 0x2e4ff723],
  ] as const) {
    t.equal(hash32(text, seed), expected, text);
  }
});

t.test('a table gives every member its share, by weight, and moves little else when one leaves', async (t) => {
  for (const [name, make, spread, moves, stride] of [
    ['maglev', (list: ReturnType<typeof members>) => new MaglevTable(list), 0.01, 0.01, 1],
    ['ring', (list: ReturnType<typeof members>) => new RingTable(list), 0.3, 0, 2 ** 16],
  ] as const) {
    // Every slot of the Maglev table, and as many evenly spaced hashes for the ring.
    const hashes = Array.from({ length: 65_536 }, (_, index) => index * stride);
    const all = members(50);
    const table = make(all);
    const counts = new Map<number, number>();
    const whole = make(all.filter((_, index) => index !== 7));
    let moved = 0;
    for (const hash of hashes) {
      const owner = table.ownerAt(table.start(hash));
      counts.set(owner, (counts.get(owner) ?? 0) + 1);
      if (owner === 7) continue;
      const after = whole.ownerAt(whole.start(hash));
      if ((after < 7 ? after : after + 1) !== owner) moved++;
    }
    t.equal(counts.size, 50, `${name}: every member owns something`);
    const even = hashes.length / 50;
    for (const count of counts.values()) t.ok(Math.abs(count / even - 1) <= spread, `${name}: ${count} of ${even}`);
    t.ok(moved / hashes.length <= moves, `${name}: ${moved} of 65,536 moved without need`);

    const weighted = make(members(4, (index) => index + 1));
    const shares = [0, 0, 0, 0];
    for (const hash of hashes) {
      const owner = weighted.ownerAt(weighted.start(hash));
      shares[owner] = (shares[owner] ?? 0) + 1 / hashes.length;
    }
    for (const [index, share] of shares.entries()) t.ok(Math.abs(share - (index + 1) / 10) < 0.05, `${name} ${shares}`);
  }
});

t.test('an ejection moves only the keys of the ejected endpoint, and its return moves them back', async (t) => {
  for (const policy of POLICIES) {
    const views = endpointViews(1, 1, 1, 1, 1);
    const plan = {
      service: 'svc',
      policy: policyWith({ loadBalancer: { policy } }),
      rules: [],
      subsets: [],
      permission: { kind: 'allow' },
    };
    const stats = createServiceStats('svc');
    const build = (list: readonly EndpointView[], former: ServiceView | null) =>
      createServiceView(plan as never, list, stats, { ...PLAIN_CONTEXT, former });
    const before = build(views, null);
    const owners = ownersOf(before);
    t.equal(Object.keys(countPicks(owners)).length, 5);
    const out = views[2] as EndpointView;
    out.stats.state = 'ejected';
    const during = build(views, before);
    t.equal(during.groups[0]?.members?.table, before.groups[0]?.members?.table, 'the table serves on');
    const heirs = new Set<EndpointView | null>();
    for (const [index, owner] of ownersOf(during).entries()) {
      if (owners[index] === out) heirs.add(owner);
      else if (owner !== owners[index]) t.fail(`${policy}: key ${index} moved without need`);
    }
    t.same([heirs.size, heirs.has(out)], [4, false], `${policy}: its keys are spread over all others`);
    out.stats.state = 'serving';
    t.same(ownersOf(build(views, during)), owners, policy);
    t.not(build(views.slice(1), during).groups[0]?.members?.table, before.groups[0]?.members?.table);
  }
});

t.test('a retry goes to the next on the circle, and the same one for the same key', async (t) => {
  for (const policy of POLICIES) {
    const view = viewOf(endpointViews(1, 1, 1), { loadBalancer: { policy } });
    for (const hash of KEYS.slice(0, 200)) {
      const first = pickEndpoint(view, 0, seededRandom(1), [], hash) as EndpointView;
      const second = pickEndpoint(view, 0, seededRandom(2), [first], hash) as EndpointView;
      t.not(second, first);
      t.equal(pickEndpoint(view, 0, seededRandom(3), [first], hash), second);
      const third = pickEndpoint(view, 0, seededRandom(4), [first, second], hash);
      t.ok(third !== first && third !== second && third !== null);
    }
  }
});

t.test('hashBalanceFactor bounds what one popular key puts on an endpoint', async (t) => {
  for (const policy of POLICIES) {
    for (const [hashBalanceFactor, bound] of [
      [0, 1000],
      [125, 125],
      [200, 200],
    ] as const) {
      const views = endpointViews(...Array.from({ length: 10 }, () => 1));
      const stats = createServiceStats('svc');
      const view = viewOf(views, { loadBalancer: { policy, hashBalanceFactor } }, stats);
      for (let request = 0; request < 1000; request++) {
        stats.inFlight++;
        const picked = pickEndpoint(view, 0, seededRandom(1), [], hash32('everyone'));
        if (picked !== null) picked.stats.inFlight++;
      }
      t.equal(Math.max(...views.map((one) => one.stats.inFlight)), bound, `${policy} ${hashBalanceFactor}`);
    }
  }
});

t.test('a request without a key is drawn by weight', async (t) => {
  for (const policy of POLICIES) {
    const view = viewOf(endpointViews(3, 1), { loadBalancer: { policy } });
    const random = seededRandom(8);
    const counts = countPicks(Array.from({ length: 4000 }, () => pickEndpoint(view, 0, random, [])));
    t.ok(Math.abs((counts['1'] ?? 0) / 4000 - 0.75) < 0.03, JSON.stringify(counts));
  }
});

t.test('the key is the first source that the request has', async (t) => {
  const fields: Record<string, string> = { 'x-user': 'ann', cookie: 'sid2=no; sid=c1; sid=c2', empty: '' };
  const header = (name: string) => fields[name] ?? null;
  const source = { kind: 'source' } as const;
  const named = (kind: 'header' | 'cookie', name: string) => ({ kind, name });
  for (const [hashOn, key] of [
    [[named('header', 'x-user'), source], 'ann'],
    [[named('header', 'x-none'), named('header', 'empty'), named('cookie', 'sid'), source], 'c1'],
    [[named('cookie', 'SID'), source], '10.0.0.9'],
    [[source], '10.0.0.9'],
  ] as const) {
    t.equal(hashOfRequest(hashOn, header, '10.0.0.9'), hash32(key), key);
  }
  t.equal(hashOfRequest([named('cookie', 'x'), named('header', 'y')], header, 'z'), NO_HASH);
  t.equal(hashOfRequest([], header, 'z'), NO_HASH);
});
