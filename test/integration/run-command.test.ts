// `outrigger run` with real processes: a stand-in for the agent that does what the supervisor relies on, and small applications.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { systemClock } from '../../agent/clock.ts';
import { startNode, wrapChild } from '../../cli/children.ts';
import { Supervisor, type SupervisorOptions } from '../../cli/run/supervisor.ts';

const AGENT = `
import { appendFileSync, writeFileSync } from 'node:fs';
const [journal, ready] = process.argv.slice(2);
const note = (text) => appendFileSync(journal, text + '\\n');
note('agent started');
setTimeout(() => { writeFileSync(ready, ''); note('agent ready'); }, 100);
process.once('SIGTERM', () => { note('agent stopped'); process.exit(0); });
process.once('SIGUSR2', () => process.exit(9));
process.once('disconnect', () => process.exit(0));
setInterval(() => {}, 1000);
`;

interface World {
  readonly supervisor: Supervisor;
  readonly said: string[];
  journal(): string[];
  /** The running stand-in. */
  agent(): ReturnType<typeof startNode> | null;
}

/** @param app  an ES module; `note(text)` writes to the journal, `count` is how often it was started, from 1 */
function createWorld(t: Test, app: string, overrides: Partial<SupervisorOptions> = {}, agentScript = AGENT): World {
  const folder = mkdtempSync(join(tmpdir(), 'outrigger-run-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const path = (name: string): string => join(folder, name);
  writeFileSync(path('agent.mjs'), agentScript);
  writeFileSync(
    path('app.mjs'),
    `import { appendFileSync, readFileSync } from 'node:fs';
const note = (text) => appendFileSync(${JSON.stringify(path('journal'))}, text + '\\n');
note('app started');
const count = readFileSync(${JSON.stringify(path('journal'))}, 'utf8').split('app started').length - 1;
${app}`,
  );
  const said: string[] = [];
  let agent: ReturnType<typeof startNode> | null = null;
  const journal = (): string[] =>
    existsSync(path('journal')) ? readFileSync(path('journal'), 'utf8').trimEnd().split('\n') : [];
  const supervisor = new Supervisor({
    startAgent: () => {
      agent = startNode('agent', path('agent.mjs'), [path('journal'), path('ready')]);
      return agent;
    },
    startApp: () => wrapChild('app', spawn(process.execPath, [path('app.mjs')], { stdio: 'ignore' })),
    isAgentReady: async () => existsSync(path('ready')),
    drainAgent: async () => {
      said.push('drain');
    },
    say: (text) => said.push(text),
    clock: systemClock,
    random: () => 0,
    readyDeadlineMs: 10_000,
    graceMs: 5_000,
    restartsApp: true,
    ...overrides,
  });
  return { supervisor, said, journal, agent: () => agent };
}

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 500 && !condition(); tries++) await sleep(10);
}

t.test('a batch job: ready agent, then the job, then the end of the agent, and the exit code of the job', async (t) => {
  const world = createWorld(t, `note('job done');`);
  t.equal(await world.supervisor.run(), 0);
  t.same(world.journal(), ['agent started', 'agent ready', 'app started', 'job done', 'agent stopped']);
});

t.test('a crashed application is started again until it ends well', async (t) => {
  const world = createWorld(t, `process.exit(count < 3 ? 7 : 0);`);
  t.equal(await world.supervisor.run(), 0);
  t.equal(world.journal().filter((line) => line === 'app started').length, 3);
  t.match(world.said, [/application exited with code 7/, /application exited with code 7/]);
});

t.test('without restarts the exit code of the application is that of the run', async (t) => {
  const world = createWorld(t, `process.exit(7);`, { restartsApp: false });
  t.equal(await world.supervisor.run(), 7);
  t.equal(world.journal().at(-1), 'agent stopped');
});

t.test('a signal drains the agent first, goes to the application, and the agent ends last', async (t) => {
  const world = createWorld(
    t,
    `process.once('SIGTERM', () => { note('app got SIGTERM'); process.exit(5); }); setInterval(() => {}, 1000); note('app waits');`,
  );
  const run = world.supervisor.run();
  await until(() => world.journal().includes('app waits'));
  await world.supervisor.signal('SIGTERM', false);
  t.equal(await run, 5);
  t.same(world.said, ['drain']);
  t.same(world.journal().slice(-2), ['app got SIGTERM', 'agent stopped']);
});

t.test('an application that ignores the signal is killed after the grace, and the code says so', async (t) => {
  const world = createWorld(t, `process.on('SIGTERM', () => {}); setInterval(() => {}, 1000); note('app waits');`, {
    graceMs: 200,
  });
  const run = world.supervisor.run();
  await until(() => world.journal().includes('app waits'));
  await world.supervisor.signal('SIGTERM', false);
  t.equal(await run, 128 + 9);
});

t.test('an agent that cannot start ends the run with its own words and the configuration exit code', async (t) => {
  const world = createWorld(t, '', {}, `console.error('upstreams[0] is wrong'); process.exitCode = 2;`);
  await t.rejects(world.supervisor.run(), { exitCode: 2, message: /before it was ready\n.*upstreams\[0\] is wrong/ });
  t.same(world.journal(), [], 'the application never started');
});

t.test('a crashed agent is started again while the application keeps running', async (t) => {
  const world = createWorld(
    t,
    `process.once('SIGTERM', () => process.exit(0)); setInterval(() => {}, 1000); note('app waits');`,
  );
  const run = world.supervisor.run();
  await until(() => world.journal().includes('app waits'));
  world.agent()?.signal('SIGUSR2');
  const starts = (name: string): number => world.journal().filter((line) => line === `${name} started`).length;
  await until(() => starts('agent') === 2);
  t.equal(starts('agent'), 2);
  t.equal(starts('app'), 1);
  // Its handler for SIGTERM is in place once it says that it is ready.
  await until(() => world.journal().filter((line) => line === 'agent ready').length === 2);
  await world.supervisor.signal('SIGTERM', false);
  t.equal(await run, 0);
  t.match(world.said[0], /agent exited with code 9/);
});
