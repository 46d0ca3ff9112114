// Routes in a whole agent: documents on one side, what Consul says about instances on the other, requests in between.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parsePolicy } from '#contract/policy/parse-policy.ts';
import { createAgent } from '../../agent/agent.ts';
import { loadAgentConfig } from '../../agent/config.ts';
import { openLog } from '../../agent/telemetry/log.ts';
import { startOrigin } from '../support/origin.ts';
import { freePorts, temporaryFolder, until } from '../support/processes.ts';
import { exchangeRaw } from '../support/raw-client.ts';
import { startScriptedConsul } from '../support/scripted-consul.ts';

const named = (name: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${name.length}\r\n\r\n${name}`;

function instance(service: string, port: number, version: string): object {
  return {
    Node: { Node: 'n1', Address: '127.0.0.1' },
    Service: {
      ID: `${service}-${version}`,
      Service: service,
      Address: '127.0.0.1',
      Port: port,
      Meta: { version },
      Tags: [`v${version}`],
      Weights: { Passing: 1, Warning: 1 },
    },
    Checks: [],
  };
}

function document(kind: string, name: string, spec: object) {
  const parsed = parsePolicy({ apiVersion: 'outrigger.dev/v1', kind, metadata: { name }, spec });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.value;
}

t.test('subsets by what Consul knows, a mirror that only the route names, and the reasons told', async (t) => {
  const [one, two, shadow] = [
    await startOrigin(t, named('one')),
    await startOrigin(t, named('two')),
    await startOrigin(t, named('shadow')),
  ];
  const instances: Record<string, object[]> = {
    api: [instance('api', one.port, '1'), instance('api', two.port, '2')],
    shadow: [instance('shadow', shadow.port, '1')],
  };
  const consul = await startScriptedConsul(t, ({ path, query }, response) => {
    // A question that waits for a change is left open: nothing changes here.
    if (query.get('index') !== null && query.get('index') !== '0') return;
    const service = /^\/v1\/health\/service\/([a-z]+)$/.exec(path)?.[1] ?? '';
    response.setHeader('X-Consul-Index', '7');
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify(instances[service] ?? []));
  });
  const [outbound = 0, admin = 0] = await freePorts(2);
  const folder = temporaryFolder(t);
  const file = join(folder, 'agent.json');
  writeFileSync(
    file,
    JSON.stringify({
      service: { name: 'web', id: 'web-1', register: false },
      listeners: { outbound: `127.0.0.1:${outbound}`, admin: `127.0.0.1:${admin}` },
      upstreams: [{ service: 'api' }],
      consul: { url: consul.url },
      controlPlane: false,
      stateDir: join(folder, 'state'),
    }),
  );
  const config = loadAgentConfig({ file, env: {}, readFile: (path) => readFileSync(path, 'utf8') });
  if (!config.ok) throw new Error(JSON.stringify(config.problems));
  const agent = createAgent({
    config: config.value,
    localPolicies: [
      document('ServicePolicy', 'api', {
        subsets: {
          stable: { filter: 'Service.Meta.version == "1"' },
          canary: { filter: 'v2 in Service.Tags' },
          next: { filter: 'Service.Meta.version matches "[3-9]"' },
        },
      }),
      document('HTTPRoute', 'api', {
        parentRefs: [{ kind: 'Service', name: 'api' }],
        rules: [
          {
            name: 'canary',
            matches: [{ headers: [{ name: 'x-canary', type: 'Present' }] }],
            backendRefs: [{ name: 'api', subset: 'canary' }],
          },
          { name: 'next', matches: [{ path: { value: '/next' } }], backendRefs: [{ name: 'api', subset: 'next' }] },
          {
            name: 'rest',
            backendRefs: [{ name: 'api', subset: 'stable' }],
            filters: [{ type: 'RequestMirror', requestMirror: { backendRef: { name: 'shadow' } } }],
          },
        ],
      }),
    ],
    log: openLog({ level: 'silent', name: 'test' }),
    softwareVersion: 'test',
  });
  t.teardown(() => agent.stop(500));
  await agent.start();
  const ask = (target: string, lines = '') =>
    exchangeRaw(t, outbound, `GET ${target} HTTP/1.1\r\nHost: api\r\n${lines}Connection: close\r\n\r\n`);
  await until(
    async () => (await ask('/', 'X-Canary: 1\r\n')).startsWith('HTTP/1.1 200'),
    10_000,
    () => 'the instances are known',
  );
  await until(
    async () => {
      await ask('/');
      return shadow.requests() > 0;
    },
    15_000,
    () => 'the mirror, which only the route names, is discovered',
  );
  for (let request = 0; request < 4; request++) {
    t.match(await ask('/'), /\r\n\r\none$/);
    t.match(await ask('/', 'X-Canary: 1\r\n'), /\r\n\r\ntwo$/);
  }
  const lost = await ask('/next/1');
  t.match(lost, /^HTTP\/1.1 503 [\s\S]*subset next of api has no endpoint: its filter matches none/);
  const why = /x-outrigger-why: (\S+)/.exec(lost)?.[1] ?? '';
  const told = await (await fetch(`http://127.0.0.1:${admin}/why/${why}`)).json();
  t.match(told, { rule: 'next', route: { text: 'rule next matches' }, result: 'no_healthy_upstream' });
  const metrics = await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text();
  t.match(metrics, /outrigger_mirrored_requests_total\{destination="shadow",reason="answered"\} [1-9]/);
  const dump = await (await fetch(`http://127.0.0.1:${admin}/config_dump`)).json();
  t.match(
    (dump as { services: { service: string }[] }).services.find(({ service }) => service === 'api'),
    {
      subsets: [
        { name: 'stable', endpoints: 1 },
        { name: 'canary', endpoints: 1 },
        { name: 'next', endpoints: 0 },
      ],
    },
  );
});
