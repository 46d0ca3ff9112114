// `outrigger why` in prepared situations: for each, the document:line that decided, and for each endpoint that was not taken the
// reason. A real agent with real sockets; instances as Consul tells them; the command line as a person runs it.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parseAllDocuments } from 'yaml';
import { ask, startControlPlane } from '../support/control-plane-client.ts';
import type { OriginAnswer } from '../support/origin.ts';
import { OK, startOrigin } from '../support/origin.ts';
import { freePorts, temporaryFolder, until } from '../support/processes.ts';
import { startWhyMesh, type WhyMesh } from '../support/why-mesh.ts';
import { ENDPOINT_SITUATIONS } from './why/endpoints.ts';
import { ROUTE_SITUATIONS } from './why/routes.ts';

const BUSY = 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n';
const SILENT: OriginAnswer = () => {};
const RESET: OriginAnswer = ({ socket }) => socket.destroy();

interface Told {
  readonly attempts: readonly {
    readonly endpoint: string;
    readonly excluded: readonly { readonly endpoint: string }[];
  }[];
}

const POLICIES = readFileSync(new URL('why/policies.yaml', import.meta.url), 'utf8');
const SITUATIONS = [...ROUTE_SITUATIONS, ...ENDPOINT_SITUATIONS];

async function startServices(
  t: Test,
): Promise<{ mesh: WhyMesh; ports: ReadonlyMap<string, number>; sizes: ReadonlyMap<string, number> }> {
  const ports = new Map<string, number>();
  const answers: Readonly<Record<string, readonly OriginAnswer[]>> = {
    api: [OK, OK, OK],
    plain: [OK, OK, OK, OK],
    eject: [OK, BUSY],
    panic: [OK, BUSY],
    retry: [OK, BUSY],
    budget: [BUSY, BUSY],
    broken: [RESET, RESET],
    full: [SILENT],
    rate: [OK],
    zoned: [OK, OK, OK, OK],
    spill: [OK, OK, OK, OK],
    levels: [OK, OK],
    part: [OK, OK],
    sticky: [OK, OK],
    turns: [OK, OK],
    slow: [SILENT],
    secret: [OK],
    drained: [OK, OK],
    unfit: [OK, OK, OK],
  };
  for (const [service, list] of Object.entries(answers)) {
    for (const [index, answer] of list.entries())
      ports.set(`${service}-${index + 1}`, (await startOrigin(t, answer)).port);
  }
  const closed = await startOrigin(t);
  await closed.stop();
  ports.set('refused-1', closed.port);
  const port = (id: string) => ports.get(id) ?? 0;
  const all = (service: string) =>
    [...ports.keys()].filter((id) => id.startsWith(`${service}-`)).map((id) => ({ id, port: port(id) }));
  const zones = (service: string, list: readonly string[]) =>
    all(service).map((one, index) => ({ ...one, meta: { zone: list[index] ?? '' } }));
  const mesh = await startWhyMesh(t, POLICIES, {
    ...Object.fromEntries([...Object.keys(answers), 'refused'].map((service) => [service, all(service)])),
    api: [
      { id: 'api-1', port: port('api-1'), meta: { version: '1' } },
      { id: 'api-2', port: port('api-2'), meta: { version: '1' } },
      { id: 'api-3', port: port('api-3'), meta: { version: '2' }, tags: ['canary'] },
    ],
    zoned: zones('zoned', ['a', 'a', 'b', 'b']),
    spill: zones('spill', ['a', 'b', 'b', 'b']),
    // Who calls: one agent in each zone, so that zone a has callers for half of the endpoints.
    web: [
      { id: 'web-1', port: 1001, meta: { zone: 'a' } },
      { id: 'web-2', port: 1002, meta: { zone: 'b' } },
    ],
    levels: [
      { id: 'levels-1', port: port('levels-1'), tags: ['primary'] },
      { id: 'levels-2', port: port('levels-2'), tags: ['standby'] },
    ],
    unfit: [
      { id: 'unfit-1', port: port('unfit-1') },
      { id: 'unfit-2', port: port('unfit-2'), critical: 'web is up' },
      { id: 'unfit-3', port: port('unfit-3'), isInMaintenance: true },
    ],
  });
  const services = [...Object.keys(answers), 'refused'];
  return { mesh, ports, sizes: new Map(services.map((service) => [service, all(service).length])) };
}

t.test('why names what decided and why not the others', async (t) => {
  const { mesh, ports, sizes } = await startServices(t);
  t.ok(SITUATIONS.length >= 20, `${SITUATIONS.length} situations`);
  for (const [index, { what, service, request, answer, lines, before }] of SITUATIONS.entries()) {
    await t.test(what, async (t) => {
      await before?.(mesh);
      const id = `situation-${index}`;
      t.match(await mesh.ask(id, service, request), answer);
      const told = await mesh.run('why', id, '--admin', mesh.admin, '-f', mesh.policyFile);
      t.equal(told.code, 0, told.err);
      const record = JSON.parse((await mesh.run('why', id, '--admin', mesh.admin, '-o', 'json')).out) as Told;
      for (const { endpoint, excluded } of record.attempts) {
        const others = new Set(excluded.map((one) => one.endpoint));
        others.delete(endpoint);
        t.equal(others.size + 1, sizes.get(service), `a reason for each endpoint of ${service} but ${endpoint}`);
      }
      for (const [text, mark] of lines) {
        const source = text.source.replaceAll(/PORT\\\(([\w-]+)\\\)/g, (_, name: string) => String(ports.get(name)));
        const found = told.out.split('\n').filter((line) => new RegExp(source).test(line));
        if (!t.ok(found.length > 0, `${source} in\n${told.out}`)) continue;
        if (mark === null)
          t.notOk(
            found.some((line) => line.includes(mesh.policyFile)),
            `${found[0]} has no place`,
          );
        else
          t.ok(
            found.some((line) => line.includes(`  ${mesh.at(mark)}:`)),
            `${mesh.at(mark)} in\n${found.join('\n')}`,
          );
      }
    });
  }
});

t.test(
  'without files, places are lines of what `policy get` prints; files that say something else are not pointed at',
  async (t) => {
    const origin = await startOrigin(t);
    const mesh = await startWhyMesh(t, ROUTED, { api: [{ id: 'api-1', port: origin.port }] });
    await mesh.ask('one', 'api', { target: '/health' });
    const told = await mesh.run('why', 'one', '--admin', mesh.admin);
    // apiVersion, kind, metadata, its name, spec, parentRefs with two lines, rules.
    t.match(told.out, /^route +rule exact matches {2}HTTPRoute\/api:10:7$/m);
    const other = join(temporaryFolder(t), 'other.yaml');
    writeFileSync(other, ROUTED.replace('/health', '/healthz'));
    const differs = await mesh.run('why', 'one', '--admin', mesh.admin, '-f', other);
    t.match(differs.out, /^note +HTTPRoute\/api in the files is not what the agent has/m);
    t.match(differs.out, /^route +rule exact matches {2}HTTPRoute\/api:10:7$/m);
  },
);

const ROUTED = `apiVersion: outrigger.dev/v1
kind: HTTPRoute
metadata: { name: api }
spec:
  parentRefs: [{ kind: Service, name: api }]
  rules:
    - name: exact
      matches: [{ path: { type: Exact, value: /health } }]
`;

t.test('a record of former policies: places are of the documents of now, and that is said', async (t) => {
  const origin = await startOrigin(t);
  const controlPlane = await startControlPlane(t, { folder: temporaryFolder(t) });
  const put = async (text: string): Promise<void> => {
    const [document] = parseAllDocuments(text).map((one) => one.toJS() as unknown);
    const { status } = await ask(`${controlPlane.url}/v1/policies/HTTPRoute/api`, 'PUT', document);
    t.ok(status < 300, `${status}`);
  };
  await put(ROUTED);
  const mesh = await startWhyMesh(t, null, { api: [{ id: 'api-1', port: origin.port }] }, controlPlane.url);
  const applied = async (): Promise<unknown> =>
    ((await (await fetch(`${mesh.admin}/policies`)).json()) as { policyVersion: number }).policyVersion;
  await until(
    async () => (await applied()) === 1,
    10_000,
    () => 'the first policies are applied',
  );
  t.match(await mesh.ask('one', 'api', { target: '/health' }), /^HTTP\/1.1 200/);
  const before = await mesh.run('why', 'one', '--admin', mesh.admin);
  t.notMatch(before.out, /^note/m);
  await put(
    ROUTED.replace(
      '    - name: exact',
      '    - name: first\n      matches: [{ path: { value: /first } }]\n    - name: exact',
    ),
  );
  await until(
    async () => (await applied()) === 2,
    10_000,
    () => 'the second policies are applied',
  );
  const after = await mesh.run('why', 'one', '--admin', mesh.admin);
  t.match(after.out, /^note +policies have changed since, to version 2: places are of the documents of now$/m);
  t.match(after.out, /^route +rule exact matches {2}HTTPRoute\/api:14:7$/m);
  // The same through the control plane, by the agent's name and without it.
  const relayed = ['why', 'one', '--control-plane', controlPlane.url];
  const [nowhere = 0] = await freePorts(1);
  await until(
    async () => (await mesh.run(...relayed, '--agent', 'web-1')).out === after.out,
    10_000,
    () => 'the relay says the same',
  );
  t.equal((await mesh.run(...relayed, '--admin', mesh.admin)).out, after.out);
  t.equal((await mesh.run(...relayed, '--admin', `http://127.0.0.1:${nowhere}`)).code, 1, 'an agent that is not there');
});
