// `outrigger check` against planted faults: each is found by its name and ends in the command that mends it.

import { writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createNetServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Finding, renderFindings } from '../../cli/check/finding.ts';
import type { HostFacts } from '../../cli/check/host.ts';
import { type CheckOptions, check } from '../../cli/check.ts';
import { temporaryFolder } from '../support/processes.ts';

type Bodies = Record<string, unknown>;

const HOST: HostFacts = {
  nodeVersion: '26.10.0',
  maxDescriptors: 65_536,
  freeBytesAt: () => 10 * 1024 ** 3,
  canWrite: () => true,
  isPortFree: async () => true,
};
const AGENT = {
  id: 'web-1',
  state: 'connected',
  isConnected: true,
  service: 'web',
  softwareVersion: '0.1.0',
  isReady: true,
  isDraining: false,
  policy: { wantedVersion: 3, appliedVersion: 3, verdict: 'ACK', isInSync: true, problems: [] },
  discovery: [{ service: 'orders', source: 'consul', ageMs: 1_000, holding: null }],
};
const ORDERS = {
  service: 'orders',
  source: 'consul',
  ageMs: 1_000,
  holding: null,
  isPanicking: false,
  endpoints: [{ state: 'serving' }, { state: 'serving' }],
};
const ALL_WELL = {
  consul: { '/v1/status/leader': '10.0.0.1:8300', '/v1/catalog/services': { consul: [], web: [] } } as Bodies,
  controlPlane: { '/v1/agents': { agents: [AGENT] } } as Bodies,
  agent: {
    '/ready': { isReady: true, reasons: [] },
    '/clusters?format=json': [ORDERS],
    '/server_info': { isControlPlaneConnected: true },
  } as Bodies,
};

interface Plant {
  readonly consul?: Bodies;
  readonly consulHeaders?: Record<string, string>;
  readonly controlPlane?: Bodies;
  readonly agent?: Bodies;
  readonly agentStatus?: Record<string, number>;
  readonly host?: Partial<HostFacts>;
  readonly config?: string;
  readonly skewMs?: number;
  readonly options?: Partial<CheckOptions>;
}

async function serve(t: Test, listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.teardown(() => void server.close());
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
}

function answering(
  bodies: Bodies,
  statuses: Record<string, number> = {},
  headers: Record<string, string> = {},
): RequestListener {
  return (request, response) => {
    const path = request.url ?? '';
    const body = bodies[path];
    response.writeHead(statuses[path] ?? (body === undefined ? 404 : 200), { connection: 'close', ...headers });
    response.end(JSON.stringify(body ?? null));
  };
}

async function run(t: Test, plant: Plant): Promise<Finding[]> {
  const consul = await serve(t, answering({ ...ALL_WELL.consul, ...plant.consul }, {}, plant.consulHeaders));
  const controlPlane = await serve(t, answering({ ...ALL_WELL.controlPlane, ...plant.controlPlane }));
  const admin = await serve(t, answering({ ...ALL_WELL.agent, ...plant.agent }, plant.agentStatus));
  const file = join(temporaryFolder(t), 'agent.yaml');
  if (plant.config !== undefined) writeFileSync(file, plant.config);
  const options: CheckOptions = {
    consul,
    controlPlane,
    admin,
    ...(plant.config === undefined ? {} : { config: file }),
    ...plant.options,
  };
  return check(options, { ...HOST, ...plant.host }, Date.now() + (plant.skewMs ?? 0));
}

/** An address where whoever connects is turned away at once, as Consul does at its limit. */
async function closingAddress(t: Test): Promise<string> {
  const server = createNetServer((socket) => socket.destroy());
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.teardown(() => void server.close());
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
}

const CONFIG = 'service: { name: web }\nupstreams: [{ service: orders }]\n';
const NOBODY = 'http://127.0.0.1:9';

t.test('a mesh that is well has no complaint', async (t) => {
  const findings = await run(t, {
    consul: { '/v1/catalog/services': { consul: [], web: [], orders: [] } },
    controlPlane: { '/v1/agents': { agents: [AGENT, { ...AGENT, id: 'orders-1', service: 'orders' }] } },
    config: CONFIG,
  });
  t.same(
    findings.filter(({ level }) => level !== 'ok'),
    [],
  );
  t.ok(findings.length >= 9);
  const text = renderFindings(findings, { hasColours: false });
  t.match(text, /^host\n✓ Node 26\.10\.0\n/);
  t.match(text, /\d+ well, 0 to look at, 0 to mend\n$/);
});

const FAULTS: readonly [code: string, level: Finding['level'], plant: Plant, text: RegExp, fix: RegExp][] = [
  ['node_version', 'failure', { host: { nodeVersion: '20.1.0' } }, /older than 24/, /npm ci/],
  ['open_files', 'failure', { host: { maxDescriptors: 1024 } }, /only 1024 open files/, /ulimit -n 65536/],
  ['disk_space', 'failure', { host: { freeBytesAt: () => 1024 } }, /only 0 MiB free/, /du -xh/],
  ['state_dir', 'failure', { host: { canWrite: () => false } }, /cannot be written/, /chown/],
  [
    'port_taken',
    'failure',
    { config: CONFIG, options: { admin: NOBODY }, host: { isPortFree: async (_, port) => port !== 15_001 } },
    /listeners\.outbound: port 15001 is taken/,
    /ss -ltnp 'sport = :15001'/,
  ],
  [
    'configuration',
    'failure',
    { config: 'service: { name: web }\nupstreems: []\n' },
    /agent\.yaml:2:1 upstreems/,
    /edit .*agent\.yaml:2:1/,
  ],
  [
    'consul_unreachable',
    'failure',
    { options: { consul: NOBODY } },
    /does not answer/,
    /curl -s .*\/v1\/status\/leader/,
  ],
  [
    'consul_no_leader',
    'failure',
    { consul: { '/v1/status/leader': '' } },
    /no leader/,
    /consul operator raft list-peers/,
  ],
  [
    'consul_acl_filtered',
    'failure',
    { consul: { '/v1/catalog/services': {} } },
    /hides services/,
    /consul acl policy create/,
  ],
  [
    'consul_acl_filtered',
    'failure',
    { consulHeaders: { 'x-consul-results-filtered-by-acls': 'true' } },
    /hides services/,
    /consul acl policy create/,
  ],
  [
    'consul_service_missing',
    'warning',
    { config: CONFIG },
    /orders is called by this agent and is not registered/,
    /consul catalog services/,
  ],
  [
    'control_plane_unreachable',
    'failure',
    { options: { controlPlane: NOBODY } },
    /does not answer/,
    /outrigger control-plane/,
  ],
  ['clock_skew', 'failure', { skewMs: 60_000 }, /clock is (59|60|61) s ahead/, /timedatectl set-ntp true/],
  ['clock_skew', 'failure', { skewMs: -60_000 }, /clock is (59|60|61) s behind/, /timedatectl set-ntp true/],
  [
    'no_agents',
    'warning',
    { controlPlane: { '/v1/agents': { agents: [] } } },
    /no agent has connected/,
    /outrigger agent/,
  ],
  [
    'agent_disconnected',
    'warning',
    { controlPlane: { '/v1/agents': { agents: [{ ...AGENT, isConnected: false }] } } },
    /web-1 is not connected/,
    /outrigger status/,
  ],
  [
    'policy_rejected',
    'failure',
    {
      controlPlane: {
        '/v1/agents': {
          agents: [
            {
              ...AGENT,
              policy: {
                ...AGENT.policy,
                verdict: 'NACK',
                wantedVersion: 4,
                problems: [{ code: 'X', path: 'ServicePolicy/orders: spec.timeouts', message: 'is too short' }],
              },
            },
          ],
        },
      },
    },
    /web-1 rejected policy version 4 and keeps 3: ServicePolicy\/orders: spec\.timeouts is too short/,
    /^outrigger policy rollback ServicePolicy\/orders$/,
  ],
  [
    'version_skew',
    'warning',
    { controlPlane: { '/v1/agents': { agents: [AGENT, { ...AGENT, softwareVersion: '0.2.0' }] } } },
    /2 versions: 0\.1\.0, 0\.2\.0/,
    /outrigger status -o wide/,
  ],
  [
    'sidecar_missing',
    'warning',
    { consul: { '/v1/catalog/services': { consul: [], web: [], mail: [] } } },
    /mail is registered without an agent/,
    /outrigger run --config mail\.yaml/,
  ],
  [
    'discovery_stale',
    'failure',
    {
      controlPlane: {
        '/v1/agents': { agents: [{ ...AGENT, discovery: [{ ...AGENT.discovery[0], ageMs: 300_000 }] }] },
      },
    },
    /old endpoints of orders: last confirmed 300 s ago/,
    /outrigger check --consul/,
  ],
  ['agent_unreachable', 'failure', { options: { admin: NOBODY } }, /no agent answers/, /outrigger agent --config/],
  [
    'agent_not_ready',
    'failure',
    { agent: { '/ready': { reasons: ['told to fail by /healthcheck/fail'] } }, agentStatus: { '/ready': 503 } },
    /told to fail/,
    /curl -X POST .*\/healthcheck\/ok/,
  ],
  [
    'panic',
    'failure',
    {
      agent: {
        '/clusters?format=json': [
          { ...ORDERS, isPanicking: true, endpoints: [{ state: 'ejected' }, { state: 'serving' }] },
        ],
      },
    },
    /orders is in panic: 1 of 2/,
    /^outrigger endpoints orders/,
  ],
  [
    'endpoints_out',
    'warning',
    { agent: { '/clusters?format=json': [{ ...ORDERS, endpoints: [{ state: 'ejected' }, { state: 'serving' }] }] } },
    /1 of 2 endpoints of orders are out/,
    /outrigger endpoints orders/,
  ],
  [
    'discovery_stale',
    'failure',
    { agent: { '/clusters?format=json': [{ ...ORDERS, holding: 'Consul answered an empty list' }] } },
    /old endpoints of orders are in use: Consul answered an empty list/,
    /outrigger check/,
  ],
  [
    'no_endpoints',
    'failure',
    { agent: { '/clusters?format=json': [{ ...ORDERS, endpoints: [] }] } },
    /orders has no endpoints/,
    /consul catalog nodes -service=orders/,
  ],
  [
    'agent_no_stream',
    'warning',
    { agent: { '/server_info': { isControlPlaneConnected: false } } },
    /no policy stream/,
    /outrigger config dump/,
  ],
];

for (const [code, level, plant, text, fix] of FAULTS) {
  t.test(`finds ${code} (${text.source})`, async (t) => {
    const findings = await run(t, plant);
    const found = findings.find(
      (finding) => finding.code === code && finding.level === level && text.test(finding.text),
    );
    t.ok(found, JSON.stringify(findings.filter((finding) => finding.level !== 'ok')));
    t.match(found?.fix, fix);
  });
}

t.test('finds consul_connection_limit: a connection that is closed at once', async (t) => {
  const findings = await run(t, { options: { consul: await closingAddress(t) } });
  const found = findings.find(({ code }) => code === 'consul_connection_limit');
  t.match(found, { level: 'failure', text: /200 connections/, fix: /http_max_conns_per_client/ });
});
