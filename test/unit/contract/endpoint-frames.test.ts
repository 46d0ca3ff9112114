// Endpoints on the policy stream: what is written is read as it was, and what is hostile is refused whole and by code.

import fc from 'fast-check';
import t from 'tap';
import {
  decodeEndpoints,
  deniedJson,
  endpointsJson,
  factsJson,
  type HealthFacts,
  MAX_ENDPOINTS,
  staleJson,
} from '#contract/endpoint-frames.ts';

const head = { service: 'payments', index: '12', ageMs: 5 };
const withEntries = (entries: unknown): string => JSON.stringify({ ...head, facts: { entries } });
const entry = (changes: object = {}): object => ({ id: 'p1', address: '10.0.0.1', port: 7001, ...changes });

/** Code and path of the refusal, or what was read. */
function verdictOf(data: string): string {
  const decoded = decodeEndpoints(data);
  return decoded.ok ? decoded.push.told.kind : `${decoded.problem.code} ${decoded.problem.path}`;
}

t.test('every set of endpoints is read as it was written', async (t) => {
  const word = fc.stringMatching(/^[a-z0-9@:._-]{1,12}$/);
  const meta = fc.dictionary(fc.string({ minLength: 1, maxLength: 8 }), fc.string({ maxLength: 8 }), { maxKeys: 4 });
  const endpoint = fc.record({
    id: word,
    address: fc.ipV4(),
    port: fc.integer({ min: 1, max: 65_535 }),
    weight: fc.integer({ min: 1, max: 65_535 }),
    tags: fc.array(fc.string({ maxLength: 8 }), { maxLength: 3 }),
    meta,
  });
  const facts = fc.record({
    entries: fc.uniqueArray(endpoint, { maxLength: 8, selector: ({ id }) => id }),
    leftOut: fc.array(
      fc.record({
        address: fc.ipV4(),
        port: fc.integer({ min: 1, max: 65_535 }),
        reason: fc.constantFrom('critical' as const, 'maintenance' as const),
        checks: fc.array(fc.string({ maxLength: 8 }), { maxLength: 2 }),
      }),
      { maxLength: 3 },
    ),
    counts: fc.tuple(fc.nat(99), fc.nat(99), fc.boolean(), fc.boolean(), fc.boolean()),
    dropped: fc.constantFrom({}, { duplicate: 2 }, { bad_port: 1, malformed: 3 }),
  });
  fc.assert(
    fc.property(facts, fc.boolean(), ({ entries, counts, leftOut, dropped }, isRecovered) => {
      const [criticalCount, maintenanceCount, isPanicSet, isFiltered, isUncertain] = counts;
      const endpoints = entries.map(({ id, meta: pairs, ...rest }) => ({
        ...rest,
        id: `payments@${id}@${rest.address}:${rest.port}`,
        zone: pairs.zone === undefined || pairs.zone === '' ? null : pairs.zone,
        meta: Object.assign(Object.create(null), pairs),
      }));
      const health = { endpoints, criticalCount, maintenanceCount, leftOut, isPanicSet, dropped };
      const written: HealthFacts = { health, isFiltered, isUncertain };
      const recoveredMs = isRecovered ? 7 : null;
      const data = endpointsJson('payments', { index: '12', ageMs: 5.4, recoveredMs }, factsJson('payments', written));
      const read = decodeEndpoints(data);
      t.same(read, {
        ok: true,
        push: { service: 'payments', told: { kind: 'current', index: '12', ageMs: 5, recoveredMs, facts: written } },
      });
      return t.passing();
    }),
    { seed: 7 },
  );
});

t.test('short words', async (t) => {
  t.same(decodeEndpoints(endpointsJson('payments', { index: '9', ageMs: 1, recoveredMs: null }, null)), {
    ok: true,
    push: { service: 'payments', told: { kind: 'current', index: '9', ageMs: 1, recoveredMs: null, facts: null } },
  });
  t.same(decodeEndpoints(staleJson('payments', 'Consul answered 500')), {
    ok: true,
    push: { service: 'payments', told: { kind: 'stale', why: 'Consul answered 500' } },
  });
  t.same(decodeEndpoints(deniedJson('payments')), {
    ok: true,
    push: { service: 'payments', told: { kind: 'denied' } },
  });
  const long = decodeEndpoints(staleJson('payments', 'x'.repeat(10_000)));
  t.ok(long.ok, 'a long reason is cut and not refused');
});

t.test('hostile data is refused with a code, and names the service when it can be read', async (t) => {
  const cells: [string, string][] = [
    ['', 'OTR_SYNTAX '],
    ['{"service":', 'OTR_SYNTAX '],
    ['null', 'OTR_TYPE '],
    ['[]', 'OTR_TYPE '],
    ['7', 'OTR_TYPE '],
    ['{}', 'OTR_TYPE service'],
    ['{"service":7}', 'OTR_TYPE service'],
    ['{"service":"__proto__","index":"1","ageMs":0}', 'OTR_FORMAT service'],
    ['{"service":"../x","index":"1","ageMs":0}', 'OTR_FORMAT service'],
    [JSON.stringify({ ...head, index: 12 }), 'OTR_TYPE index'],
    [JSON.stringify({ ...head, index: '-1' }), 'OTR_FORMAT index'],
    [JSON.stringify({ ...head, index: '1'.repeat(21) }), 'OTR_FORMAT index'],
    [JSON.stringify({ ...head, ageMs: -1 }), 'OTR_RANGE ageMs'],
    [JSON.stringify({ ...head, ageMs: '5' }), 'OTR_TYPE ageMs'],
    [JSON.stringify({ ...head, ageMs: null }), 'OTR_TYPE ageMs'],
    [JSON.stringify({ ...head, recoveredMs: -5 }), 'OTR_RANGE recoveredMs'],
    [JSON.stringify({ ...head, stale: 7 }), 'OTR_TYPE stale'],
    [JSON.stringify({ ...head, facts: [] }), 'OTR_TYPE facts'],
    [JSON.stringify({ ...head, facts: {} }), 'OTR_TYPE facts.entries'],
    [withEntries({ length: 1e6 }), 'OTR_TYPE facts.entries'],
    [withEntries(Array.from({ length: 1e6 }, () => 0)), 'OTR_TOO_LARGE facts.entries'],
    [withEntries(Array.from({ length: MAX_ENDPOINTS + 1 }, () => entry())), 'OTR_TOO_LARGE facts.entries'],
    [withEntries([entry(), entry()]), 'OTR_DUPLICATE facts.entries'],
    [withEntries([null]), 'OTR_TYPE facts.entries[0]'],
    [withEntries([entry(), 'x']), 'OTR_TYPE facts.entries[1]'],
    [withEntries([entry({ id: 7 })]), 'OTR_TYPE facts.entries[0].id'],
    [withEntries([entry({ id: '' })]), 'OTR_RANGE facts.entries[0].id'],
    [withEntries([entry({ id: 'x'.repeat(513) })]), 'OTR_RANGE facts.entries[0].id'],
    [withEntries([entry({ address: '10.0.0.1 x' })]), 'OTR_FORMAT facts.entries[0].address'],
    [withEntries([entry({ address: 'a/b' })]), 'OTR_FORMAT facts.entries[0].address'],
    [withEntries([entry({ address: undefined })]), 'OTR_TYPE facts.entries[0].address'],
    [withEntries([entry({ port: 0 })]), 'OTR_RANGE facts.entries[0].port'],
    [withEntries([entry({ port: 65_536 })]), 'OTR_RANGE facts.entries[0].port'],
    [withEntries([entry({ port: 1.5 })]), 'OTR_TYPE facts.entries[0].port'],
    [withEntries([entry({ port: '7001' })]), 'OTR_TYPE facts.entries[0].port'],
    [withEntries([entry({ weight: 0 })]), 'OTR_RANGE facts.entries[0].weight'],
    [withEntries([entry({ weight: null })]), 'OTR_TYPE facts.entries[0].weight'],
    [withEntries([entry({ tags: 'v1' })]), 'OTR_TYPE facts.entries[0].tags'],
    [withEntries([entry({ tags: [1] })]), 'OTR_TYPE facts.entries[0].tags[0]'],
    [withEntries([entry({ tags: Array(513).fill('') })]), 'OTR_TOO_LARGE facts.entries[0].tags'],
    [withEntries([entry({ meta: [] })]), 'OTR_TYPE facts.entries[0].meta'],
    [withEntries([entry({ meta: { a: 1 } })]), 'OTR_TYPE facts.entries[0].meta.a'],
    [JSON.stringify({ ...head, facts: { entries: [], leftOut: 7 } }), 'OTR_TYPE facts.leftOut'],
    [
      JSON.stringify({ ...head, facts: { entries: [], leftOut: [{ reason: 'x' }] } }),
      'OTR_ENUM facts.leftOut[0].reason',
    ],
    [JSON.stringify({ ...head, facts: { entries: [], leftOut: Array(101) } }), 'OTR_TOO_LARGE facts.leftOut'],
    [JSON.stringify({ ...head, facts: { entries: [], critical: 1.5 } }), 'OTR_TYPE facts.critical'],
    [JSON.stringify({ ...head, facts: { entries: [], isFiltered: 'no' } }), 'OTR_TYPE facts.isFiltered'],
    [
      JSON.stringify({ ...head, facts: { entries: [], dropped: { duplicate: -1 } } }),
      'OTR_RANGE facts.dropped.duplicate',
    ],
  ];
  for (const [data, expected] of cells) t.equal(verdictOf(data), expected, data.slice(0, 80));
  const named = decodeEndpoints(withEntries([null]));
  t.equal(named.ok ? '' : named.service, 'payments');
  const unnamed = decodeEndpoints('{}');
  t.equal(unnamed.ok ? '' : unnamed.service, null);
});

t.test('keys named like parts of a prototype are only keys', async (t) => {
  const meta = '{"__proto__":"a","constructor":"b","zone":"z"}';
  const data = `{"service":"constructor","index":"1","ageMs":0,"facts":{"entries":[{"id":"__proto__","address":"h","port":1,"meta":${meta}}],"dropped":{"__proto__":{"x":1},"constructor":4}}}`;
  const decoded = decodeEndpoints(data);
  if (!decoded.ok || decoded.push.told.kind !== 'current') throw new Error(verdictOf(data));
  const [endpoint] = decoded.push.told.facts?.health.endpoints ?? [];
  t.same(Object.keys(endpoint?.meta ?? {}).sort(), ['__proto__', 'constructor', 'zone']);
  t.equal(endpoint?.id, 'constructor@__proto__@h:1');
  t.equal(endpoint?.zone, 'z');
  t.same(decoded.push.told.facts?.health.dropped, {});
  t.equal(({} as Record<string, unknown>).x, undefined);
});

t.test('any bytes at all either are read or refused with a code, never thrown', async (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (data) => {
      const decoded = decodeEndpoints(data);
      return decoded.ok || decoded.problem.code.startsWith('OTR_');
    }),
    { seed: 3, numRuns: 2_000 },
  );
  t.pass();
});
