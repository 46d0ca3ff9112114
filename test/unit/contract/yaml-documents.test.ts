// parseYamlDocuments: values, places, and what hostile texts get.

import t from 'tap';
import { locateProblems, parseYamlDocuments } from '#contract/input/yaml-documents.ts';

const valuesOf = (text: string) => {
  const parsed = parseYamlDocuments(text, 'f.yaml');
  return parsed.ok ? parsed.value.map(({ value }) => value) : null;
};
const problemsOf = (text: string) => {
  const parsed = parseYamlDocuments(text, 'f.yaml');
  return parsed.ok ? [] : parsed.problems.map(({ code, file, line, column }) => `${code} ${file}:${line}:${column}`);
};

t.test('several documents, empty ones left out, JSON too', async (t) => {
  t.same(valuesOf('a: 1\n---\n# nothing\n---\n- x\n'), [{ a: 1 }, ['x']]);
  t.same(valuesOf(''), []);
  t.same(valuesOf('{\n\t"a": [1, "\\u0041", null],\n\t"b": {}\n}'), [{ a: [1, 'A', null], b: {} }]);
  t.same(valuesOf('a: yes\nb: 0o17\nc: 1:30'), [{ a: 'yes', b: 15, c: '1:30' }], 'YAML 1.2: yes is a text');
});

t.test('places of values, keys and of what is not there', async (t) => {
  const parsed = parseYamlDocuments('a: 1\n---\nspec:\n  rules:\n    - name: x\n      "odd.key": { y: 2 }\n', 'f.yaml');
  const document = parsed.ok ? parsed.value[1] : undefined;
  if (document === undefined) return t.fail('must parse');
  t.same(document.locate('spec.rules[0].name'), { line: 5, column: 13 });
  t.same(document.locate('spec.rules[0].name', 'key'), { line: 5, column: 7 });
  t.same(document.locate('spec.rules[0]["odd.key"].y'), { line: 6, column: 23 });
  t.same(document.locate('spec.rules[7].name'), { line: 5, column: 5 }, 'the deepest part that exists');
  t.same(document.locate(''), { line: 3, column: 1 });
  const located = locateProblems([{ code: 'OTR_UNKNOWN_KEY', path: 'spec.rules', message: 'm' }], document, 'f.yaml');
  t.same(located, [{ code: 'OTR_UNKNOWN_KEY', path: 'spec.rules', message: 'm', file: 'f.yaml', line: 4, column: 3 }]);
});

t.test('syntax, duplicate keys, tags and keys that are no text are problems with a place', async (t) => {
  t.same(problemsOf('a: 1\nb: { c: 1, c: 2 }\na: 3\n'), ['OTR_DUPLICATE f.yaml:2:12', 'OTR_DUPLICATE f.yaml:3:1']);
  t.match(problemsOf('a: [1,\n'), [/^OTR_SYNTAX f\.yaml:2:1/]);
  t.same(problemsOf('a: !js/function x'), ['OTR_SYNTAX f.yaml:1:4']);
  t.same(problemsOf('a: !!binary aGk='), ['OTR_SYNTAX f.yaml:1:4']);
  t.same(problemsOf('? [a]\n: 1'), ['OTR_SYNTAX f.yaml:1:3']);
});

t.test('hostile texts end in a problem, not in a hang, a crash or a prototype', async (t) => {
  const level = (name: string, inner: string) => `${name}: &${name} [${`*${inner},`.repeat(9)}*${inner}]\n`;
  t.same(problemsOf(`a: &a [x]\n${level('b', 'a')}${level('c', 'b')}${level('d', 'c')}`), ['OTR_TOO_LARGE f.yaml:1:1']);
  t.same(problemsOf('['.repeat(100_000)), ['OTR_TOO_LARGE f.yaml:1:1']);
  t.match(problemsOf(`${'- '.repeat(20_000)}x`), [/^OTR_TOO_LARGE/]);
  t.same(problemsOf('x'.repeat(5 * 1024 * 1024)), ['OTR_TOO_LARGE f.yaml:1:1']);
  const many = valuesOf(Array.from({ length: 20_000 }, (_, index) => `k${index}: v`).join('\n'));
  t.equal(Object.keys(many?.[0] ?? {}).length, 20_000, 'would take minutes with a quadratic search for duplicates');
  const [value] = valuesOf('__proto__: { polluted: 1 }') ?? [];
  t.same(Object.keys(value ?? {}), ['__proto__']);
  t.equal(({} as { polluted?: unknown }).polluted, undefined);
});
