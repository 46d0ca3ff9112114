import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { openLog } from '../../../../agent/telemetry/log.ts';

const LOG_MODULE = fileURLToPath(new URL('../../../../agent/telemetry/log.ts', import.meta.url));

/** Writes far more than the buffer takes, then ends as told, and says on its other pipe what happened. */
const CHATTERBOX = (end: string) => `
  import { writeSync } from 'node:fs';
  import { openLog } from ${JSON.stringify(LOG_MODULE)};
  const log = openLog({ level: 'info', name: 'chatterbox', maxBufferBytes: 65536 });
  const text = 'y'.repeat(1000);
  let rounds = 0;
  const timer = setInterval(() => {
    for (let i = 0; i < 100; i++) log.logger.info(text);
    if (++rounds < 10) return;
    clearInterval(timer);
    writeSync(2, JSON.stringify({ rounds, dropped: log.droppedLines() }));
    ${end}
  }, 5);
`;

interface Ended {
  readonly code: number | null;
  readonly said: string;
}

/** Runs a script whose standard output nobody reads; ends it by force after ten seconds. */
function runStalled(t: Pick<typeof import('tap').t, 'teardown'>, end: string, stdout: 'pipe' | number): Promise<Ended> {
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', CHATTERBOX(end)], {
    stdio: ['ignore', stdout, 'pipe'],
    timeout: 10_000,
    killSignal: 'SIGKILL',
  });
  t.teardown(() => child.kill('SIGKILL'));
  let said = '';
  child.stderr?.on('data', (chunk) => {
    said += chunk;
  });
  return new Promise((resolve) =>
    child.once('close', (code) => resolve({ code, said })).once('exit', () => child.stdout?.destroy()),
  );
}

t.test('a log reader that stands still costs lines, not the event loop and not the exit (A15)', async (t) => {
  for (const end of ['process.exit(0)', 'log.close(100).then(() => process.exit(0))', '']) {
    const { code, said } = await runStalled(t, end, 'pipe');
    t.equal(code, 0, `ended by itself with: ${end || 'nothing left to do'}`);
    const { rounds, dropped } = JSON.parse(said);
    t.equal(rounds, 10, 'timers kept running');
    t.ok(dropped > 100 && dropped < 1000, `${dropped} of 1000 lines dropped and counted`);
  }
});

t.test('a full disk costs lines and nothing else', async (t) => {
  const full = openSync('/dev/full', 'w');
  t.teardown(() => closeSync(full));
  const { code, said } = await runStalled(t, 'process.exit(0)', full);
  t.equal(code, 0);
  t.ok(JSON.parse(said).dropped > 0);
});

t.test('lines arrive whole and in order; close() waits for them and later ones are dropped', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'outrigger-log-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const fd = openSync(join(folder, 'log'), 'w');
  const log = openLog({ level: 'info', name: 'x', fd });
  for (let number = 0; number < 2000; number++) log.logger.info({ number });
  await log.close(1000);
  log.logger.info('too late');
  t.equal(log.droppedLines(), 1);
  closeSync(fd);
  const lines = readFileSync(join(folder, 'log'), 'utf8').trimEnd().split('\n');
  t.same(
    lines.map((line) => JSON.parse(line).number),
    Array.from({ length: 2000 }, (_, number) => number),
  );
});

t.test('the level changes for children made before; secrets are never written (S15)', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'outrigger-log-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const fd = openSync(join(folder, 'log'), 'w');
  const log = openLog({ level: 'warn', name: 'x', fd });
  const child = log.logger.child({ part: 'child' });
  child.info('not shown');
  log.setLevel('debug');
  t.equal(log.level(), 'debug');
  child.debug('shown');
  const secrets = Object.fromEntries(
    ['authorization', 'proxy-authorization', 'cookie', 'set-cookie', 'x-consul-token', 'token', 'password'].map(
      (key) => [key, 'CANARY'],
    ),
  );
  child.warn(secrets);
  child.warn({ headers: secrets });
  await log.close(1000);
  closeSync(fd);
  const text = readFileSync(join(folder, 'log'), 'utf8');
  t.equal(text.split('\n').length, 4);
  t.match(text, /"msg":"shown"/);
  t.notMatch(text, /CANARY/);
  t.match(text, /\[redacted\]/);
});
