// docs/policy.md shows every field of every kind in an example, and each of its blocks passes the linter that people run.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { parseYamlDocuments } from '#contract/input/yaml-documents.ts';
import { listFields } from '#contract/schema/field-table.ts';
import { POLICY_SCHEMAS } from '#contract/schema/policy-schema.ts';
import { runCommand } from '../support/command-line.ts';
import { temporaryFolder } from '../support/processes.ts';

const PAGE = readFileSync(fileURLToPath(new URL('../../docs/policy.md', import.meta.url)), 'utf8');
const BLOCKS = [...PAGE.matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map((match) => match[1] ?? '');

/** Paths of a value as the field tables write them: `spec.rules[].matches[].path.type`. */
function pathsOf(value: unknown, path: string): string[] {
  if (Array.isArray(value)) return [path, ...value.flatMap((item) => pathsOf(item, `${path}[]`))];
  if (typeof value !== 'object' || value === null) return [path];
  const inner = Object.entries(value).flatMap(([key, child]) => pathsOf(child, path === '' ? key : `${path}.${key}`));
  return path === '' ? inner : [path, ...inner];
}

t.test('every field stands in an example', async (t) => {
  const shown = new Map<string, Set<string>>();
  for (const block of BLOCKS) {
    const parsed = parseYamlDocuments(block, 'docs/policy.md');
    t.ok(parsed.ok, block);
    for (const { value } of parsed.ok ? parsed.value : []) {
      const kind = String((value as { kind?: unknown }).kind);
      const paths = shown.get(kind) ?? new Set();
      for (const path of pathsOf(value, '')) paths.add(path);
      shown.set(kind, paths);
    }
  }
  // The sections of MeshDefaults and of ServicePolicy are the same.
  const sections = new Set([...(shown.get('MeshDefaults') ?? []), ...(shown.get('ServicePolicy') ?? [])]);
  let count = 0;
  for (const [kind, schema] of Object.entries(POLICY_SCHEMAS)) {
    const found = kind === 'MeshDefaults' || kind === 'ServicePolicy' ? sections : shown.get(kind);
    const missing = listFields(schema)
      .map(({ path }) => path)
      .filter((path) => !/^spec\.overrides\[\]\.(?!caller$)/.test(path))
      .filter((path) => {
        count += 1;
        return found?.has(path) !== true;
      });
    t.same(missing, [], `${kind}: fields without an example`);
  }
  t.ok(count > 200, `${count} fields`);
});

t.test('every block passes `outrigger policy lint`', async (t) => {
  t.ok(BLOCKS.length >= 10, `${BLOCKS.length} blocks`);
  const folder = temporaryFolder(t);
  for (const [index, block] of BLOCKS.entries()) {
    const file = join(folder, `${index}.yaml`);
    writeFileSync(file, block);
    const { code, out, err } = await runCommand(['policy', 'lint', '-f', file]);
    t.equal(code, 0, `${block}\n${out}${err}`);
  }
});
