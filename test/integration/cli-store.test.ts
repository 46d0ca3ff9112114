// `outrigger store backup` from a running control plane, and `restore` into the empty store of another one.

import { readFileSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { runCommandLine } from '../../cli/program.ts';
import type { Terminal } from '../../cli/terminal.ts';
import { ask, startControlPlane } from '../support/control-plane-client.ts';
import { temporaryFolder } from '../support/processes.ts';

const policy = (name: string, attempts: number) => ({
  apiVersion: 'outrigger.dev/v1',
  kind: 'ServicePolicy',
  metadata: { name },
  spec: { retries: { attempts } },
});

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const said = { out: '', err: '' };
  const terminal: Terminal = {
    out: (text) => {
      said.out += text;
    },
    err: (text) => {
      said.err += text;
    },
    isInteractive: false,
    hasColours: false,
    columns: 0,
    env: {},
    epochMs: () => 0,
    exitCode: 0,
  };
  const code = await runCommandLine(args, terminal);
  return { code, ...said };
}

function configFor(t: Test, path: string): string {
  const file = `${temporaryFolder(t)}/control-plane.json`;
  writeFileSync(file, JSON.stringify({ store: { sqlite: path }, registry: false }));
  return file;
}

t.test('what was backed up is there again, histories and numbers too', async (t) => {
  const { url } = await startControlPlane(t, { folder: temporaryFolder(t) });
  const at = '/v1/policies/ServicePolicy/payments';
  await ask(`${url}${at}`, 'PUT', policy('payments', 1));
  await ask(`${url}${at}?message=more`, 'PUT', policy('payments', 2));
  await ask(`${url}/v1/policies/ServicePolicy/orders`, 'PUT', policy('orders', 0));
  const file = `${temporaryFolder(t)}/backup.json`;
  const taken = await run('store', 'backup', '--control-plane', url, '--to', file);
  t.same(taken, { code: 0, out: `${file}: version 3, 2 policies, 3 revisions\n`, err: '' });
  t.equal((await run('store', 'backup', '--control-plane', url)).out.includes('outrigger-backup/1'), true);

  const folder = temporaryFolder(t);
  const config = configFor(t, `${folder}/policies.db`);
  const restored = await run('store', 'restore', file, '--config', config);
  t.same(restored, { code: 0, out: 'restored version 3: 2 policies, 3 revisions\n', err: '' });
  const twice = await run('store', 'restore', file, '--config', config);
  t.match(twice, { code: 1, err: /this store is at version 3; a backup goes only into an empty one/ });

  const other = await startControlPlane(t, { folder });
  t.match((await ask(`${other.url}/v1/policies`, 'GET')).body, { version: 3 });
  const history = await ask(`${other.url}${at}/history`, 'GET');
  t.same(history.body, (await ask(`${url}${at}/history`, 'GET')).body);
  const running = await run('store', 'restore', file, '--config', config);
  t.match(running, { code: 1, err: /in use by another process/ });
});

t.test('what cannot be a backup is refused with a reason', async (t) => {
  const { url } = await startControlPlane(t, { folder: temporaryFolder(t) });
  await ask(`${url}/v1/policies/ServicePolicy/payments`, 'PUT', policy('payments', 1));
  const file = `${temporaryFolder(t)}/backup.json`;
  await run('store', 'backup', '--control-plane', url, '--to', file);
  const good = readFileSync(file, 'utf8');
  const config = configFor(t, `${temporaryFolder(t)}/policies.db`);
  const refusals: readonly (readonly [text: string, why: RegExp])[] = [
    ['not json', /it is not the JSON that `outrigger store backup` writes/],
    ['[]', /its format is undefined/],
    [good.slice(0, -20), /it is not the JSON/],
    [good.replace('"attempts":1', '"attempts":9'), /its checksum is another one/],
    [good.replace('outrigger-backup/1', 'outrigger-backup/9'), /its format is "outrigger-backup\/9"/],
  ];
  for (const [text, why] of refusals) {
    writeFileSync(file, text);
    t.match(await run('store', 'restore', file, '--config', config), { code: 1, out: '', err: why });
  }
  t.match(await run('store', 'restore', `${file}.gone`, '--config', config), { code: 2, err: /cannot read/ });
  t.match(await run('store', 'restore', file, '--config', `${file}.gone`), { code: 1 });
  writeFileSync(file, good);
  t.match(await run('store', 'restore', file, '--config', `${file}.gone`), { code: 2 });
});
