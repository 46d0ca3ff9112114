// Parts of commands that need no mesh: sums of edges, lines of a tap, differences of texts, completion, guesses.

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { completionEntries } from '../../../cli/completion.ts';
import { diffLines, renderDiff } from '../../../cli/diff.ts';
import { buildProgram, runCommandLine } from '../../../cli/program.ts';
import { statRows } from '../../../cli/stat.ts';
import { tapLine } from '../../../cli/tap.ts';
import type { Terminal } from '../../../cli/terminal.ts';
import type { EdgeView } from '../../../control-plane/core/views.ts';
import { temporaryFolder } from '../../support/processes.ts';

const PLAIN = { hasColours: false };

function createTerminal(): Terminal & { text(): string } {
  let said = '';
  const say = (text: string): void => {
    said += text;
  };
  return {
    out: say,
    err: say,
    text: () => said,
    isInteractive: false,
    hasColours: false,
    columns: 0,
    env: {},
    epochMs: () => 0,
    exitCode: 0,
  };
}

function edge(changes: Partial<EdgeView>): EdgeView {
  return {
    agentId: 'web-1',
    direction: 'outbound',
    source: 'web',
    destination: 'orders',
    requestsPerSecond: 10,
    successShare: 1,
    retriesPerSecond: 0,
    inFlight: 1,
    p50Ms: 2,
    p95Ms: 5,
    p99Ms: 9,
    ...changes,
  };
}

t.test('stat adds up agents, keeps the worst latency and leaves inbound edges out', async (t) => {
  const edges = [
    edge({}),
    edge({ agentId: 'web-2', requestsPerSecond: 30, successShare: 0.9, p95Ms: 50, retriesPerSecond: 2 }),
    edge({ direction: 'inbound' }),
    edge({ source: 'mail', requestsPerSecond: 1, p95Ms: null }),
    edge({ source: 'orders', destination: 'payments', requestsPerSecond: 100 }),
  ];
  const rows = statRows(edges, { by: 'edge' });
  t.same(
    rows.map(({ source, destination, agents }) => [source, destination, agents]),
    [
      ['orders', 'payments', 1],
      ['web', 'orders', 2],
      ['mail', 'orders', 1],
    ],
  );
  t.match(rows[1], { requestsPerSecond: 40, p50Ms: 2, p95Ms: 50, retriesPerSecond: 2, inFlight: 2 });
  t.ok(Math.abs((rows[1]?.successShare ?? 0) - 0.925) < 1e-9);
  t.equal(statRows(edges, { by: 'service', to: 'Orders' })[0]?.source, '*');
  t.same(statRows(edges, { by: 'edge', from: 'nobody' }), []);
});

t.test('a line of a tap is one line, whatever a path holds', async (t) => {
  const record = {
    direction: 'outbound',
    source: 'web',
    destination: 'orders',
    method: 'GET',
    path: '/a\n\u001b[2J',
    status: 503,
    result: 'upstream_timeout',
    durationMs: 12,
    bytesIn: 0,
    bytesOut: 0,
    endpoint: null,
    attempts: 2,
    requestId: 'r',
    retryReason: null,
  } as const;
  t.equal(tapLine(record, PLAIN), 'web → orders GET /a\\u{a}\\u{1b}[2J 503 12 ms - 2 attempts upstream_timeout');
});

t.test('differences are the shortest ones, with three lines around', async (t) => {
  const before = 'a\nb\nc\nd\ne\nf\ng\nh\n';
  const lines = diffLines(before, before.replace('g', 'G'));
  t.same(
    lines.filter(({ kind }) => kind !== 'same'),
    [
      { kind: 'removed', text: 'g' },
      { kind: 'added', text: 'G' },
    ],
  );
  t.equal(renderDiff('x', lines, PLAIN), 'x\n  …\n  d\n  e\n  f\n- g\n+ G\n  h\n');
  t.same(diffLines('', 'a\n'), [{ kind: 'added', text: 'a' }]);
  t.same(diffLines('', ''), []);
});

t.test('completion knows every command and option, and bash completes with it', async (t) => {
  const program = buildProgram(createTerminal());
  const entries = new Map(completionEntries(program).map(({ path, words }) => [path, words]));
  for (const command of program.commands) t.ok(entries.get('')?.includes(command.name()), command.name());
  t.ok(entries.get('policy')?.includes('rollback'));
  t.ok(entries.get('policy')?.includes('lint'));
  t.ok(entries.get('policy rollout')?.includes('abort'));
  t.ok(entries.get('explain route')?.includes('--header'));
  t.ok(entries.get('eject')?.includes('--for'));
  const terminal = createTerminal();
  await runCommandLine(['completion', 'bash'], terminal);
  const file = join(temporaryFolder(t), 'completion.bash');
  writeFileSync(file, terminal.text());
  const complete = (...words: string[]): string[] => {
    const script = `source ${file}; COMP_WORDS=(outrigger ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}; _outrigger; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return execFileSync('bash', ['-c', script], { encoding: 'utf8' })
      .split('\n')
      .filter((word) => word !== '');
  };
  t.same(complete('rest'), ['restore']);
  t.same(complete('policy', 'roll'), ['rollout', 'rollback']);
  t.same(complete('policy', 'rollout', 'pa'), ['pause']);
  t.same(complete('endpoints', 'payments', '--ag'), ['--agent']);
  t.same(complete('completion', 'z'), ['zsh']);
  for (const shell of ['zsh', 'fish']) {
    const other = createTerminal();
    t.equal(await runCommandLine(['completion', shell], other), 0);
    t.match(other.text(), 'rollback');
  }
});

t.test('words that are nearly right are answered with the right one', async (t) => {
  const rows: [args: string[], guess: string][] = [
    [['staus'], 'Did you mean status?'],
    [['policy', 'rolback'], 'Did you mean rollback?'],
    [['stat', '--form', 'web'], 'Did you mean --from?'],
    [['break', 'payments-2', 'slwo'], 'did you mean slow?'],
  ];
  for (const [args, guess] of rows) {
    const terminal = createTerminal();
    t.equal(await runCommandLine(args, terminal), 2, args.join(' '));
    t.match(terminal.text(), guess);
  }
});

t.test('every command says in help what it does, and its tables are asked for alike', async (t) => {
  for (const command of buildProgram(createTerminal()).commands) {
    t.ok(command.description().length > 10, command.name());
    const output = command.options.find(({ long }) => long === '--output');
    if (output !== undefined) t.equal(output.short, '-o', command.name());
  }
});
