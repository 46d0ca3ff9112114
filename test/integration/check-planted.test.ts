// `outrigger check` against faults that are planted for real: Consul, control plane and agent run, and one thing about them is
// wrong. Each is found by name and ends in what mends it; where that is a command by itself, it is run, and the fault is gone.

import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { createAgent } from '../../agent/agent.ts';
import { loadAgentConfig } from '../../agent/config.ts';
import { openLog } from '../../agent/telemetry/log.ts';
import type { Finding } from '../../cli/check/finding.ts';
import { writeExpiredPair } from '../support/certificates.ts';
import { runCommand } from '../support/command-line.ts';
import { ask, orderReport, startControlPlane } from '../support/control-plane-client.ts';
import { freePorts, ROOT, temporaryFolder, until } from '../support/processes.ts';
import { consulOrFail, type RealConsul, startConsul } from '../support/real-consul.ts';

/** What is the same for every row. */
interface Mesh {
  readonly consul: string;
  readonly controlPlane: string;
  readonly admin: string;
  readonly folder: string;
}

interface Planted {
  readonly args?: readonly string[];
  /** How far the command's clock is from the true one. */
  readonly skewMs?: number;
}

interface Row {
  readonly code: string;
  readonly level: Finding['level'];
  readonly text: RegExp;
  readonly fix: RegExp;
  readonly plant: (t: Test, mesh: Mesh) => Promise<Planted>;
  /** The fix is a command that mends it without a person's doing. */
  readonly isMending?: true;
}

async function check(mesh: Mesh, { args = [], skewMs = 0 }: Planted): Promise<{ code: number; findings: Finding[] }> {
  const usual = ['--consul', mesh.consul, '--control-plane', mesh.controlPlane, '--admin', mesh.admin];
  // Of an option that comes twice the last counts.
  const { code, out, err } = await runCommand(['check', ...usual, ...args, '-o', 'json'], () => Date.now() + skewMs);
  if (out === '') throw new Error(err);
  return { code, findings: JSON.parse(out) as Finding[] };
}

function writeConfig(t: Test, config: object | string): string {
  const file = join(temporaryFolder(t), 'agent.yaml');
  writeFileSync(file, typeof config === 'string' ? config : JSON.stringify(config));
  return file;
}

async function listeners(): Promise<object> {
  const [outbound = 0, inbound = 0, admin = 0] = await freePorts(3);
  return { outbound: `127.0.0.1:${outbound}`, inbound: `127.0.0.1:${inbound}`, admin: `127.0.0.1:${admin}` };
}

async function nobody(): Promise<string> {
  const [port] = await freePorts(1);
  return `http://127.0.0.1:${port}`;
}

const put = (consul: string, path: string, body: object, headers: Record<string, string> = {}) =>
  ask(`${consul}${path}`, 'PUT', body, headers);

const ACLS = { acl: { enabled: true, default_policy: 'deny', tokens: { master: 'root-of-this-test' } } };

/** One Consul for the rows about tokens: a row costs a second less. */
let guarded: RealConsul | null = null;
async function consulWithAcls(): Promise<RealConsul> {
  guarded ??= await startConsul(t, { configFiles: [ACLS], token: 'root-of-this-test' });
  return guarded;
}

const ROWS: readonly Row[] = [
  {
    code: 'consul_unreachable',
    level: 'failure',
    text: /^http:\/\/127\.0\.0\.1:\d+ does not answer \(.*ECONNREFUSED/,
    fix: /^curl -s http:\S+\/v1\/status\/leader .*systemctl status consul/,
    plant: async (t) => {
      const consul = await startConsul(t);
      await consul.stop();
      return { args: ['--consul', consul.url] };
    },
  },
  {
    code: 'consul_acl_filtered',
    level: 'failure',
    text: /^Consul hides services from this token/,
    fix: /^consul acl policy create -name mesh -rules 'service_prefix "" \{ policy = "read" \}/,
    plant: async () => ({ args: ['--consul', (await consulWithAcls()).url] }),
  },
  {
    code: 'consul_token',
    level: 'failure',
    text: /^Consul refuses the token: ACL not found/,
    fix: /^consul acl token read -self/,
    plant: async (t) => {
      const url = (await consulWithAcls()).url;
      const consul = { url, token: '11111111-2222-3333-4444-555555555555' };
      return { args: ['--consul', url, '--config', writeConfig(t, { service: { name: 'web' }, consul })] };
    },
  },
  {
    code: 'consul_token_file',
    level: 'failure',
    text: /^consul\.tokenFile \/nowhere\/token cannot be read: there is no such file/,
    fix: /^ls -l '\/nowhere\/token'/,
    plant: async (t) => {
      return {
        args: ['--config', writeConfig(t, { service: { name: 'web' }, consul: { tokenFile: '/nowhere/token' } })],
      };
    },
  },
  {
    code: 'consul_connection_limit',
    level: 'failure',
    text: /more than 200 connections from this address/,
    fix: /^consul\.hcl: limits \{ http_max_conns_per_client = 2000 \} {3}then: consul reload/,
    plant: async (t) => {
      // Four in place of 200: whoever comes after them is turned away at once, as there.
      const consul = await startConsul(t, { configFiles: [{ limits: { http_max_conns_per_client: 4 } }] });
      const open = new Set<Socket>();
      const fill = (): void => {
        while (open.size < 5) {
          const socket = connect(Number(new URL(consul.url).port), '127.0.0.1');
          open.add(socket);
          socket.on('error', () => undefined).on('close', () => open.delete(socket));
        }
      };
      t.teardown(() => {
        for (const socket of open) socket.destroy();
      });
      let isFull = false;
      await until(
        () => {
          if (open.size === 4) isFull = true;
          else if (!isFull) fill();
          return isFull;
        },
        5_000,
        () => 'the fifth connection is closed',
      );
      return { args: ['--consul', consul.url] };
    },
  },
  {
    code: 'consul_service_missing',
    level: 'warning',
    text: /^stock is called by this agent and is not registered/,
    fix: /^consul catalog services .*upstreams: stock/,
    plant: async (t) => ({
      args: ['--config', writeConfig(t, { service: { name: 'web' }, upstreams: [{ service: 'stock' }] })],
    }),
  },
  {
    code: 'consul_not_registered',
    level: 'failure',
    text: /^ghost runs here and is not registered/,
    fix: /^outrigger config dump config .*service\.register/,
    plant: async (t) => ({ args: ['--config', writeConfig(t, { service: { name: 'ghost', port: 1 } })] }),
  },
  {
    code: 'port_taken',
    level: 'failure',
    text: /^listeners\.outbound: port \d+ is taken by another process/,
    fix: /^ss -ltnp 'sport = :\d+'/,
    plant: async (t) => {
      const server = createServer();
      await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
      t.teardown(() => void server.close());
      const address = server.address();
      const port = typeof address === 'object' ? address?.port : 0;
      const config = { service: { name: 'web' }, listeners: { ...(await listeners()), outbound: `127.0.0.1:${port}` } };
      return { args: ['--admin', await nobody(), '--config', writeConfig(t, config)] };
    },
  },
  {
    code: 'configuration_unreadable',
    level: 'failure',
    text: /agent\.yaml cannot be read: it is a folder/,
    fix: /^ls -l '.*agent\.yaml'/,
    plant: async (t) => {
      const file = join(temporaryFolder(t), 'agent.yaml');
      mkdirSync(file);
      return { args: ['--config', file] };
    },
  },
  {
    code: 'configuration',
    level: 'failure',
    text: /agent\.yaml:2:1 upstreems .*upstreams/,
    fix: /^edit .*agent\.yaml:2:1 .*outrigger schema agent/,
    plant: async (t) => ({ args: ['--config', writeConfig(t, 'service: { name: web }\nupstreems: []\n')] }),
  },
  {
    code: 'state_dir',
    level: 'failure',
    text: /^the state folder .*state cannot be written/,
    fix: /^mkdir -p '.*state' && chown -R/,
    plant: async (t) => {
      // A file where the folder should be; whoever is root may write into any folder.
      const stateDir = join(temporaryFolder(t), 'state');
      writeFileSync(stateDir, '');
      return { args: ['--config', writeConfig(t, { service: { name: 'web' }, stateDir })] };
    },
  },
  {
    code: 'control_plane_unreachable',
    level: 'failure',
    text: /does not answer \(.*ECONNREFUSED.*\); agents keep the policies they have/,
    fix: /^outrigger control-plane .*--control-plane URL/,
    plant: async () => ({ args: ['--control-plane', await nobody()] }),
  },
  {
    code: 'control_plane_token',
    level: 'failure',
    text: /wants a token of a viewer: /,
    fix: /^export OUTRIGGER_TOKEN=/,
    plant: async (t) => {
      const tokensFile = join(temporaryFolder(t), 'tokens.yaml');
      const ended = {
        name: 'screen',
        role: 'viewer',
        token: 'ended-token-0123456789abcdef',
        expires: '2020-01-31T00:00:00Z',
      };
      const ops = { name: 'ops', role: 'admin', token: 'valid-token-0123456789abcdef' };
      writeFileSync(tokensFile, JSON.stringify({ tokens: [ended, ops] }));
      const { url } = await startControlPlane(t, { tokensFile, folder: temporaryFolder(t) });
      return { args: ['--control-plane', url, '--token', ended.token] };
    },
  },
  {
    code: 'certificate',
    level: 'failure',
    text: /^the control plane's certificate ended \d{3,} days ago/,
    fix: /^openssl s_client -connect 127\.0\.0\.1:\d+ .*renew tls\.certFile/,
    plant: async (t) => {
      const folder = temporaryFolder(t);
      const tls = writeExpiredPair(folder);
      const { url } = await startControlPlane(t, {
        folder,
        tls,
        bootstrapToken: 'bootstrap-token-0123456789abcdef012345',
      });
      return { args: ['--control-plane', url] };
    },
  },
  {
    code: 'clock_skew',
    level: 'failure',
    text: /^this clock is (89|90|91) s ahead of the control plane's/,
    fix: /^timedatectl set-ntp true$/,
    plant: async () => ({ skewMs: 90_000 }),
  },
  {
    code: 'version_skew',
    level: 'warning',
    text: /^agents run 2 versions: 0\.1\.0, 0\.2\.0/,
    fix: /^outrigger status -o wide/,
    plant: async (t) => {
      const { url } = await startControlPlane(t, { folder: temporaryFolder(t) });
      for (const [id, softwareVersion] of [
        ['orders-1', '0.1.0'],
        ['orders-2', '0.2.0'],
      ] as const) {
        const report = orderReport(1, { softwareVersion });
        t.equal((await ask(`${url}/v1/agents/${id}/reports`, 'POST', report)).status, 204);
      }
      return { args: ['--control-plane', url] };
    },
  },
  {
    code: 'upstream_denied',
    level: 'failure',
    text: /^ServiceIntentions\/orders denies web every call to orders/,
    fix: /^outrigger policy get ServiceIntentions\/orders/,
    plant: async (t) => {
      const { url } = await startControlPlane(t, { folder: temporaryFolder(t) });
      const head = { apiVersion: 'outrigger.dev/v1', kind: 'ServiceIntentions', metadata: { name: 'orders' } };
      const document = { ...head, spec: { defaultAction: 'deny', sources: [{ name: 'mail', action: 'allow' }] } };
      t.equal((await ask(`${url}/v1/policies/ServiceIntentions/orders`, 'PUT', document)).status, 201);
      const config = writeConfig(t, { service: { name: 'web' }, upstreams: [{ service: 'orders' }] });
      return { args: ['--control-plane', url, '--config', config] };
    },
  },
  {
    code: 'agent_unreachable',
    level: 'failure',
    text: /^no agent answers at http/,
    fix: /^outrigger agent --config agent\.yaml/,
    plant: async () => ({ args: ['--admin', await nobody()] }),
  },
  {
    code: 'agent_not_ready',
    level: 'failure',
    text: /^the agent is not ready: .*healthcheck/,
    fix: /^curl -X POST http:\S+\/healthcheck\/ok$/,
    isMending: true,
    plant: async (_t, mesh) => {
      await fetch(`${mesh.admin}/healthcheck/fail`, { method: 'POST' });
      return {};
    },
  },
  {
    code: 'endpoints_out',
    level: 'warning',
    text: /^1 of 2 endpoints of orders are out/,
    fix: /^outrigger endpoints orders/,
    plant: async (_t, mesh) => {
      await fetch(`${mesh.admin}/endpoints/orders/eject?endpoint=127.0.0.1:7001&for=5m`, { method: 'POST' });
      return {};
    },
  },
];

async function startMesh(t: Test): Promise<Mesh> {
  const consul = await startConsul(t);
  await put(consul.url, '/v1/agent/service/register', { Name: 'web', Port: 1001 });
  const { url: controlPlane } = await startControlPlane(t, { folder: temporaryFolder(t) });
  const folder = temporaryFolder(t);
  const [outbound = 0, admin = 0] = await freePorts(2);
  const file = writeConfig(t, {
    service: { name: 'web', id: 'web-1', register: false },
    listeners: { outbound: `127.0.0.1:${outbound}`, admin: `127.0.0.1:${admin}` },
    upstreams: [{ service: 'orders', endpoints: ['127.0.0.1:7001', '127.0.0.1:7002'] }],
    consul: { url: consul.url },
    controlPlane: { url: controlPlane },
    stateDir: join(folder, 'state'),
  });
  const config = loadAgentConfig({ file, env: {}, readFile: (path) => readFileSync(path, 'utf8') });
  if (!config.ok) throw new Error(JSON.stringify(config.problems));
  const log = openLog({ level: 'silent', name: 'test' });
  const agent = createAgent({ config: config.value, localPolicies: null, log, softwareVersion: 'test' });
  t.teardown(() => agent.stop(500));
  await agent.start();
  const mesh = { consul: consul.url, controlPlane, admin: `http://127.0.0.1:${admin}`, folder };
  await until(
    async () => (await check(mesh, {})).findings.every(({ level }) => level === 'ok'),
    20_000,
    () => 'the mesh is well',
  );
  return mesh;
}

const complaints = (findings: readonly Finding[]) => findings.filter(({ level }) => level !== 'ok');

t.test('check finds what is planted, by name, and says what mends it', { timeout: 120_000 }, async (t) => {
  if (consulOrFail(t) === null) return;
  const mesh = await startMesh(t);
  t.same(complaints((await check(mesh, {})).findings), [], 'before anything is planted there is no complaint');
  t.ok(new Set(ROWS.map(({ code }) => code)).size >= 12, `${ROWS.length} faults`);
  for (const { code, level, text, fix, plant, isMending = false } of ROWS) {
    await t.test(code, async (t) => {
      const planted = await plant(t, mesh);
      const { code: exit, findings } = await check(mesh, planted);
      const found = findings.find((one) => one.code === code);
      if (!t.ok(found, JSON.stringify(complaints(findings)))) return;
      t.match(found, { level, text, fix });
      t.equal(
        exit === 0,
        !findings.some((one) => one.level === 'failure'),
        'a failure is in the exit code, a warning is not',
      );
      if (!isMending) return;
      // Not the one that waits: the agent it speaks to runs in this process.
      await promisify(execFile)('bash', ['-c', found?.fix ?? '']);
      let left: string[] = [];
      await until(
        async () => {
          const again = (await check(mesh, planted)).findings.filter((one) => one.code === code && one.level !== 'ok');
          left = again.map((one) => one.text);
          return left.length === 0;
        },
        15_000,
        () => `mended: ${left.join('; ')}`,
      );
    });
  }
});

t.test('open_files: a shell that allows 512', async (t) => {
  const args = `check --consul ${await nobody()} --control-plane ${await nobody()} --admin ${await nobody()} -o json`;
  // Both limits: Node raises the soft one by itself.
  const out = execFileSync('bash', ['-c', `ulimit -n 512; ${process.execPath} ${ROOT}cli/main.ts ${args} || true`]);
  const found = (JSON.parse(String(out)) as Finding[]).find(({ code }) => code === 'open_files');
  t.match(found, { level: 'failure', text: /^only 512 open files/, fix: /^ulimit -n 65536 .*LimitNOFILE=65536/ });
});
