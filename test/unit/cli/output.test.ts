import { stripVTControlCharacters } from 'node:util';
import t from 'tap';
import { stringify } from 'yaml';
import {
  type Column,
  cutLines,
  formatAge,
  formatMs,
  formatShare,
  formatTable,
  paint,
  renderResult,
} from '../../../cli/output.ts';

interface Row {
  readonly name: string;
  readonly count: number;
}

const columns: readonly Column<Row>[] = [
  { title: 'NAME', cell: ({ name }) => name },
  {
    title: 'COUNT',
    cell: ({ count }) => String(count),
    align: 'right',
    colour: ({ count }) => (count > 9 ? 'red' : null),
  },
  { title: 'NOTE', cell: () => 'x', isWide: true },
];
const rows = [
  { name: 'payments-1', count: 7 },
  { name: 'ö', count: 12 },
];

t.test('a table aligns its columns, right where asked, and ends no line in blanks', async (t) => {
  t.equal(
    formatTable(columns, rows, { hasColours: false }),
    'NAME        COUNT\npayments-1      7\nö              12\n',
  );
  t.match(formatTable(columns, rows, { hasColours: false }, true), /NOTE\n.*x\n/);
  t.equal(formatTable(columns, [], { hasColours: false }), 'NAME  COUNT\n', 'without rows the titles remain');
});

t.test('colours appear only where the terminal has them, and never move a column', async (t) => {
  const painted = formatTable(columns, rows, { hasColours: true });
  t.match(painted, '\u001b[31m');
  const plain = stripVTControlCharacters(painted).replace(/ +\n/g, '\n');
  t.equal(plain, formatTable(columns, rows, { hasColours: false }));
});

t.test('what comes from other machines cannot move the cursor', async (t) => {
  const hostile = [{ name: '\u001b[2Jgone\r\u009b1m\nnext', count: 1 }];
  const table = formatTable(columns, hostile, { hasColours: false });
  t.equal(table, 'NAME               COUNT\n\ufffd[2Jgone\ufffd\ufffd1m next      1\n');
  t.equal(paint({ hasColours: false }, 'red', 'a\u001b]0;title\u0007\nb'), 'a\ufffd]0;title\ufffd\nb');
});

t.test('lines are cut to a narrow screen with their colours closed', async (t) => {
  t.equal(cutLines('abcdef\nabc\n', 4), 'abc…\nabc\n');
  t.equal(cutLines('abcdef', 0), 'abcdef', 'nothing is known of the width');
  const painted = paint({ hasColours: true }, 'red', 'abcdef');
  t.equal(cutLines(`${painted} tail`, 4), '\u001b[31mabc\u001b[39m…');
  t.equal(cutLines(painted, 6), painted, 'escape sequences take no room');
});

t.test('json and yaml carry the data and not the table', async (t) => {
  t.same(JSON.parse(renderResult('json', rows, () => 'table')), rows);
  t.equal(
    renderResult('yaml', rows, () => 'table'),
    stringify(rows),
  );
  t.equal(
    renderResult('wide', rows, () => 'table'),
    'table',
  );
});

t.test('numbers are written for people', async (t) => {
  const table: readonly [unknown, unknown][] = [
    [formatMs(null), '-'],
    [formatMs(0.04), '0.0 ms'],
    [formatMs(9.94), '9.9 ms'],
    [formatMs(43.4), '43 ms'],
    [formatMs(1250), '1.3 s'],
    [formatAge(undefined), '-'],
    [formatAge(-5), '0s'],
    [formatAge(59_999), '59s'],
    [formatAge(60_000), '1m'],
    [formatAge(7_200_000), '2h'],
    [formatAge(200_000_000), '2d'],
    [formatShare(0, 0), '-'],
    [formatShare(1, 1), '100.00 %'],
    [formatShare(99_999, 100_000), '99.99 %'],
  ];
  for (const [actual, wanted] of table) t.equal(actual, wanted);
});
