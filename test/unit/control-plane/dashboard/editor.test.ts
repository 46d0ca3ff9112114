// What the editor writes and offers: YAML that reads back the same, fields and words of the schema at the cursor.

import fc from 'fast-check';
import t from 'tap';
import { parse } from 'yaml';
import { parsePolicy } from '#contract/policy/parse-policy.ts';
import { POLICY_SCHEMAS } from '#contract/schema/policy-schema.ts';
import { completionsAt, type FieldSchema } from '../../../../control-plane/dashboard/src/policies/completion.ts';
import { templateOf } from '../../../../control-plane/dashboard/src/policies/documents.ts';
import { toYaml } from '../../../../control-plane/dashboard/src/policies/to-yaml.ts';

t.test('any JSON value in a mapping reads back as it was', async (t) => {
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom('yes', 'off', 'null', '1e3', '0x10', '- a', 'a: b', '#x', ' ', '5s', '~', '2026-01-01'),
  );
  const value = fc.letrec((tie) => ({
    leaf: fc.oneof(text, fc.integer(), fc.boolean(), fc.constant(null)),
    any: fc.oneof(
      { depthSize: 'small' },
      tie('leaf'),
      fc.array(tie('any'), { maxLength: 4 }),
      fc.dictionary(text, tie('any'), { maxKeys: 4 }),
    ),
  })).any;
  fc.assert(
    fc.property(
      fc.dictionary(
        text.filter((key) => key !== '__proto__'),
        value,
        { minKeys: 1, maxKeys: 4 },
      ),
      (document) => {
        const plain = JSON.parse(JSON.stringify(document));
        t.strictSame(parse(toYaml(plain)), plain);
      },
    ),
    { numRuns: 300 },
  );
});

t.test('what the editor begins with is valid for every kind', async (t) => {
  for (const [kind, name] of [
    ['MeshDefaults', 'global'],
    ['ServicePolicy', 'payments'],
    ['HTTPRoute', 'payments'],
    ['ServiceIntentions', 'payments'],
  ] as const) {
    t.match(parsePolicy(parse(toYaml(templateOf(kind, name)))), { ok: true }, kind);
  }
});

/** `|` is the cursor. */
function offeredAt(kind: keyof typeof POLICY_SCHEMAS, text: string): string[] {
  const offset = text.indexOf('|');
  const schema = POLICY_SCHEMAS[kind] as FieldSchema;
  return completionsAt(text.replace('|', ''), offset, schema).items.map(({ label }) => label);
}

const HEAD = 'apiVersion: outrigger.dev/v1\nkind: ServicePolicy\nmetadata:\n  name: payments\n';

t.test('fields are offered where they belong, and not twice', async (t) => {
  t.same(offeredAt('ServicePolicy', '|'), ['apiVersion', 'kind', 'metadata', 'spec']);
  t.ok(offeredAt('ServicePolicy', `${HEAD}spec:\n  |`).includes('retries'));
  t.same(offeredAt('ServicePolicy', `${HEAD}spec:\n  retr|`), ['retries']);
  t.ok(offeredAt('ServicePolicy', `${HEAD}spec:\n  timeouts:\n    |`).includes('backendRequest'));
  const second = offeredAt('ServicePolicy', `${HEAD}spec:\n  timeouts:\n    request: 1s\n    |\n    idle: 5s\n`);
  t.notOk(second.includes('request') || second.includes('idle'), 'what is there already is not offered');
  t.ok(second.includes('connect'));
  t.notOk(offeredAt('ServicePolicy', `${HEAD}spec:\n  timeouts:\n    request: 1s\n  |`).includes('connect'));
  t.same(offeredAt('ServicePolicy', `${HEAD}spec:\n  nonsense:\n    |`), []);
});

t.test('words are offered after the colon', async (t) => {
  t.same(offeredAt('ServicePolicy', `${HEAD}kind: |`), ['ServicePolicy']);
  t.ok(offeredAt('ServicePolicy', `${HEAD}spec:\n  loadBalancer:\n    policy: |`).includes('peakEwma'));
  t.same(offeredAt('ServicePolicy', `${HEAD}spec:\n  loadBalancer:\n    policy: magl|`), ['maglev']);
});

t.test('fields of items in lists', async (t) => {
  t.ok(offeredAt('HTTPRoute', 'spec:\n  rules:\n    - |').includes('backendRefs'));
  t.ok(offeredAt('HTTPRoute', 'spec:\n  rules:\n    - name: a\n      |').includes('backendRefs'));
  t.ok(offeredAt('HTTPRoute', 'spec:\n  rules:\n    - name: a\n      backendRefs:\n        - |').includes('weight'));
  t.ok(offeredAt('HTTPRoute', 'spec:\n  rules:\n  - name: a\n    |').includes('backendRefs'), 'dashes below the key');
});
