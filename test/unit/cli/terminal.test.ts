import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import t from 'tap';
import { buildProgram, runCommandLine } from '../../../cli/program.ts';
import { restartDelayMs } from '../../../cli/run/backoff.ts';
import type { Terminal } from '../../../cli/terminal.ts';
import { seededRandom } from '../../support/seeded-random.ts';

interface Recorded extends Terminal {
  readonly stdout: () => string;
  readonly stderr: () => string;
}

function recordingTerminal(env: Record<string, string> = {}): Recorded {
  let out = '';
  let err = '';
  return {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    isInteractive: false,
    hasColours: false,
    columns: 0,
    env,
    epochMs: () => 1_700_000_000_000,
    exitCode: 0,
    stdout: () => out,
    stderr: () => err,
  };
}

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const terminal = recordingTerminal();
  const code = await runCommandLine(args, terminal);
  return { code, out: terminal.stdout(), err: terminal.stderr() };
}

t.test('help and version are no errors; anything misspelt is usage, with a suggestion', async (t) => {
  const help = await run('--help');
  t.equal(help.code, 0);
  for (const command of [
    'agent',
    'control-plane',
    'demo',
    'run',
    'status',
    'endpoints',
    'policy',
    'schema',
    'registry',
  ]) {
    t.match(help.out, command);
  }
  t.match(await run('--version'), { code: 0, out: /^\d+\.\d+\.\d+\n$/ });
  t.match(await run('statsu'), { code: 2, err: /Did you mean status\?/ });
  t.match(await run('status', '--wach'), { code: 2, err: /Did you mean --watch\?/ });
  t.match(await run('status', '-o', 'xml'), { code: 2, err: /table, wide, json, yaml/ });
  t.match(await run('demo', '--break', 'payments-1=fire'), { code: 2, err: /payments-2=slow/ });
  t.match(await run('demo', '--break', 'payments-9=slow'), {
    code: 2,
    err: /no instance 'payments-9'.*next .*payments-4/s,
  });
  t.match(await run('demo', '--duration', '5'), { code: 2, err: /at least 20s/ });
  t.match(await run('policy', 'get', 'ServicePolcy/payments'), {
    code: 2,
    err: /did you mean ServicePolicy\/payments/,
  });
});

t.test('the reference page lists the commands that exist, all of them', async (t) => {
  const page = readFileSync(new URL('../../../docs/cli.md', import.meta.url), 'utf8');
  const listed = [...page.matchAll(/^\| `([a-z-]+)` \|/gm)].map((match) => match[1]);
  const existing = buildProgram(recordingTerminal()).commands.map((command) => command.name());
  t.same(listed.toSorted(), existing.toSorted());
  const options = new Set<string>(['--help', '--version']);
  const collect = ({ commands, options: own }: Command): void => {
    for (const { long } of own) if (typeof long === 'string') options.add(long);
    for (const command of commands) collect(command);
  };
  collect(buildProgram(recordingTerminal()));
  const named = new Set(page.match(/(?<![\w-])--[a-z][a-z-]+/g));
  t.same([...named].filter((name) => !options.has(name)).toSorted(), [], 'no option that is not there');
  t.same([...options].filter((name) => !named.has(name)).toSorted(), [], 'and all that are');
  const policy = buildProgram(recordingTerminal()).commands.find((command) => command.name() === 'policy');
  for (const command of policy?.commands ?? []) t.match(page, `\`${command.name()}`, `policy ${command.name()}`);
});

t.test('a refused connection says what to do next', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo; // listening on TCP
  await new Promise((resolve) => server.close(resolve));
  const result = await run('status', '--control-plane', `http://127.0.0.1:${port}`);
  t.equal(result.code, 1);
  t.match(result.err, `no control plane answers at http://127.0.0.1:${port}`);
  t.match(result.err, /next .*outrigger control-plane/);
  t.match(await run('status', '--control-plane', 'localhost'), { code: 2, err: /must be a URL/ });
});

t.test('an address that is no control plane is told apart from one', async (t) => {
  const server = createServer((_, response) => response.end('{"hello":1}')).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo; // listening on TCP
  const result = await run('status', '--control-plane', `http://127.0.0.1:${port}`);
  t.match(result, { code: 1, err: /no list 'agents'/ });
});

t.test('policy apply checks everything before it sends anything', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'outrigger-cli-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const good =
    'apiVersion: outrigger.dev/v1\nkind: ServicePolicy\nmetadata: { name: payments }\nspec:\n  timeouts: { connect: 1s }\n';
  const bad = good.replace('connect: 1s', 'conect: 1s').replace('payments', 'orders');
  writeFileSync(join(folder, 'a.yaml'), good);
  writeFileSync(join(folder, 'b.yaml'), `${good}---\n${bad}`);
  // Nothing listens on the discard port: reaching for it would be exit code 1.
  const url = 'http://127.0.0.1:9';
  const result = await run('policy', 'apply', '-f', folder, '--control-plane', url);
  t.equal(result.code, 2);
  t.match(result.err, /b\.yaml:11:15/);
  t.match(result.err, /conect/);
  t.match(result.err, /b\.yaml:3:19.*\n.*\n.*given twice/);
  t.match(await run('policy', 'apply', '-f', join(folder, 'c.yaml')), { code: 2, err: /no such file/ });
  rmSync(join(folder, 'b.yaml'));
  t.match(await run('policy', 'apply', '-f', folder, '--control-plane', url), { code: 1, err: /control plane/ });
});

t.test('schema prints a JSON Schema with descriptions', async (t) => {
  const { code, out } = await run('schema', 'policy');
  t.equal(code, 0);
  const schema = JSON.parse(out);
  t.match(schema.$schema, 'json-schema.org');
  t.match(out, /baseEjectionTime/);
  t.match((await run('schema', 'agent')).out, '"upstreams"');
  t.match((await run('schema', 'control-plane')).out, '"tokensFile"');
  t.match(await run('schema', 'polcy'), { code: 2, err: /policy, agent, control-plane/ });
});

t.test('restarts back off from half a second to ten, spread over the whole range', async (t) => {
  const random = seededRandom(7);
  for (const [crashes, cap] of [
    [1, 500],
    [2, 1000],
    [5, 8000],
    [6, 10_000],
    [40, 10_000],
  ] as const) {
    const delays = Array.from({ length: 200 }, () => restartDelayMs(crashes, random));
    t.ok(Math.max(...delays) <= cap && Math.max(...delays) > cap * 0.9, `crash ${crashes} reaches up to ${cap} ms`);
    t.ok(Math.min(...delays) < cap * 0.1, 'and down to nothing');
  }
});
