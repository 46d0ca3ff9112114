// The deployment files are read by the tools that will read them.

import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { parse } from 'yaml';
import { isOwnHost } from '../../agent/admin/host-check.ts';
import { loadAgentConfig } from '../../agent/config.ts';
import { readPolicyFiles } from '../../cli/policy-files.ts';
import { parseTokens } from '../../control-plane/api/tokens-file.ts';
import { loadControlPlaneConfig } from '../../control-plane/config.ts';

const exec = promisify(execFile);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

interface ComposeService {
  readonly image?: string;
  readonly build?: unknown;
  readonly ports?: readonly string[];
  readonly network_mode?: string;
  readonly read_only?: boolean;
  readonly init?: boolean;
  readonly volumes?: readonly string[];
}

t.test('docker-compose accepts the compose file', async (t) => {
  const { stdout } = await exec('docker-compose', ['--version']).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' || process.env.CI !== undefined) throw error;
    return { stdout: '' };
  });
  if (stdout === '') {
    t.comment('skipped: docker-compose is not installed here');
    return;
  }
  const { stdout: resolved } = await exec('docker-compose', ['-f', 'docker-compose.yml', 'config'], { cwd: ROOT });
  const services = Object.keys(parse(resolved).services);
  t.equal(services.filter((name) => name.endsWith('-agent')).length, 7);
});

t.test('the compose file pins images, publishes on loopback only, and gives every app its sidecar', async (t) => {
  // merge: compose reads `<<`.
  const compose = parse(readFileSync(`${ROOT}docker-compose.yml`, 'utf8'), { merge: true });
  t.equal(compose.version, undefined);
  const services = Object.entries<ComposeService>(compose.services);
  for (const [name, { image, build, ports = [], network_mode: mode }] of services) {
    if (build === undefined) t.match(image, /^outrigger:local$|:v?\d+\.\d+\.\d+$/, `${name} is pinned`);
    for (const port of ports) t.match(port, /^127\.0\.0\.1:/, `${name} is published on loopback`);
    if (name.endsWith('-agent')) t.equal(mode, `service:${name.slice(0, -'-agent'.length)}`);
  }
  for (const [name, service] of services.filter(([, { image }]) => image === 'outrigger:local')) {
    t.match(service, { read_only: true, init: true }, name);
  }
  const mounted = services.flatMap(([, { volumes = [] }]) => volumes).filter((volume) => volume.startsWith('./'));
  for (const volume of mounted) t.ok(readOrList(`${ROOT}${volume.split(':')[0]}`), `${volume} exists`);
});

t.test('Prometheus finds everything that it is to scrape, and is let in', async (t) => {
  const compose = parse(readFileSync(`${ROOT}docker-compose.yml`, 'utf8'), { merge: true });
  const services: Record<string, ComposeService> = compose.services;
  t.match(services.prometheus?.volumes, ['./deploy/prometheus:/etc/prometheus:ro']);
  t.match(services.grafana?.volumes?.join(), /deploy\/grafana\/provisioning:.*deploy\/grafana\/dashboards:/);
  const prometheus = parse(readFileSync(`${ROOT}deploy/prometheus/prometheus.yml`, 'utf8'));
  const jobs = new Map<string, { readonly targets: string[]; readonly tokenFile: string | undefined }>();
  for (const { job_name: job, static_configs: configs, authorization } of prometheus.scrape_configs) {
    const targets = configs.flatMap((config: { readonly targets: string[] }) => config.targets);
    jobs.set(job, { targets, tokenFile: authorization?.credentials_file });
  }
  const agents = jobs.get('outrigger-agents')?.targets ?? [];
  const sidecars = Object.keys(services).filter((name) => name.endsWith('-agent'));
  t.same(agents.map((target) => `${target.split(':')[0]}-agent`).sort(), sidecars.sort(), 'every agent, by its name');
  const readFile = (path: string): string => readFileSync(path, 'utf8');
  for (const target of agents) {
    const [name, port] = target.split(':');
    const config = loadAgentConfig({ file: `${ROOT}examples/compose/agents/${name}.yaml`, env: {}, readFile });
    if (!config.ok) throw new Error(`${name} is invalid`);
    const { admin } = config.value.listeners;
    t.equal(admin.port, Number(port));
    t.ok(isOwnHost(target, admin.host), `the admin API of ${name} answers to Host: ${target}`);
    t.equal(config.value.service.address, name, 'and is registered by the name that compose gives it');
  }
  const controlPlane = jobs.get('outrigger-control-plane');
  t.same(controlPlane?.targets, ['control-plane:9700']);
  const secret = readFile(`${ROOT}deploy/prometheus/${controlPlane?.tokenFile}`).trim();
  const viewer = parse(readFile(`${ROOT}examples/compose/tokens.yaml`)).tokens.find(
    ({ role }: { readonly role: string }) => role === 'viewer',
  );
  t.equal(secret, viewer?.token, 'the token file holds the sample token of a viewer');
});

t.test('the image runs as another user than root, on a pinned base', async (t) => {
  const text = readFileSync(`${ROOT}Dockerfile`, 'utf8');
  for (const base of text.match(/^FROM \S+/gm) ?? []) t.match(base, /^FROM node:26\.\d+\.\d+-slim$/);
  t.match(text, /^USER node$/m);
  const builds = text.split('RUN node scripts/build.mjs')[0] ?? '';
  t.notMatch(builds, /--omit=optional/, 'the compiler is an optional package of its platform');
});

t.test('every example policy is valid and names its schema', async (t) => {
  t.equal(readPolicyFiles([`${ROOT}examples/policies`]).length, 4);
  for (const name of readdirSync(`${ROOT}examples/policies`).filter((file) => file.endsWith('.yaml'))) {
    const first = readFileSync(`${ROOT}examples/policies/${name}`, 'utf8').split('\n')[0];
    t.equal(first, '# yaml-language-server: $schema=../../schema/policy.schema.json');
  }
});

t.test('every example configuration is valid', async (t) => {
  const readFile = (path: string): string => readFileSync(path, 'utf8');
  for (const folder of ['agents', 'compose/agents']) {
    for (const name of readdirSync(`${ROOT}examples/${folder}`).filter((file) => file.endsWith('.yaml'))) {
      const config = loadAgentConfig({ file: `${ROOT}examples/${folder}/${name}`, env: {}, readFile });
      t.same(config.ok ? [] : config.problems, [], `${folder}/${name}`);
    }
  }
  for (const name of ['control-plane.yaml', 'compose/control-plane.yaml']) {
    const config = loadControlPlaneConfig({ file: `${ROOT}examples/${name}`, env: {}, readFile });
    t.same(config.ok ? [] : config.problems, [], name);
  }
  t.equal(parseTokens(readFile(`${ROOT}examples/compose/tokens.yaml`), 'tokens.yaml').length, 3);
});

function readOrList(path: string): boolean {
  try {
    return readFileSync(path).length > 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EISDIR') return readdirSync(path).length > 0;
    throw error;
  }
}
