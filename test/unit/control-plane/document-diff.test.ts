// Differences of documents, and origins with their revisions.

import t from 'tap';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import { diffDocuments, withOrigins } from '../../../control-plane/core/document-diff.ts';

const document = (spec: Record<string, unknown>): PolicyDocument => ({
  apiVersion: 'outrigger.dev/v1',
  kind: 'ServicePolicy',
  metadata: { name: 'a' },
  spec,
});

t.test('values that came, went and changed, by path', async (t) => {
  const before = document({ retries: { attempts: 1, on: ['5xx', 'reset'] }, limits: {}, kept: null });
  const after = document({ retries: { attempts: 2, on: ['5xx'] }, limits: { maxConnections: 5 }, kept: null });
  t.same(diffDocuments(before, after), [
    { path: 'spec.retries.attempts', before: 1, after: 2 },
    { path: 'spec.retries.on[1]', before: 'reset' },
    { path: 'spec.limits', before: '{}' },
    { path: 'spec.limits.maxConnections', after: 5 },
  ]);
  t.same(diffDocuments(before, before), []);
  t.same(diffDocuments(null, document({ a: [] })), [{ path: 'spec.a', after: '[]' }]);
  t.same(diffDocuments(document({ a: false }), null), [{ path: 'spec.a', before: false }]);
  t.same(diffDocuments(null, null), []);
});

t.test('origins have a revision where the document is in the set', async (t) => {
  const explained = {
    a: { value: 1, from: 'ServicePolicy/x' },
    rules: [{ from: 'HTTPRoute/y' }],
    b: { from: 'default' },
  };
  t.same(withOrigins(explained, new Map([['ServicePolicy/x', 7]])), {
    a: { value: 1, from: { kind: 'ServicePolicy', name: 'x', revision: 7 } },
    rules: [{ from: { kind: 'HTTPRoute', name: 'y', revision: null } }],
    b: { from: { kind: 'default' } },
  });
});
