// What the Markdown pages point at is there: links and their anchors, files in backticks; and the lists in them are those of the
// code and of the tree.

import { execFileSync } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const PAGES = globSync(['*.md', 'docs/*.md', 'examples/**/*.md', 'test/**/*.md'], { cwd: ROOT }).sort();

const withoutCode = (text: string): string =>
  text.replaceAll(/^ *```[\s\S]*?^ *```/gm, '').replaceAll(/`[^`\n]*`/g, '');

/** As GitHub makes them: lower case, punctuation gone, blanks to hyphens, a number for a second one of the same name. */
function anchorsOf(page: string): Set<string> {
  const found = new Set<string>();
  for (const [, heading = ''] of read(page)
    .replaceAll(/^ *```[\s\S]*?^ *```/gm, '')
    .matchAll(/^#{1,6} +(.+)$/gm)) {
    const plain = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const slug = plain
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(/\s/g, '-');
    let anchor = slug;
    for (let turn = 1; found.has(anchor); turn++) anchor = `${slug}-${turn}`;
    found.add(anchor);
  }
  return found;
}

t.test('every relative link leads to a file, and every anchor to a heading', async (t) => {
  t.ok(PAGES.length > 25, `${PAGES.length} pages`);
  let count = 0;
  const broken: string[] = [];
  for (const page of PAGES) {
    for (const [, target = ''] of withoutCode(read(page)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      count += 1;
      const [path = '', anchor] = target.split('#');
      const file = path === '' ? page : normalize(join(dirname(page), path));
      if (!existsSync(join(ROOT, file))) broken.push(`${page}: ${target}`);
      else if (anchor !== undefined && !anchorsOf(file).has(anchor)) broken.push(`${page}: ${target}, no such heading`);
    }
  }
  t.same(broken, []);
  t.ok(count > 60, `${count} links`);
});

t.test('README leads to every page', async (t) => {
  const linked = [...withoutCode(read('README.md')).matchAll(/\]\(([^)\s#]+)/g)].map(([, path = '']) => path);
  const pages = PAGES.filter((page) => page !== 'README.md' && (page.startsWith('docs/') || !page.includes('/')));
  t.same(
    pages.filter((page) => !linked.includes(page)),
    [],
  );
});

t.test('every file that a page names in backticks exists', async (t) => {
  const named =
    /`((?:agent|bench|cli|contract|control-plane|deploy|docs|examples|gateway|schema|scripts|test)\/[\w@./-]+\.\w+)`/g;
  let count = 0;
  const missing: string[] = [];
  const isWrittenByRuns = (path: string) => path.startsWith('bench/results/');
  // What the CHANGELOG names was there when it was written.
  for (const page of PAGES.filter((one) => one !== 'CHANGELOG.md')) {
    for (const [, path = ''] of read(page).matchAll(named)) {
      count += 1;
      if (!existsSync(join(ROOT, path)) && !isWrittenByRuns(path)) missing.push(`${page}: ${path}`);
    }
  }
  t.same(missing, []);
  t.ok(count > 150, `${count} files`);
});

const cells = (row: string): string[] =>
  row
    .slice(1, -1)
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim());

/** Rows of the first table behind a heading, the head first. */
function tableUnder(page: string, heading: string): string[][] {
  const text = read(page);
  const lines = text.slice(text.indexOf(`\n${heading}\n`) + 1).split('\n');
  const first = lines.findIndex((line) => line.startsWith('|'));
  const end = lines.findIndex((line, index) => index > first && !line.startsWith('|'));
  return lines
    .slice(first, end)
    .filter((line) => !/^\| *[-:]/.test(line))
    .map(cells);
}

t.test('the word table of README has a word of each system, and a link for each of ours', async (t) => {
  const [head = [], ...rows] = tableUnder('README.md', '## Coming from another mesh');
  t.same(head, ['Consul Connect', 'Envoy', 'Istio', 'Linkerd', 'HAProxy', 'here']);
  t.ok(rows.length >= 20, `${rows.length} rows`);
  for (const row of rows) {
    t.equal(row.length, head.length, row.join(' | '));
    t.match(row.at(-1), /\]\(docs\/[\w-]+\.md(#[\w-]+)?\)/, row.join(' | '));
    t.ok(
      row.slice(0, -1).some((cell) => cell !== '–'),
      `${row.at(-1)} has another name somewhere`,
    );
  }
  head.forEach((system, column) => {
    const known = rows.filter((row) => row[column] !== '–').length;
    t.ok(known >= 10, `${known} words of ${system}`);
  });
});

t.test('the figures of README are those of docs/benchmarks.md', async (t) => {
  const [head = [], ...rows] = tableUnder('README.md', '## Numbers');
  const [sources = [], ...measured] = tableUnder('docs/benchmarks.md', '### CPU of the proxy process, µs per request');
  t.ok(rows.length >= 6, `${rows.length} proxies`);
  for (const row of rows) {
    const name = (row[0] ?? '')
      .replaceAll('*', '')
      .replace(/ [\d.]+$/, '')
      .toLowerCase();
    const source = measured.find(([proxy]) => proxy === name) ?? [];
    row.slice(1).forEach((cell, index) => {
      const text = cell.replaceAll('*', '');
      const column = head[index + 1] ?? '';
      const digits = text.split('.')[1]?.length ?? 0;
      const value = Number(source[sources.indexOf(column)]);
      t.equal(text, value.toFixed(digits), `${name}, ${column}`);
    });
  }
});

t.test('what README says about availability stands in docs/benchmarks.md', async (t) => {
  const [, ...rows] = tableUnder('README.md', '### While instances fail');
  const [head = [], ...measured] = tableUnder('docs/benchmarks.md', '## Availability while instances fail');
  t.same(head.slice(0, 6), [
    'way',
    'failed GETs',
    'availability',
    'failed POSTs',
    'availability',
    'POSTs executed twice',
  ]);
  t.same(
    rows.map(([way = '', ...rest]) => [way.replaceAll('*', ''), ...rest]),
    measured.map(([way, gets, availability, posts, , twice]) => [way, gets, availability, posts, twice]),
  );
});

t.test('what README says that tests see stands in docs/benchmarks.md, with the test', async (t) => {
  const text = read('README.md');
  const own =
    text.slice(text.indexOf('| what happens | seen |')).split('\n\n')[0]?.split('\n').slice(2).map(cells) ?? [];
  const [, ...sources] = tableUnder('docs/benchmarks.md', '## What tests see');
  t.ok(own.length >= 6, `${own.length} rows`);
  t.same(
    own,
    sources.map(([what, seen]) => [what, seen]),
  );
  for (const [what = '', , test = ''] of sources) t.match(test, /^`test\/[\w/-]+\.test\.ts`$/, what);
});

t.test('the codes of `outrigger check` are those of docs/cli.md', async (t) => {
  const said = globSync(['cli/check.ts', 'cli/check/*.ts'], { cwd: ROOT }).flatMap((file) =>
    [...read(file).matchAll(/(?:say|complain)\(\s*'(?:failure|warning)',\s*'(\w+)'/g)].map(([, code = '']) => code),
  );
  const [, ...rows] = tableUnder('docs/cli.md', '## `outrigger check`');
  const listed = rows.flatMap(([codes = '']) => [...codes.matchAll(/`(\w+)`/g)].map(([, code = '']) => code));
  t.ok(listed.length > 25, `${listed.length} codes`);
  t.same(listed.sort(), [...new Set(said)].sort());
});

t.test('the folders of ARCHITECTURE.md are those of the tree', async (t) => {
  const tracked = String(execFileSync('git', ['ls-files'], { cwd: ROOT }))
    .trim()
    .split('\n');
  const folders = new Set(
    tracked.flatMap((file) => {
      const parts = file.split('/').slice(0, -1);
      return [1, 2].flatMap((depth) => (parts.length < depth ? [] : [`${parts.slice(0, depth).join('/')}/`]));
    }),
  );
  const [, ...rows] = tableUnder('ARCHITECTURE.md', '## Folders');
  const listed = rows.flatMap(([names = '']) => [...names.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name));
  t.same(listed.sort(), [...folders].sort());
});
