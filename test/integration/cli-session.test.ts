// docs/cli-session.md is what the commands print: they are run again before a demo, and compared but for numbers and times.

import { readFileSync } from 'node:fs';
import t from 'tap';
import { buildProgram } from '../../cli/program.ts';
import type { Terminal } from '../../cli/terminal.ts';
import { parseSession, renderSession, runSession, shapeOf, tableLines } from '../support/cli-session.ts';
import { ROOT } from '../support/processes.ts';

const MAX_COLUMNS = 80;
const page = readFileSync(`${ROOT}docs/cli-session.md`, 'utf8');
const documented = parseSession(page);

t.test('the page is as the script writes it, and nothing in it is lost by reading it', async (t) => {
  t.equal(renderSession(documented), page);
});

t.test('every command is in it, but those that run until they are stopped', async (t) => {
  const terminal = { out: () => undefined, err: () => undefined } as unknown as Terminal; // nothing is printed
  const running = ['demo', 'agent', 'run', 'control-plane', 'registry'];
  // These need an instance that is theirs alone: test/integration/cli-store.test.ts, cli.test.ts, policy import's own test.
  const elsewhere = ['store restore', 'policy delete', 'policy import'];
  const names = buildProgram(terminal).commands.flatMap((command) =>
    command.commands.length === 0
      ? [command.name()]
      : command.commands.map((child) => `${command.name()} ${child.name()}`),
  );
  const typed = documented.sections.flatMap(({ steps }) => steps.map((step) => `${step.typed} `));
  t.ok(names.length > 25, `${names.length} commands`);
  t.same(
    names.filter((name) => !typed.some((one) => one.startsWith(`${name} `))),
    [...running, ...elsewhere]
      .filter((name) => names.includes(name))
      .sort((a, b) => names.indexOf(a) - names.indexOf(b)),
  );
});

t.test('run again they say the same, in tables of 80 columns, with the same keys', { timeout: 118_000 }, async (t) => {
  const seen = await runSession(t);
  t.same(
    seen.sections.map(({ title, steps }) => [title, steps.map(({ typed }) => typed)]),
    documented.sections.map(({ title, steps }) => [title, steps.map(({ typed }) => typed)]),
  );
  let tables = 0;
  for (const [at, { steps }] of seen.sections.entries()) {
    for (const [nth, step] of steps.entries()) {
      const before = documented.sections[at]?.steps[nth];
      t.same(shapeOf(step.out), shapeOf(before?.out ?? ''), `outrigger ${step.typed}`);
      t.equal(step.code, before?.code, `exit code of ${step.typed}`);
      const lines = tableLines(step.out);
      if (lines.length > 0) tables++;
      t.same(
        lines.filter((line) => [...line].length > MAX_COLUMNS),
        [],
        `${step.typed} fits ${MAX_COLUMNS} columns`,
      );
    }
  }
  t.ok(tables >= 8, `${tables} tables`);
  t.same(seen.json, documented.json);
  t.comment(`${seen.sections.reduce((sum, { steps }) => sum + steps.length, 0)} commands, ${tables} tables`);
});
