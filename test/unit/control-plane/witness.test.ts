// Witnessed ejection: fleets in virtual time, and the rules one by one.

import t from 'tap';
import type { AgentReport, EndpointReport } from '#contract/frames.ts';
import { decodeAdvice, LONGEST_TTL_MS } from '../../../agent/sync/advice-frame.ts';
import { ADVISORY_TTL_MS, WITNESS_AGE_MS, WitnessBook } from '../../../control-plane/core/witness.ts';
import { orderReport } from '../../support/control-plane-client.ts';
import { type FleetOptions, nameOf, runFleet } from '../../support/witnessed-fleet.ts';

const FLEET: Omit<FleetOptions, 'seed' | 'hasWitnesses' | 'balancing'> = {
  callers: 50,
  endpoints: 10,
  callsPerSecond: 2,
  forMs: 60_000,
  isFailing: (_caller, endpoint) => endpoint === 3,
};

t.test('50 callers at 2 rps, 1 bad endpoint of 10: at most 30 failed calls, against hundreds without', async (t) => {
  for (const balancing of ['random', 'peakEwma'] as const) {
    for (const seed of [1, 2]) {
      const alone = runFleet({ ...FLEET, balancing, seed, hasWitnesses: false });
      const together = runFleet({ ...FLEET, balancing, seed, hasWitnesses: true });
      t.equal(together.calls, 6_000, 'every call is made');
      t.ok(together.failed <= 30, `${balancing}, seed ${seed}: ${together.failed} failed`);
      t.ok(alone.failed >= 150, `${balancing}, seed ${seed}: ${alone.failed} failed without`);
      t.equal(together.ejections.get('advised'), 50, 'callers that never met it stay away, too');
    }
  }
});

t.test('one caller with a broken network ejects nothing for the fleet and is suspended', async (t) => {
  const result = runFleet({
    ...FLEET,
    balancing: 'random',
    seed: 1,
    hasWitnesses: true,
    isFailing: (caller) => caller === 7,
  });
  t.equal(result.ejections.get('advised') ?? 0, 0);
  t.notOk(
    [...result.ejectingCallers].some((caller) => caller !== 7),
    'nobody else ejects anybody',
  );
  t.same(result.suspended, [nameOf(7)]);
  t.same(result.knowing, [7], 'the agent knows');
});

t.test('a bad path from one zone is kept to that zone', async (t) => {
  const result = runFleet({
    ...FLEET,
    balancing: 'random',
    seed: 1,
    hasWitnesses: true,
    zoneOf: (caller) => (caller < 25 ? 'a' : 'b'),
    isFailing: (caller, endpoint) => caller < 25 && endpoint === 2,
  });
  t.equal(result.ejections.get('advised'), 25);
  t.ok([...result.ejectingCallers].every((caller) => caller < 25));
});

t.test('when everything fails for everybody nobody is suspended and nothing is advised against', async (t) => {
  const result = runFleet({
    ...FLEET,
    forMs: 20_000,
    balancing: 'random',
    seed: 1,
    hasWitnesses: true,
    isFailing: () => true,
  });
  t.same(result.suspended, []);
  t.equal(result.ejections.get('advised') ?? 0, result.changes.filter(({ kind }) => kind === 'advised').length * 50);
  t.ok(result.changes.filter(({ kind }) => kind === 'advised').length <= 3, 'the ceiling: 34 % of 10');
});

interface Said {
  readonly attempts: number;
  readonly failures?: number;
  readonly isAccused?: boolean;
  readonly failuresInARow?: number;
}

/** A report about the endpoints of `payments`, in order. */
function report(sequence: number, said: readonly Said[], zone: string | null = null): AgentReport {
  const endpoints = said.map(({ failures = 0, ...one }, index): EndpointReport => {
    const rest = { state: 'serving', weight: 1, inFlight: 0, connections: 0, ewmaMs: null, reason: null } as const;
    return { ...rest, ...one, id: `p${index}`, address: `10.0.0.1:${index + 1}`, failures, ejectedUntilEpochMs: null };
  });
  const service = { service: 'payments', source: 'static', ageMs: null, holding: null, isPanicking: false } as const;
  return orderReport(sequence, { zone, services: [{ ...service, endpoints }] });
}

const WELL = { attempts: 10 };
const ACCUSED = { attempts: 10, failures: 2, isAccused: true, failuresInARow: 2 };

t.test('one vote an agent: an accusation repeated is one accusation', async (t) => {
  const book = new WitnessBook();
  for (let sequence = 1; sequence < 10; sequence++) book.hear('a', report(sequence, [ACCUSED, WELL, WELL]), sequence);
  t.same(book.judge(10), []);
  book.hear('b', report(1, [ACCUSED, WELL, WELL]), 11);
  t.match(book.judge(12), [{ kind: 'advised', service: 'payments', endpoint: 'p0' }]);
  t.same(book.judge(13), [], 'said once');
});

t.test('callers that vouch outweigh accusers', async (t) => {
  const book = new WitnessBook();
  for (const agentId of ['a', 'b', 'c', 'd']) book.hear(agentId, report(1, [WELL, WELL, WELL]), 0);
  book.hear('a', report(2, [ACCUSED, WELL, WELL]), 1);
  for (const agentId of ['c', 'd']) book.hear(agentId, report(2, [WELL, WELL, WELL]), 2);
  for (const agentId of ['c', 'd']) book.hear(agentId, report(3, [{ attempts: 15 }, WELL, WELL]), 3);
  book.hear('b', report(2, [ACCUSED, WELL, WELL]), 4);
  t.same(book.judge(5), []);
});

t.test('an advisory ends when its accusers find the endpoint well, and when they are not heard any more', async (t) => {
  for (const ending of ['well', 'silent'] as const) {
    const book = new WitnessBook();
    for (const agentId of ['a', 'b']) book.hear(agentId, report(1, [ACCUSED, WELL, WELL]), 0);
    t.equal(book.judge(1).length, 1);
    if (ending === 'well')
      for (const id of ['a', 'b']) book.hear(id, report(2, [{ attempts: 11, failures: 2 }, WELL]), 2);
    t.match(book.judge(ending === 'well' ? 3 : WITNESS_AGE_MS + 1), [{ kind: 'withdrawn', endpoint: 'p0' }]);
    t.same(book.verdicts(), []);
  }
});

t.test('the fleet ceiling: one of two, never the last, at most a third', async (t) => {
  const advisedOf = (endpoints: number): number => {
    const book = new WitnessBook();
    // Different pairs accuse each endpoint, so that nobody blames half of what it calls.
    for (let index = 0; index < endpoints; index++) {
      const said = Array.from({ length: endpoints }, (_, at) => (at === index ? ACCUSED : WELL));
      for (const side of ['a', 'b']) book.hear(`${side}${index}`, report(1, said), 0);
    }
    book.judge(1);
    return book.verdicts().length;
  };
  t.same([1, 2, 3, 6, 10].map(advisedOf), [0, 1, 1, 2, 3]);
});

t.test(
  'four callers that failed once and nobody who called well are enough, for the time of an advisory',
  async (t) => {
    const book = new WitnessBook();
    const failed = { attempts: 10, failures: 1, failuresInARow: 1 };
    for (const agentId of ['a', 'b', 'c']) book.hear(agentId, report(1, [failed, WELL, WELL]), 0);
    t.same(book.judge(1), []);
    book.hear('d', report(1, [failed, WELL, WELL]), 2);
    t.match(book.judge(3), [{ kind: 'advised' }]);
    for (let at = 1_000; at < ADVISORY_TTL_MS; at += 1_000) {
      for (const agentId of ['a', 'b', 'c', 'd'])
        book.hear(agentId, report(at, [{ ...failed, failuresInARow: 0 }, WELL, WELL]), at);
      t.same(book.judge(at), [], `${at} ms`);
    }
    t.match(book.judge(ADVISORY_TTL_MS + 3), [{ kind: 'withdrawn' }]);
  },
);

t.test('advice that makes no sense is none', async (t) => {
  for (const data of ['', '{', '[]', 'null', '1', '{"advisories":1,"isSuspended":false}', '{"advisories":[]}']) {
    t.equal(decodeAdvice(data), null, data);
  }
  const good = { service: 'payments', endpoint: 'p0', id: '1', ttlMs: 30_000, text: 'x' };
  const odd = [null, 1, {}, { ...good, ttlMs: -1 }, { ...good, id: '' }, { ...good, ttlMs: Number.MAX_VALUE }, good];
  const decoded = decodeAdvice(JSON.stringify({ advisories: odd, isSuspended: true }));
  t.same(
    decoded?.advisories.map(({ ttlMs }) => ttlMs),
    [LONGEST_TTL_MS, 30_000],
  );
});
