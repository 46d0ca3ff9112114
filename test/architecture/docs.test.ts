// The reference pages and schema files say what the code says, both ways, and every example is accepted by it.

import { existsSync, globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { listEnvKeys } from '#contract/input/config-source.ts';
import { parseYamlDocuments } from '#contract/input/yaml-documents.ts';
import { checkConsistency } from '#contract/policy/consistency.ts';
import { parsePolicy } from '#contract/policy/parse-policy.ts';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import { PROBLEM_CODES } from '#contract/problem.ts';
import { AgentConfigSchema } from '#contract/schema/agent-config-schema.ts';
import { ControlPlaneConfigSchema } from '#contract/schema/control-plane-config-schema.ts';
import { listFields } from '#contract/schema/field-table.ts';
import { POLICY_SCHEMAS } from '#contract/schema/policy-schema.ts';
import { fillTables, schemaFiles } from '#contract/schema/published.ts';
import { loadAgentConfig } from '../../agent/config.ts';
import { REASON_STATUS } from '../../agent/core/reason.ts';
import { loadControlPlaneConfig } from '../../control-plane/config.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(`${ROOT}/${path}`, 'utf8');

/** Cells of each table row whose first cell is code, by that code. */
function rowsOf(page: string): Map<string, string[]> {
  const rows = page.split('\n').filter((line) => line.startsWith('| `'));
  return new Map(
    rows.map((line) => {
      const cells = line
        .slice(1, -1)
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim());
      return [(cells[0] ?? '').replaceAll('`', ''), cells];
    }),
  );
}

const plain = (cell: string | undefined) => (cell ?? '').replaceAll('`', '');
const fallback = (field: { fallback: string | null; isRequired: boolean }) =>
  field.fallback ?? (field.isRequired ? 'required' : '–');

t.test('generated files are as `npm run schema` writes them', async (t) => {
  for (const [path, text] of Object.entries(schemaFiles())) t.ok(read(path) === text, `${path} is up to date`);
  for (const page of ['docs/policy.md', 'docs/configuration.md', 'docs/errors.md']) {
    t.ok(read(page) === fillTables(read(page)), `${page} is up to date`);
  }
});

t.test('docs/policy.md has every field with its default, and no other', async (t) => {
  const rows = rowsOf(read('docs/policy.md'));
  const fields = Object.values(POLICY_SCHEMAS).flatMap((schema) => listFields(schema));
  const shown = fields.filter(
    ({ path }) => path !== 'kind' && path !== 'spec' && !/^spec\.overrides\[\]\.(?!caller$)/.test(path),
  );
  t.ok(shown.length > 60, `${shown.length} fields`);
  for (const field of shown) t.equal(plain(rows.get(field.path)?.[1]), fallback(field), field.path);
  t.same(
    [...rows.keys()].filter((path) => !shown.some((field) => field.path === path)),
    [],
  );
});

t.test('docs/configuration.md has every key with its default and variable, and no other', async (t) => {
  const rows = rowsOf(read('docs/configuration.md'));
  const known = new Set<string>();
  for (const schema of [AgentConfigSchema, ControlPlaneConfigSchema]) {
    for (const field of listFields(schema)) {
      known.add(field.path);
      if (field.path !== 'service' && field.path !== 'log.level')
        t.equal(plain(rows.get(field.path)?.[1]), fallback(field), field.path);
    }
    for (const { name, keys } of listEnvKeys(schema)) t.equal(plain(rows.get(keys.join('.'))?.[4]), name, name);
  }
  t.same(
    [...rows.keys()].filter((path) => !known.has(path)),
    [],
  );
});

t.test('docs/errors.md has every reason with its status and every problem code, and no other', async (t) => {
  const rows = rowsOf(read('docs/errors.md'));
  for (const [reason, status] of Object.entries(REASON_STATUS))
    t.equal(rows.get(reason)?.[1], String(status ?? '–'), reason);
  for (const reason of Object.keys(REASON_STATUS)) t.ok(rows.get(reason)?.[3], `${reason} says where to look`);
  for (const [code, text] of Object.entries(PROBLEM_CODES)) t.equal(rows.get(code)?.[1], text, code);
  t.same(
    [...rows.keys()].filter((key) => !(key in REASON_STATUS) && !(key in PROBLEM_CODES)),
    [],
  );
});

t.test('defaults of the schemas are those of the loaders', async (t) => {
  const agent = loadAgentConfig({
    env: { OUTRIGGER_SERVICE_NAME: 'a', OUTRIGGER_SERVICE_PORT: '1', OUTRIGGER_SERVICE_CHECK_HTTP: '/' },
    readFile: read,
  });
  // Saying every default aloud must change nothing.
  const aloud = Object.fromEntries(
    listEnvKeys(AgentConfigSchema).flatMap(({ name, schema }) => {
      const { default: value } = schema;
      if (value === undefined) return [];
      return [[name, typeof value === 'string' ? value : JSON.stringify(value)]];
    }),
  );
  t.ok(Object.keys(aloud).length > 12);
  t.same(
    loadAgentConfig({
      env: { ...aloud, OUTRIGGER_SERVICE_NAME: 'a', OUTRIGGER_SERVICE_PORT: '1', OUTRIGGER_SERVICE_CHECK_HTTP: '/' },
      readFile: read,
    }),
    agent,
  );
  const keys = listEnvKeys(ControlPlaneConfigSchema).filter(({ schema }) => schema.default !== undefined);
  const env = Object.fromEntries(keys.map(({ name, schema }) => [name, String(schema.default)]));
  t.same(loadControlPlaneConfig({ env, readFile: read }), loadControlPlaneConfig({ env: {}, readFile: read }));
});

t.test('every policy document among the examples and on the pages is valid', async (t) => {
  const files = globSync('{examples,docs}/**/*.{yaml,yml,json,md}', { cwd: ROOT })
    .concat(existsSync(`${ROOT}/README.md`) ? ['README.md'] : [])
    .sort();
  let count = 0;
  for (const file of files) {
    const text = read(file);
    const texts = file.endsWith('.md')
      ? [...text.matchAll(/^```(?:yaml|yml)\n([\s\S]*?)^```/gm)].map((match) => match[1] ?? '')
      : [text];
    const documents: PolicyDocument[] = [];
    for (const yaml of texts.filter((candidate) => candidate.includes('outrigger.dev/'))) {
      const parsed = parseYamlDocuments(yaml, file);
      t.ok(parsed.ok, `${file} is YAML`);
      for (const { value } of parsed.ok ? parsed.value : []) {
        const policy = parsePolicy(value);
        t.same(policy.ok ? [] : policy.problems, [], file);
        if (policy.ok) documents.push(policy.value);
        count++;
      }
    }
    if (!file.endsWith('.md')) t.same(checkConsistency(documents), [], `${file} is consistent`);
  }
  t.ok(count >= 2, `${count} documents`);
});

t.test('every configuration among the examples loads', async (t) => {
  const loaders = { agent: loadAgentConfig, 'control-plane': loadControlPlaneConfig };
  let count = 0;
  for (const file of globSync('examples/**/*.{yaml,yml,json}', { cwd: ROOT }).sort()) {
    const kind = /yaml-language-server: \$schema=\S*\/(agent|control-plane)\.schema\.json/.exec(read(file))?.[1];
    if (kind !== 'agent' && kind !== 'control-plane') {
      t.notMatch(file, /\/agents\//, 'an agent configuration names its schema in the first line');
      continue;
    }
    const loaded = loaders[kind]({ file, env: {}, readFile: read });
    t.same(loaded.ok ? [] : loaded.problems, [], file);
    count++;
  }
  t.ok(count >= 2, `${count} configurations`);
});

t.test('every row of docs/faults.md has a test that names it, and the other way round', async (t) => {
  const rows = [...read('docs/faults.md').matchAll(/^\| (U\d+) \|/gm)].map(([, id]) => id ?? '');
  const titles = globSync('test/chaos/*.test.ts', { cwd: ROOT }).flatMap((file) =>
    [...read(file).matchAll(/t\.test\(\s*'((?:U\d+ )+)/g)].flatMap(([, ids = '']) => ids.trim().split(' ')),
  );
  t.ok(rows.length > 10, `${rows.length} rows`);
  t.same([...new Set(titles)].sort(), rows.sort());
});
