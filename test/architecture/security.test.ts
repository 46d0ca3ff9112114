// docs/security.md is whole and names tests that exist; and the rules of it that sources can be asked about.

import { existsSync, globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(`${ROOT}/${path}`, 'utf8');
const PAGE = read('docs/security.md');

/** Cells of the rows whose first cell is S and a number. */
const ROWS = PAGE.split('\n')
  .filter((line) => /^\| S\d+ \|/.test(line))
  .map((line) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim()),
  );

t.test('docs/security.md has S1 to S25, each with a state that its tests or its gap bears out', async (t) => {
  t.same(
    ROWS.map(([id]) => id),
    Array.from({ length: 25 }, (_, at) => `S${at + 1}`),
  );
  for (const [id = '', state = '', what = '', tests = '', missing = ''] of ROWS) {
    t.ok(['done', 'partly', 'open'].includes(state), `${id} is ${state}`);
    const files = [...tests.matchAll(/`(test\/[^`]+)`/g)].map((match) => match[1] ?? '');
    for (const file of files) t.ok(existsSync(`${ROOT}/${file}`), `${id}: ${file} exists`);
    if (state !== 'open') t.ok(what !== '' && files.length > 0, `${id} says what there is and which test shows it`);
    if (state !== 'done') t.ok(missing !== '' || what !== '', `${id} says what is missing`);
    if (state === 'partly') t.ok(missing !== '', `${id} says what is missing`);
  }
});

const sources = globSync('{agent,contract,control-plane,cli}/**/*.ts', { cwd: ROOT }).sort();

t.test('S18: no code from text; child processes in the command line only', async (t) => {
  t.ok(sources.length > 150, `${sources.length} files`);
  const faults = sources.flatMap((file) => {
    const text = read(file);
    const found: string[] = [];
    if (/\beval\(|new Function\(|'node:vm'/.test(text)) found.push(`${file} makes code from text`);
    if (/'node:(child_process|cluster|worker_threads)'/.test(text) && !file.startsWith('cli/')) {
      found.push(`${file} starts processes or threads`);
    }
    return found;
  });
  t.same(faults, []);
});

t.test('S7: RegExp is built from our own schemas only', async (t) => {
  // Patterns of JSON Schemas and of durations: written here, not by users.
  const known = ['contract/input/validate.ts', 'contract/text/durations.ts'];
  const builders = sources.filter((file) => /\bnew RegExp\(|\bRegExp\(/.test(read(file)));
  t.same(
    builders.filter((file) => !known.includes(file)),
    [],
  );
});

t.test('S6: the image has no __proto__', async (t) => {
  t.match(read('Dockerfile'), /^ENTRYPOINT \["node", "--disable-proto=delete", /m);
});

t.test('S21: few dependencies, exact versions, no scripts of others in the image', async (t) => {
  const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> };
  t.ok(Object.keys(dependencies).length <= 12, `${Object.keys(dependencies).length} direct dependencies`);
  for (const [name, version] of Object.entries(dependencies)) t.match(version, /^\d+\.\d+\.\d+$/, name);
  for (const [line] of read('Dockerfile').matchAll(/^RUN npm .*$/gm)) t.match(line, /--ignore-scripts|run build/, line);
});
