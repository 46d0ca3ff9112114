import t from 'tap';
import { MAX_FILTER_LENGTH, parseFilter } from '#contract/policy/filter.ts';

t.test('the tree has or below and below not', async (t) => {
  const is = (key: string) => ({
    kind: 'is',
    selector: { field: 'MetaEntry', key },
    comparison: 'isEmpty',
    value: '',
  });
  const [a, b, c] = ['a', 'b', 'c'].map((key) => `Service.Meta.${key} is empty`);
  t.same(parseFilter(`${a} or ${b} and not ${c}`), {
    ok: true,
    filter: {
      kind: 'or',
      left: is('a'),
      right: { kind: 'and', left: is('b'), right: { kind: 'not', inner: is('c') } },
    },
  });
  t.same(parseFilter('Service.Meta["a.b c\\"d"] == `"x"`'), {
    ok: true,
    filter: { kind: 'is', selector: { field: 'MetaEntry', key: 'a.b c"d' }, comparison: 'equals', value: '"x"' },
  });
  t.same(parseFilter('Service.Meta.a.b != x'), {
    ok: true,
    filter: {
      kind: 'not',
      inner: { kind: 'is', selector: { field: 'MetaEntry', key: 'a.b' }, comparison: 'equals', value: 'x' },
    },
  });
});

t.test('every fault is said with the character at which it stands', async (t) => {
  const cases: [string, number, RegExp][] = [
    ['', 1, /a comparison must stand here/],
    ['Service.Meta.version = "1"', 22, /written ==/],
    ['Service.Meta.version == "1', 25, /does not end/],
    ['Service.Meta.version == ', 25, /a value must stand here/],
    ['Service.Meta.version', 21, /one of ==/],
    ['Service.Meta.version is full', 25, /empty must stand here/],
    ['Service.Version == "1"', 1, /no selector "Service.Version"; known are Service.ID/],
    ['Node.Name == a', 1, /no selector "Node.Name"/],
    ['Service.Tags.x == a', 1, /has no parts/],
    ['Service.Meta. == a', 1, /the key is missing/],
    ['Service.Meta[x] == a', 14, /a key in quotes/],
    ['Service.Tags == "a"', 17, /compared by contains/],
    ['Service.Tags matches "a"', 22, /no text/],
    ['Service.Port contains 8', 23, /is a number/],
    ['Service.Port == http', 17, /with a number/],
    ['Service.ID matches "("', 20, /regular expression of RE2 syntax/],
    ['Service.ID matches "(?=a)"', 20, /regular expression of RE2 syntax/],
    ['"a" == Service.ID', 5, /in or not in/],
    ['(Service.ID == a', 17, /a \) must stand here/],
    ['Service.ID == a)', 16, /and, or, or the end/],
    ['Service.ID == a Service.ID == b', 17, /and, or, or the end/],
    ['Service.ID == a and', 20, /a comparison must stand here/],
    ['and', 1, /no selector "and"/],
    ['Service.ID == \u00e9', 15, /begins no selector/],
    [`${'('.repeat(40)}Service.ID == a`, 34, /at most 32 deep/],
    ['x'.repeat(MAX_FILTER_LENGTH + 1), MAX_FILTER_LENGTH + 1, /only 512 characters/],
  ];
  for (const [text, at, message] of cases) {
    const parsed = parseFilter(text);
    t.equal(parsed.ok, false, text);
    if (parsed.ok) continue;
    t.match(parsed.fault.message, message, text);
    t.equal(parsed.fault.at, at, `${text}: ${parsed.fault.message}`);
  }
});
