// What tokens may do, the chain of the audit log, pages of lists, and what an agent is sent: the pure halves.

import { createHash } from 'node:crypto';
import t from 'tap';
import { checkConsistency } from '#contract/policy/consistency.ts';
import { planService } from '#contract/policy/plan.ts';
import type { PolicyDocument, PolicyKind } from '#contract/policy/policy.ts';
import {
  type AuditDraft,
  type AuditEntry,
  CHAIN_START,
  chain,
  firstBroken,
} from '../../../control-plane/core/audit.ts';
import { pageOf } from '../../../control-plane/core/pages.ts';
import { documentsFor } from '../../../control-plane/core/scope.ts';
import {
  isExpired,
  isNameGlob,
  maySpeakFor,
  mayWrite,
  type Token,
  tokenView,
} from '../../../control-plane/core/tokens.ts';

const digest = (text: string) => createHash('sha256').update(text).digest('hex');
const TOKEN: Token = {
  id: 'a1',
  name: 'orders',
  role: 'agent',
  sha256: digest('secret'),
  services: null,
  agents: null,
  expiresAtEpochMs: null,
};
const DRAFT: AuditDraft = {
  atEpochMs: 1,
  actor: 'ops',
  tokenId: 'a1',
  role: 'admin',
  from: '127.0.0.1',
  method: 'PUT',
  path: '/v1/policies/ServicePolicy/a',
  verdict: 'allowed',
  status: 200,
  code: null,
  result: 'revision 1',
};

function entries(count: number): AuditEntry[] {
  const list: AuditEntry[] = [];
  for (let at = 0; at < count; at++) list.push(chain({ ...DRAFT, atEpochMs: at }, list.at(-1) ?? null, digest));
  return list;
}

t.test('a token ends at its instant, and a view of it has no digest', async (t) => {
  t.equal(isExpired(TOKEN, Number.MAX_SAFE_INTEGER), false);
  const ending = { ...TOKEN, expiresAtEpochMs: 1_000 };
  t.equal(isExpired(ending, 999), false);
  t.equal(isExpired(ending, 1_000), true);
  t.match(tokenView(ending, 1_000), { state: 'expired', source: 'configuration', name: 'orders' });
  t.notMatch(JSON.stringify(tokenView(TOKEN, 0)), TOKEN.sha256);
});

t.test('a bound agent token is for its services and ids; whoever does not say the service is refused', async (t) => {
  const bound = { ...TOKEN, services: ['orders', 'pay-*'], agents: ['orders-*'] };
  t.ok(maySpeakFor(bound, 'orders-1', 'orders'));
  t.ok(maySpeakFor(bound, 'orders-1', 'pay-in'));
  t.ok(maySpeakFor(bound, 'orders-1', undefined), 'judged before');
  for (const [id, service] of [
    ['orders-1', null],
    ['orders-1', 'payments'],
    ['payments-1', 'orders'],
    ['orders', 'orders'],
  ] as const) {
    t.notOk(maySpeakFor(bound, id, service), `${id} ${service}`);
  }
  t.ok(maySpeakFor(TOKEN, 'any', null));
});

t.test('a bound editor writes documents of its services and not what holds for all', async (t) => {
  const bound: Token = { ...TOKEN, role: 'editor', services: ['shop-*'] };
  t.ok(mayWrite(bound, 'ServicePolicy', 'shop-cart'));
  t.notOk(mayWrite(bound, 'ServicePolicy', 'payments'));
  t.notOk(mayWrite({ ...bound, services: ['*'] }, 'MeshDefaults', 'global'));
  t.ok(mayWrite({ ...bound, services: null }, 'MeshDefaults', 'global'));
  for (const glob of ['*', 'a', 'shop-*', '*-db', 'A*b']) t.ok(isNameGlob(glob), glob);
  for (const glob of ['', 'a b', '/', '-a', 'a'.repeat(129), '*/']) t.notOk(isNameGlob(glob), glob);
});

t.test('the chain names the first entry that was changed, taken out, put in or moved', async (t) => {
  const list = entries(20);
  t.equal(list[0]?.previousHash, CHAIN_START);
  t.equal(firstBroken(list, null, digest), null);
  t.equal(firstBroken(list.slice(10), list[9] ?? null, digest), null, 'in runs');
  const keys = Object.keys(DRAFT) as (keyof AuditDraft)[];
  for (const key of [...keys, 'previousHash', 'hash'] as const) {
    const changed = list.map((entry) => (entry.sequence === 7 ? { ...entry, [key]: 'other' } : entry));
    t.same(firstBroken(changed, null, digest), { sequence: 7, reason: 'changed' }, key);
  }
  const without = list.filter(({ sequence }) => sequence !== 7);
  t.same(firstBroken(without, null, digest), { sequence: 7, reason: 'missing' });
  t.same(firstBroken(list.slice(1), null, digest), { sequence: 1, reason: 'missing' });
  const twice = list.flatMap((entry) => (entry.sequence === 7 ? [entry, entry] : [entry]));
  t.same(firstBroken(twice, null, digest), { sequence: 7, reason: 'out of place' });
  // Taken out, and everything after it counted anew: the hashes give it away.
  const renumbered = without.map((entry, index) => ({ ...entry, sequence: index + 1 }));
  t.same(firstBroken(renumbered, null, digest), { sequence: 7, reason: 'changed' });
});

t.test('pages neither repeat nor skip what is there all the time', async (t) => {
  const keyOf = (text: string) => text;
  const list = ['d', 'a', 'c', 'b'];
  t.same(pageOf(list, keyOf, { limit: 3, cursor: null }), { items: ['a', 'b', 'c'], nextCursor: 'c' });
  t.same(pageOf(list, keyOf, { limit: 4, cursor: null }), { items: ['a', 'b', 'c', 'd'], nextCursor: null });
  // Between the pages `aa` came and `c` went.
  t.same(pageOf(['d', 'a', 'aa', 'b'], keyOf, { limit: 3, cursor: 'c' }), { items: ['d'], nextCursor: null });
  t.same(pageOf([], keyOf, { limit: 1, cursor: null }), { items: [], nextCursor: null });
});

const doc = (kind: PolicyKind, name: string, spec: Record<string, unknown>): PolicyDocument => ({
  apiVersion: 'outrigger.dev/v1',
  kind,
  metadata: { name },
  spec,
});
const DOCUMENTS = [
  doc('MeshDefaults', 'global', { timeouts: { request: '9s' } }),
  doc('ServicePolicy', 'orders', { overrides: [{ caller: 'web', timeouts: { request: '1s' } }] }),
  doc('ServicePolicy', 'payments', {
    timeouts: { request: '3s' },
    overrides: [
      { caller: 'ord*', timeouts: { request: '2s' } },
      { caller: 'secret-caller', timeouts: { request: '4s' } },
    ],
  }),
  doc('ServiceIntentions', 'payments', {
    defaultAction: 'deny',
    sources: [
      { name: 'orders', action: 'allow' },
      { name: 'secret-caller', action: 'allow' },
    ],
  }),
  doc('ServicePolicy', 'vault', { timeouts: { request: '5s' } }),
  doc('HTTPRoute', 'vault', { rules: [{ backendRefs: [{ name: 'hidden' }] }] }),
  doc('ServiceIntentions', 'vault', { defaultAction: 'deny', sources: [{ name: 'secret-caller', action: 'allow' }] }),
  doc('HTTPRoute', 'payments', {
    rules: [
      {
        backendRefs: [{ name: 'payments-v2' }],
        filters: [{ type: 'RequestMirror', requestMirror: { backendRef: { name: 'shadow', subset: 'a' } } }],
      },
    ],
  }),
  doc('ServicePolicy', 'shadow', { subsets: { a: { filter: 'Service.ID is not empty' } } }),
  doc('ServiceIntentions', 'shadow', { defaultAction: 'deny' }),
  doc('HTTPRoute', 'payments-v2', { rules: [{ backendRefs: [{ name: 'third', subset: 'b' }] }] }),
  doc('ServicePolicy', 'third', { subsets: { b: { filter: 'Service.ID is not empty' } } }),
  doc('ServiceIntentions', 'third', { defaultAction: 'deny' }),
  doc('ServicePolicy', 'payments-v2', { timeouts: { request: '6s' } }),
  doc('ServiceIntentions', 'payments-v2', { defaultAction: 'deny' }),
];

t.test('an agent is sent what can change its own calls, and nobody else’s names', async (t) => {
  const sent = documentsFor('orders', DOCUMENTS);
  const ids = sent.map(({ kind, metadata }) => `${kind}/${metadata.name}`);
  t.notOk(ids.includes('ServicePolicy/vault'), 'denied outright');
  t.notOk(ids.includes('HTTPRoute/vault'));
  t.ok(ids.includes('ServicePolicy/payments-v2'), 'a backend of a route that it may take');
  t.ok(ids.includes('ServiceIntentions/vault'), 'without it the agent would let the call pass');
  t.same(sent[1], DOCUMENTS[1], 'its own documents are whole');
  t.notMatch(JSON.stringify(sent), /secret-caller|hidden/);
  t.equal(planService(sent, 'orders', 'vault').permission.kind, 'deny');
});

t.test('an agent never gets a route without the subsets that it names', async (t) => {
  t.same(checkConsistency(DOCUMENTS), []);
  for (const caller of ['orders', 'payments', 'payments-v2', 'shadow', 'secret-caller', 'stranger']) {
    t.same(checkConsistency(documentsFor(caller, DOCUMENTS)), [], caller);
  }
});

t.test('what is sent means the same to the agent as the whole set', async (t) => {
  for (const caller of ['orders', 'web', 'secret-caller', 'payments', 'stranger']) {
    const sent = documentsFor(caller, DOCUMENTS);
    for (const service of ['orders', 'payments', 'payments-v2', 'vault', 'hidden', 'none']) {
      const whole = planService(DOCUMENTS, caller, service);
      const own = planService(sent, caller, service);
      t.same(own.permission, whole.permission, `${caller} → ${service}`);
      if (whole.permission.kind !== 'deny') t.same(own, whole, `${caller} → ${service}`);
    }
  }
});
