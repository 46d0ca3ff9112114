// Every row of bad-input.md about HTTP/1 has a test whose title starts with its id, or a reason in docs/http-exceptions.md;
// docs/bad-input-coverage.md is the list of them. `OUTRIGGER_WRITE_DOCS=1` writes the page anew.

import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { badInputIds } from '../support/bad-input-rows.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PAGE = `${ROOT}docs/bad-input-coverage.md`;
/** A title: the first argument of a test, or the first cell of a table row that becomes one. */
const TITLE = /(?:\.test\(\s*|\[\s*)(['`])((?:[A-K]\d{1,2} )+)(.+?)\1/g;

interface Titled {
  readonly file: string;
  readonly title: string;
}

function titlesById(): Map<string, Titled[]> {
  const found = new Map<string, Titled[]>();
  for (const file of globSync('test/**/*.test.ts', { cwd: ROOT }).sort()) {
    for (const [, , ids = '', rest = ''] of readFileSync(ROOT + file, 'utf8').matchAll(TITLE)) {
      const numbers = ids.trim().split(' ');
      for (const id of numbers) {
        const list = found.get(id) ?? [];
        list.push({ file, title: rest });
        found.set(id, list);
      }
    }
  }
  return found;
}

function exceptions(): Map<string, string> {
  const page = readFileSync(`${ROOT}docs/http-exceptions.md`, 'utf8');
  const rows = [...page.matchAll(/^\| ([A-K]\d{1,2}) \| (.+?) \|/gm)];
  return new Map(rows.map(([, id = '', text = '']) => [id, text]));
}

function page(titles: ReadonlyMap<string, readonly Titled[]>, excepted: ReadonlyMap<string, string>): string {
  const rows = badInputIds().map((id) => {
    const tests = (titles.get(id) ?? []).map(({ file, title }) => `${title} (\`${file.slice('test/'.length)}\`)`);
    const cell = tests.join('<br>').replaceAll('|', '\\|');
    const note = excepted.has(id) ? ' [differs](http-exceptions.md)' : '';
    return `| ${id}${note} | ${cell === '' ? '–' : cell} |`;
  });
  return `# Hostile input: row by row

Every way we know to confuse an HTTP/1 proxy has a number, and every number has tests. Rows that are decided differently, or
that cannot happen here, say so in [http-exceptions.md](http-exceptions.md). A test keeps this page complete and true.

| row | tests |
| --- | --- |
${rows.join('\n')}
`;
}

t.test('every row about HTTP/1 has a test named after it, or a reason why not', async (t) => {
  const titles = titlesById();
  const excepted = exceptions();
  const ids = badInputIds();
  t.same(
    ids.filter((id) => !titles.has(id) && !excepted.has(id)),
    [],
    'rows without a test',
  );
  t.same(
    [...titles.keys(), ...excepted.keys()].filter((id) => !ids.includes(id)),
    [],
    'ids that no row has',
  );
});

t.test('docs/bad-input-coverage.md is complete and true', async (t) => {
  const expected = page(titlesById(), exceptions());
  if (process.env.OUTRIGGER_WRITE_DOCS === '1') writeFileSync(PAGE, expected);
  t.equal(readFileSync(PAGE, 'utf8'), expected, 'run this test with OUTRIGGER_WRITE_DOCS=1 to write it anew');
});
