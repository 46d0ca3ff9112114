// What holds for every route: the order of its rules, who moves when weights change, and that reading never throws.

import fc from 'fast-check';
import t from 'tap';
import { compilePattern } from '#contract/input/pattern.ts';
import { MAX_FILTER_LENGTH, parseFilter } from '#contract/policy/filter.ts';
import { parsePolicy } from '#contract/policy/parse-policy.ts';
import { planService } from '#contract/policy/plan.ts';
import type { RouteRule } from '#contract/policy/route-rule.ts';
import { hash32 } from '../../agent/core/hash.ts';
import { matchRoute } from '../../agent/core/route.ts';
import { compileFilter } from '../../agent/core/routes/endpoint-filter.ts';
import { explainRoute } from '../../agent/core/routes/explain-route.ts';
import { queryValue } from '../../agent/core/routes/query.ts';
import { changePath, redirectPlace } from '../../agent/core/routes/rewrite.ts';
import { routeTableOf } from '../../agent/core/routes/route-table.ts';
import { chooseByKey } from '../../agent/core/routes/split.ts';
import { parseTarget } from '../../agent/proxy/http1/request-target.ts';
import { backend } from '../support/rules.ts';
import { endpointAt } from '../support/views.ts';

const SEED = { seed: 20_260_727 };
const value = fc.oneof(
  fc.record({ type: fc.constantFrom('Exact'), name: fc.constantFrom('a', 'b'), value: fc.constantFrom('1', '2') }),
  fc.record({
    type: fc.constantFrom('RegularExpression'),
    name: fc.constantFrom('a', 'b'),
    value: fc.constant('[0-9]'),
  }),
  fc.record({ type: fc.constantFrom('Present'), name: fc.constantFrom('a', 'b') }),
);
const values = fc.uniqueArray(value, { maxLength: 2, selector: ({ name }) => name });
const match = fc.record(
  {
    path: fc.oneof(
      fc.record({ type: fc.constantFrom('Exact', 'PathPrefix'), value: fc.constantFrom('/', '/a', '/a/', '/a/b') }),
      fc.record({ type: fc.constant('RegularExpression'), value: fc.constantFrom('/a.*', '/[a-b]/?') }),
    ),
    method: fc.constantFrom('GET', 'PUT'),
    headers: values,
    queryParams: values,
  },
  { requiredKeys: [] },
);
const rules = fc.array(fc.record({ matches: fc.array(match, { maxLength: 3 }) }), { minLength: 1, maxLength: 6 });
const request = fc.record({
  method: fc.constantFrom('GET', 'PUT', 'POST'),
  target: fc.constantFrom('/', '/a', '/a/b', '/a/b/c', '/ab', '/a?a=1', '/a/b?b=2&a=x', '/b?a'),
  headers: fc.dictionary(fc.constantFrom('a', 'b'), fc.constantFrom('1', '2', 'x')),
});

function compile(specs: readonly unknown[]): readonly RouteRule[] {
  const parsed = parsePolicy({
    apiVersion: 'outrigger.dev/v1',
    kind: 'HTTPRoute',
    metadata: { name: 'api' },
    spec: { parentRefs: [{ kind: 'Service', name: 'api' }], rules: specs },
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return planService([parsed.value], 'web', 'api').rules;
}

/** What precedence goes by, as a list that compares element by element. */
function rank({ matches: [first] }: RouteRule): number[] {
  const path = first?.path ?? null;
  const kind =
    path === null ? 0 : { Exact: 3, PathPrefix: path.value === '/' ? 0 : 2, RegularExpression: 1 }[path.type];
  const length = kind === 2 ? (path?.value.length ?? 0) : 0;
  return [kind, length, first?.method === null ? 0 : 1, first?.headers.length ?? 0, first?.queryParams.length ?? 0];
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  for (const [index, left] of a.entries()) {
    const right = b[index] ?? 0;
    if (left !== right) return right - left;
  }
  return 0;
}

t.test('precedence is a total order: ranks never rise, equals keep the order of the document', async () => {
  fc.assert(
    fc.property(rules, (specs) => {
      const named = specs.map((spec, index) => ({ name: `r${index}`, ...spec }));
      const compiled = compile(named);
      return compiled.every((rule, index) => {
        const next = compiled[index + 1];
        if (next === undefined) return true;
        const order = compareRanks(rank(rule), rank(next));
        return order < 0 || (order === 0 && Number(rule.name.slice(1)) <= Number(next.name.slice(1)));
      });
    }),
    { ...SEED, numRuns: 400 },
  );
});

t.test(
  'the order of rules of different rank does not matter, and the explanation names the rule that matched',
  async () => {
    fc.assert(
      fc.property(rules, request, (specs, { method, target, headers }) => {
        const named = specs.map((spec, index) => ({ name: `r${index}`, ...spec }));
        const header = (name: string) => (Object.hasOwn(headers, name) ? (headers[name] ?? null) : null);
        const table = routeTableOf('svc', compile(named), null);
        const turned = routeTableOf('svc', compile([...named].reverse()), null);
        const found = matchRoute(table, method, target, header);
        const other = matchRoute(turned, method, target, header);
        const explained = explainRoute(table, { method, target, header });
        const isSame = found === null ? other === null : other !== null && compareRanks(rank(found), rank(other)) === 0;
        const misses = explained.misses.every(
          ({ failed, held, parts }) => failed.length > 0 && held + failed.length === parts,
        );
        return isSame && misses && explained.rule === (found?.name ?? null);
      }),
      { ...SEED, numRuns: 400 },
    );
  },
);

const KEYS = Array.from({ length: 4000 }, (_, index) => hash32(`key-${index}`));

function spread(weights: readonly number[]): number[] {
  const backends = weights.map((weight, index) => backend(`backend-${index}`, weight));
  return KEYS.map((key) => chooseByKey(backends, key));
}

t.test('sticky splits: one weight changes, only its own keys move, and no more than its share does', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 100 }), { minLength: 2, maxLength: 6 }),
      fc.nat(5),
      fc.integer({ min: 0, max: 100 }),
      (weights, pick, weight) => {
        const at = pick % weights.length;
        const changed = weights.map((old, index) => (index === at ? weight : old));
        const sum = (list: readonly number[]) => list.reduce((total, one) => total + one, 0);
        if (sum(weights) === 0 || sum(changed) === 0) return true;
        const [before, after] = [spread(weights), spread(changed)];
        const moved = before.filter((one, index) => one !== after[index]).length / KEYS.length;
        const share = (list: readonly number[]) => (list[at] ?? 0) / sum(list);
        const touchesOnlyIt = before.every((one, index) => one === after[index] || one === at || after[index] === at);
        // Exact in expectation; 4000 keys are off by less than four standard deviations.
        return touchesOnlyIt && moved <= Math.abs(share(changed) - share(weights)) + 0.032;
      },
    ),
    { ...SEED, numRuns: 100 },
  );
});

t.test('sticky splits: whatever changes, at most the sum of all changes of shares moves', async () => {
  const weights = fc.array(fc.integer({ min: 0, max: 100 }), { minLength: 4, maxLength: 4 });
  fc.assert(
    fc.property(weights, weights, (before, after) => {
      const sum = (list: readonly number[]) => list.reduce((total, one) => total + one, 0);
      if (sum(before) === 0 || sum(after) === 0) return true;
      const [from, to] = [spread(before), spread(after)];
      const moved = from.filter((one, index) => one !== to[index]).length / KEYS.length;
      const changes = before.reduce(
        (total, weight, index) => total + Math.abs(weight / sum(before) - (after[index] ?? 0) / sum(after)),
        0,
      );
      return moved <= changes + 0.032;
    }),
    { ...SEED, numRuns: 100 },
  );
});

t.test('filters and patterns: any text is read or refused with its place, and what is read never throws', async () => {
  const word = fc.constantFrom(
    ...'Service.ID Service.Tags Service.Meta Service.Meta.a == != in not and or ( ) is empty contains matches "a" ` [ ]'.split(
      ' ',
    ),
  );
  const text = fc.oneof(
    fc.string({ maxLength: MAX_FILTER_LENGTH + 20 }),
    fc.array(word, { maxLength: 30 }).map((words) => words.join(' ')),
  );
  const endpoint = endpointAt(1, { meta: { a: '1' }, tags: ['a'] });
  fc.assert(
    fc.property(text, (input) => {
      const parsed = parseFilter(input);
      const isDecided = typeof compileFilter(input, 'svc')(endpoint) === 'boolean';
      const isPlaced =
        parsed.ok || (parsed.fault.at >= 1 && parsed.fault.at <= input.length + 1 && parsed.fault.message !== '');
      return isDecided && isPlaced;
    }),
    { ...SEED, numRuns: 2000 },
  );
  fc.assert(
    fc.property(fc.string({ maxLength: 300 }), fc.string({ maxLength: 100 }), (pattern, subject) => {
      const compiled = compilePattern(pattern);
      return compiled.ok ? typeof compiled.pattern.test(subject) === 'boolean' : compiled.expected !== '';
    }),
    { ...SEED, numRuns: 1000 },
  );
});

t.test('queryValue() agrees with URLSearchParams wherever that decodes without loss', async () => {
  const part = fc.stringMatching(/^[A-Za-z0-9+%=&.é]{0,12}$/);
  fc.assert(
    fc.property(part, fc.constantFrom('a', 'b', 'A1'), (query, name) => {
      const expected = new URLSearchParams(query).get(name);
      const found = queryValue(`/?${query}`, 1, name);
      return expected === null || expected.includes('\ufffd') || expected.includes('%') || found === expected;
    }),
    { ...SEED, numRuns: 2000 },
  );
});

t.test('a rewritten path is in normal form and a location absolute, whatever the client asked for', async () => {
  const raw = fc
    .array(fc.constantFrom('a', '/', '.', '..', '%2F', '%2e', '%5C', ';', '@', ':', '?', 'evil.example', '//'), {
      maxLength: 12,
    })
    .map((parts) => `/${parts.join('')}`);
  const clean = fc.constantFrom('/', '/x', '/x/y', '/x/');
  fc.assert(
    fc.property(raw, clean, fc.boolean(), (text, replacement, isFull) => {
      const parsed = parseTarget('GET', text);
      if (parsed.kind !== 'target') return true;
      const change = {
        type: isFull ? 'ReplaceFullPath' : 'ReplacePrefixMatch',
        value: replacement,
        prefix: '/',
      } as const;
      const target = changePath(change, parsed.target);
      const again = parseTarget('GET', target);
      const place = redirectPlace(
        { scheme: 'https', hostname: null, port: null, path: change, status: 302 },
        'api:80',
        parsed.target,
      );
      return again.kind === 'target' && again.target === target && new URL(place.location).host === 'api';
    }),
    { ...SEED, numRuns: 2000 },
  );
});
