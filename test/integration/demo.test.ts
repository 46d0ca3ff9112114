// The demo as a person starts it: a whole mesh in real processes. It judges itself; this file checks that it does, and that
// nothing is left behind however it ends.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';

const COMMAND = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));

interface Demo {
  readonly process: ChildProcess;
  readonly folder: string;
  output(): string;
  exited(): Promise<number | null>;
  /** Processes that carry this demo's TMPDIR in their environment, the demo itself included. */
  processes(): number[];
}

function startDemo(t: Test, ...args: string[]): Demo {
  const folder = mkdtempSync(join(tmpdir(), 'outrigger-demo-test-'));
  const child = spawn(process.execPath, [COMMAND, 'demo', ...args], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
  }
  const exited = once(child, 'exit');
  t.teardown(async () => {
    child.kill('SIGTERM');
    await exited;
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    process: child,
    folder,
    output: () => text,
    exited: async () => (await exited)[0] as number | null, // the event's first argument is the code
    processes: () => processesWith(`TMPDIR=${folder}`),
  };
}

function processesWith(variable: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(variable);
      } catch {
        return false; // ended meanwhile, or somebody else's
      }
    })
    .map(Number);
}

async function until(condition: () => boolean, deadlineMs: number): Promise<boolean> {
  const giveUpAt = performance.now() + deadlineMs;
  while (performance.now() < giveUpAt) {
    if (condition()) return true;
    await sleep(50);
  }
  return condition();
}

const NEEDS_PROC = process.platform === 'linux' ? {} : { skip: 'processes are counted through /proc' };

t.test('demo --once keeps its promises and leaves nothing behind', { timeout: 110_000, ...NEEDS_PROC }, async (t) => {
  const demo = startDemo(t, '--once', '--duration', '20s', '-o', 'json');
  const code = await demo.exited();
  const line = demo.output().trimEnd().split('\n').at(-1) ?? '';
  const verdict = JSON.parse(line);
  // A busy machine may make things late; what happened must be right all the same.
  t.same(
    verdict.broken.filter((promise: string) => !/ took .*, promised/.test(promise)),
    [],
    demo.output(),
  );
  t.equal(code, verdict.broken.length === 0 ? 0 : 1);
  t.match(verdict, { ejected: ['payments-3'], reinstated: ['payments-3'], policy: { acknowledged: 7 } });
  t.ok(verdict.sent > 1_650, `${verdict.sent} requests were sent`);
  t.same(demo.processes(), []);
  t.same(readdirSync(demo.folder), []);
});

t.test(
  'an interrupted demo stops every process and removes its folder',
  { timeout: 60_000, ...NEEDS_PROC },
  async (t) => {
    const demo = startDemo(t);
    t.ok(await until(() => demo.output().includes('mesh ready'), 30_000), demo.output());
    t.equal(demo.processes().length, 10, 'the demo, the control plane, the apps and seven agents');
    demo.process.kill('SIGINT');
    t.equal(await demo.exited(), 0);
    t.same(demo.processes(), []);
    t.same(readdirSync(demo.folder), []);
  },
);

t.test('a demo that is killed outright leaves no process either', { timeout: 60_000, ...NEEDS_PROC }, async (t) => {
  const demo = startDemo(t);
  t.ok(await until(() => demo.output().includes('mesh ready'), 30_000), demo.output());
  demo.process.kill('SIGKILL');
  await demo.exited();
  t.ok(await until(() => demo.processes().length === 0, 20_000), `left: ${demo.processes().join(' ')}`);
});

t.test(
  'a process that dies unexpectedly ends the demo with its name',
  { timeout: 60_000, ...NEEDS_PROC },
  async (t) => {
    const demo = startDemo(t);
    t.ok(await until(() => demo.output().includes('mesh ready'), 30_000), demo.output());
    const victim = demo
      .processes()
      .find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('orders-2/config'));
    t.ok(victim);
    if (victim !== undefined) process.kill(victim, 'SIGKILL');
    t.equal(await demo.exited(), 1);
    t.match(demo.output(), /agent orders-2 was ended by SIGKILL/);
    t.same(demo.processes(), []);
  },
);
