// Every command of docs/operations.md is run, as it stands there, against a mesh that is up.

import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { ROOT, temporaryFolder, until } from '../support/processes.ts';
import { startSmallMesh } from '../support/small-mesh.ts';
import { call, Load } from '../support/world.ts';

/** Those whose exit code 1 says that something needs attention, and not that they failed. */
const TELLS = /^npx outrigger (?:status|check|endpoints)\b/;

function commandsOf(page: string): string[] {
  const blocks = [...page.matchAll(/^```sh\n([\s\S]*?)^```/gm)].flatMap(([, text = '']) => text.trim().split('\n'));
  const bare = blocks.map((line) => line.replace(/\s+#.*$/, ''));
  const prose = page.replaceAll(/^```[\s\S]*?^```/gm, '');
  const inline = [...prose.matchAll(/`((?:npx outrigger|curl) [^`]+)`/g)].map(([, text = '']) => text);
  // KIND/NAME stands for what the reader puts there.
  return [...new Set([...bare, ...inline])].filter((text) => !text.includes('KIND/'));
}

t.test('the commands of the operations guide work', { timeout: 110_000 }, async (t) => {
  const { controlPlane, web, agents } = await startSmallMesh(t);
  const load = new Load(web.outbound, 'payments', 50);
  t.teardown(() => load.stop());
  const admin = `http://${agents.at(-1)}`;
  // A second revision, so that there is something to go back from.
  const answer = await call(`${controlPlane.url}/v1/policies/MeshDefaults/global`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      apiVersion: 'outrigger.dev/v1',
      kind: 'MeshDefaults',
      metadata: { name: 'global' },
      spec: { retries: { attempts: 1 } },
    }),
  });
  t.equal(answer.status, 200, answer.body);
  await until(
    async () => (await call(`${controlPlane.url}/v1/slo/payments`)).status === 200,
    20_000,
    () => 'a budget of payments',
  );
  const folder = temporaryFolder(t);
  const empty = { store: { sqlite: `${folder}/empty.db` }, registry: false };
  writeFileSync(`${folder}/control-plane.yaml`, JSON.stringify(empty));
  const env = {
    PATH: process.env.PATH,
    NODE: process.execPath,
    MAIN: `${ROOT}cli/main.ts`,
    OUTRIGGER_CONTROL_PLANE_URL: controlPlane.url,
    OUTRIGGER_ADMIN_URL: admin,
  };
  const commands = commandsOf(readFileSync(`${ROOT}docs/operations.md`, 'utf8'));
  t.ok(commands.length > 12, commands.join('\n'));
  for (const command of commands) {
    const filled = command
      .replace(/^npx outrigger/, '"$NODE" "$MAIN"')
      .replace('http://127.0.0.1:9700', controlPlane.url)
      .replace('http://127.0.0.1:15000', admin)
      .replace(/^curl -s /, 'curl -sS --fail ');
    const { code, text } = await new Promise<{ code: number; text: string }>((resolve) => {
      execFile('sh', ['-c', filled], { cwd: folder, env, timeout: 20_000 }, (error, stdout, stderr) => {
        const ended = error === null ? 0 : typeof error.code === 'number' ? error.code : 99;
        resolve({ code: ended, text: stdout + stderr });
      });
    });
    t.ok(code === 0 || (code === 1 && TELLS.test(command)), `${command} ends with ${code}: ${text}`);
    t.not(text, '', `${command} says something`);
  }
});
