// What `npm pack` makes of the build is the package that a Fastify application installs: the gateway example runs from it, beside nothing
// but the dependencies that package.json names.

import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { installPacked } from '../support/packed.ts';
import { freePorts, ROOT, type RunningProcess, startNode, temporaryFolder } from '../support/processes.ts';

const KEY = 'a-key-of-some-length';
const ORIGIN = 'https://shop.example';
const CLIENTS = 20;
const GETS_EACH = 50;

async function startUpstream(t: Parameters<typeof startNode>[0], name: string) {
  const [port = 0] = await freePorts(1);
  const process = startNode(t, ['test/support/echo-app.ts', String(port), name]);
  await process.waitFor('listening');
  return { port, process };
}

t.test('the packed gateway asks for a key, and 20 clients see no failed GET', { timeout: 100_000 }, async (t) => {
  const folder = temporaryFolder(t);
  installPacked(folder);
  symlinkSync(`${ROOT}node_modules/fastify`, `${folder}/node_modules/fastify`);
  const upstreams: { port: number; process: RunningProcess }[] = [];
  for (const name of ['a', 'b', 'c']) upstreams.push(await startUpstream(t, name));
  const example = readFileSync(`${ROOT}examples/gateway/gateway.ts`, 'utf8');
  t.match(example, "from '../../gateway/fastify.ts'");
  writeFileSync(`${folder}/package.json`, '{"type":"module"}');
  writeFileSync(`${folder}/gateway.ts`, example.replace('../../gateway/fastify.ts', 'outrigger/fastify'));
  const endpoints = JSON.stringify(upstreams.map(({ port }) => ({ host: '127.0.0.1', port })));
  writeFileSync(
    `${folder}/start.ts`,
    `import { createGateway } from './gateway.ts';
     const app = await createGateway({
       key: '${KEY}',
       origin: '${ORIGIN}',
       mesh: { caller: 'gateway', routes: [{ prefix: '/orders', service: 'orders', endpoints: ${endpoints} }] },
     });
     console.log('listening', await app.listen({ host: '127.0.0.1', port: 0 }));
     process.stdin.resume().on('end', () => process.exit(0));`,
  );
  const gateway = startNode(t, [`${folder}/start.ts`]);
  await gateway.waitFor('listening http', 20_000);
  const url = /listening (http:\S+)/.exec(gateway.output())?.[1] ?? '';

  t.equal((await fetch(`${url}/orders/`)).status, 401);
  const headers = { origin: ORIGIN, 'access-control-request-method': 'GET' };
  const preflight = await fetch(`${url}/orders/`, { method: 'OPTIONS', headers });
  t.same([preflight.status, preflight.headers.get('access-control-allow-origin')], [204, ORIGIN]);

  const answers = new Map<string, number>();
  const failed: unknown[] = [];
  let done = 0;
  const client = async (): Promise<void> => {
    for (let nth = 0; nth < GETS_EACH; nth++) {
      try {
        const answer = await fetch(`${url}/orders/${nth}`, {
          headers: { authorization: `Bearer ${KEY}`, origin: ORIGIN },
        });
        const text = await answer.text();
        if (answer.status !== 200) failed.push(`${answer.status} ${text}`);
        else answers.set(text, (answers.get(text) ?? 0) + 1);
      } catch (error) {
        failed.push(error);
      }
      if (++done === 300) upstreams[1]?.process.child.kill('SIGKILL');
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  t.equal(done, CLIENTS * GETS_EACH);
  t.same(failed, []);
  t.ok((answers.get('b') ?? 0) > 0, 'the one that was killed had answered');
  t.comment(JSON.stringify(Object.fromEntries(answers)));
});
