// One agent whose services stand for one situation each: policies in a file, instances from a Consul that a test plays, origins that
// answer as the situation needs. Asked through the command line, as a person does.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { createAgent } from '../../agent/agent.ts';
import { loadAgentConfig } from '../../agent/config.ts';
import { loadLocalPolicies } from '../../agent/sync/local-policies.ts';
import { openLog } from '../../agent/telemetry/log.ts';
import { type CommandResult, runCommand } from './command-line.ts';
import { freePorts, temporaryFolder, until } from './processes.ts';
import { exchangeRaw } from './raw-client.ts';
import { startScriptedConsul } from './scripted-consul.ts';

export interface Instance {
  readonly id: string;
  readonly port: number;
  readonly tags?: readonly string[];
  readonly meta?: Readonly<Record<string, string>>;
  /** Name of a check that is critical. */
  readonly critical?: string;
  readonly isInMaintenance?: boolean;
}

export interface WhyMesh {
  readonly admin: string;
  readonly policyFile: string;
  /** Sends one request by its Host and returns the whole answer. */
  ask(requestId: string, service: string, request?: AskedRequest): Promise<string>;
  /** Runs a command line in this process. */
  run(...args: readonly string[]): Promise<CommandResult>;
  /** `FILE:LINE` of the line that has the remark `# @mark`. */
  at(mark: string): string;
}

export interface AskedRequest {
  readonly method?: string;
  readonly target?: string;
  readonly host?: string;
  readonly headers?: readonly string[];
  readonly body?: string;
}

/** @param policies  a file of documents beside the agent; null: they come from the control plane */
export async function startWhyMesh(
  t: Test,
  policies: string | null,
  instances: Readonly<Record<string, readonly Instance[]>>,
  controlPlane: string | null = null,
): Promise<WhyMesh> {
  const consul = await startScriptedConsul(t, ({ path, query }, response) => {
    // A question that waits for a change is left open: nothing changes here.
    if (query.get('index') !== null && query.get('index') !== '0') return;
    const service = /^\/v1\/health\/service\/([a-z]+)$/.exec(path)?.[1] ?? '';
    response.setHeader('X-Consul-Index', '7');
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify((instances[service] ?? []).map((one) => entry(service, one))));
  });
  const [outbound = 0, adminPort = 0] = await freePorts(2);
  const folder = temporaryFolder(t);
  const file = join(folder, 'agent.json');
  const policyFile = join(folder, 'mesh.yaml');
  writeFileSync(policyFile, policies ?? '');
  writeFileSync(
    file,
    JSON.stringify({
      service: { name: 'web', id: 'web-1', zone: 'a', register: false },
      listeners: { outbound: `127.0.0.1:${outbound}`, admin: `127.0.0.1:${adminPort}` },
      upstreams: Object.keys(instances).map((service) => ({ service })),
      consul: { url: consul.url },
      controlPlane: controlPlane === null ? false : { url: controlPlane },
      ...(policies === null ? {} : { policies: policyFile }),
      stateDir: join(folder, 'state'),
    }),
  );
  const config = loadAgentConfig({ file, env: {}, readFile: (path) => readFileSync(path, 'utf8') });
  if (!config.ok) throw new Error(JSON.stringify(config.problems));
  const local = policies === null ? null : loadLocalPolicies(policyFile);
  if (local?.ok === false) throw new Error(JSON.stringify(local.problems));
  const agent = createAgent({
    config: config.value,
    localPolicies: local?.value ?? null,
    log: openLog({ level: 'silent', name: 'test' }),
    softwareVersion: 'test',
  });
  t.teardown(() => agent.stop(500));
  await agent.start();
  const admin = `http://127.0.0.1:${adminPort}`;
  await until(
    async () => {
      const views = (await (await fetch(`${admin}/clusters?format=json`)).json()) as { endpoints: unknown[] }[];
      return views.filter(({ endpoints }) => endpoints.length > 0).length === Object.keys(instances).length;
    },
    10_000,
    () => 'every service has endpoints',
  );
  const lines = (policies ?? '').split('\n');
  return {
    admin,
    policyFile,
    ask: (requestId, service, { method = 'GET', target = '/', host = service, headers = [], body = '' } = {}) => {
      const fields = [`Host: ${host}`, `X-Request-Id: ${requestId}`, ...headers, 'Connection: close'];
      if (body !== '') fields.push(`Content-Length: ${body.length}`);
      return exchangeRaw(t, outbound, `${method} ${target} HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\n${body}`);
    },
    run: (...args) => runCommand(args),
    at: (mark) => {
      const found = lines.flatMap((line, index) => (new RegExp(`# @${mark}$`).test(line) ? [index + 1] : []));
      if (found.length !== 1) throw new Error(`${found.length} lines have the remark @${mark}`);
      return `${policyFile}:${found[0]}`;
    },
  };
}

function entry(
  service: string,
  { id, port, tags = [], meta = {}, critical, isInMaintenance = false }: Instance,
): object {
  const checks = [
    { CheckID: 'serfHealth', Name: 'Serf Health Status', Status: 'passing' },
    ...(critical === undefined ? [] : [{ CheckID: `service:${id}`, Name: critical, Status: 'critical' }]),
    ...(isInMaintenance ? [{ CheckID: `_service_maintenance:${id}`, Name: 'Maintenance', Status: 'critical' }] : []),
  ];
  return {
    Node: { Node: 'n1', Address: '127.0.0.1' },
    Service: {
      ID: id,
      Service: service,
      Address: '127.0.0.1',
      Port: port,
      Meta: meta,
      Tags: tags,
      Weights: { Passing: 1, Warning: 1 },
    },
    Checks: checks,
  };
}
