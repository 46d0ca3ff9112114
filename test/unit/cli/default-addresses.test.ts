// Commands without an address mean the demo that runs, and nothing else once an address is given.

import { writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { runCommandLine } from '../../../cli/program.ts';
import type { Terminal } from '../../../cli/terminal.ts';

/** Ports on which nobody answers and fetch does not even try. */
const [CONTROL_PLANE, ADMIN, CONSUL] = [1, 7, 9];

function noteDemo(t: Test): void {
  const folder = t.testdir();
  const former = process.env.TMPDIR;
  process.env.TMPDIR = folder;
  t.teardown(() => {
    if (former === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = former;
  });
  const note = {
    pid: process.pid,
    faultPort: 11,
    controlPlanePort: CONTROL_PLANE,
    consulUrl: `http://127.0.0.1:${CONSUL}`,
    instances: ['orders-1'],
    adminPorts: { 'orders-1': ADMIN },
  };
  writeFileSync(join(folder, `outrigger-demo-${userInfo().uid}.json`), JSON.stringify(note), { mode: 0o600 });
}

async function run(args: readonly string[], isInteractive = false): Promise<string> {
  let text = '';
  const say = (part: string): void => {
    text += part;
  };
  const terminal: Terminal = {
    out: say,
    err: say,
    isInteractive,
    hasColours: false,
    columns: 0,
    env: {},
    epochMs: () => 0,
    exitCode: 0,
  };
  await runCommandLine(args, terminal);
  return text;
}

t.test('the demo that runs is asked, and a terminal is told', async (t) => {
  noteDemo(t);
  t.match(await run(['status']), `cannot reach the control plane at http://127.0.0.1:${CONTROL_PLANE}`);
  t.match(
    await run(['policy', 'list']),
    `control plane at http://127.0.0.1:${CONTROL_PLANE}`,
    'commands of commands too',
  );
  t.match(await run(['why']), `cannot reach the agent at http://127.0.0.1:${ADMIN}`);
  t.match(await run(['check']), `http://127.0.0.1:${CONSUL} does not answer`);
  t.notMatch(await run(['status']), '(the demo');
  t.match(await run(['status'], true), `(the demo at http://127.0.0.1:${CONTROL_PLANE})\n`);
});

t.test('an address that is given wins, by argument or environment', async (t) => {
  noteDemo(t);
  t.match(await run(['status', '--control-plane', 'http://127.0.0.1:13']), 'control plane at http://127.0.0.1:13');
  t.match(await run(['why', '--admin', 'http://127.0.0.1:13']), 'agent at http://127.0.0.1:13');
  t.match(await run(['check', '--consul', 'http://127.0.0.1:13']), 'http://127.0.0.1:13 does not answer');
  process.env.OUTRIGGER_CONTROL_PLANE_URL = 'http://127.0.0.1:15';
  t.teardown(() => {
    delete process.env.OUTRIGGER_CONTROL_PLANE_URL;
  });
  t.match(await run(['status'], true), /^error {2}cannot reach the control plane at http:\/\/127\.0\.0\.1:15/);
});

t.test('without a demo the addresses are the usual ones', async (t) => {
  const folder = t.testdir();
  const former = process.env.TMPDIR;
  process.env.TMPDIR = folder;
  t.teardown(() => {
    if (former === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = former;
  });
  t.match(await run(['check']), 'http://127.0.0.1:8500');
});
