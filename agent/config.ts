// How this agent runs: addresses, files, tokens. Read once at start; how the mesh behaves is policy and lives elsewhere.

import { type ConfigSource, readConfig } from '#contract/input/config-source.ts';
import type { Rule } from '#contract/input/validate.ts';
import type { Parsed, Problem } from '#contract/problem.ts';
import type { AgentConfigFile } from '#contract/schema/agent-config-schema.ts';
import { WRITTEN_AGENT_CONFIG_SCHEMA } from '#contract/schema/written.ts';
import { parseDuration } from '#contract/text/durations.ts';
import { type HostPort, parseHostPort } from '#contract/text/host-port.ts';

export type { HostPort } from '#contract/text/host-port.ts';

export interface AgentConfig {
  readonly service: {
    readonly name: string;
    readonly id: string;
    /** Null: an agent without an application behind it, which calls but is not called. */
    readonly port: number | null;
    /** Where others reach the service. */
    readonly address: string;
    /** Where the agent reaches the application. */
    readonly appAddress: string;
    readonly tags: readonly string[];
    readonly meta: Readonly<Record<string, string>>;
    readonly zone: string | null;
    readonly weight: number;
    /** `http` null: Consul connects and asks nothing. */
    readonly check: { readonly http: string | null; readonly intervalMs: number; readonly timeoutMs: number } | null;
    readonly register: 'inbound' | 'app' | 'none';
  };
  /** `inbound` is null when service.port is. */
  readonly listeners: {
    readonly outbound: HostPort;
    readonly inbound: HostPort | null;
    readonly admin: HostPort;
    /** For scrapes alone; null: they go to the admin API. */
    readonly metrics: HostPort | null;
    /** Lets a successor bind the same addresses while this process still serves. */
    readonly sharePorts: boolean;
  };
  readonly upstreams: readonly {
    readonly service: string;
    readonly listen: HostPort | null;
    /** `tcp` only with `listen`. */
    readonly protocol: 'http' | 'tcp';
    readonly endpoints: readonly HostPort[] | null;
  }[];
  /** Null: `consul: false`. At most one of token and tokenFile. */
  readonly consul: {
    readonly url: string;
    readonly token: string | null;
    readonly tokenFile: string | null;
    readonly datacenter: string | null;
  } | null;
  /** Null: `controlPlane: false`. At most one of token and tokenFile. */
  readonly controlPlane: {
    /** All replicas, none twice. */
    readonly urls: readonly string[];
    readonly token: string | null;
    readonly tokenFile: string | null;
    /** Absent: the certificates of the system are trusted. */
    readonly caFile?: string;
  } | null;
  /** Who is asked first who serves what; `control-plane` only with both. */
  readonly discovery: 'consul' | 'control-plane';
  /** File or folder of local documents. */
  readonly policies: string | null;
  readonly stateDir: string;
  readonly log: {
    readonly level: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent';
    readonly access: 'off' | 'failures' | 'all';
  };
}

const RULES: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ['oneToken', (value) => oneToken(value as { token?: string; tokenFile?: string })],
  ['tcpNeedsListen', (value) => tcpNeedsListen(value as { protocol?: string; listen?: string })],
  ['listenersApart', (value) => listenersApart(value as AgentConfigFile)],
  ['registrationNeedsPort', (value) => registrationNeedsPort(value as AgentConfigFile)],
  ['discoveryNeedsBoth', (value) => discoveryNeedsBoth(value as AgentConfigFile)],
]);

/**
 * The configuration from a file (YAML or JSON) and `OUTRIGGER_…` variables, which go before it.
 *
 * @returns every default filled in, or every problem: those of the file with line and column, those of the environment with
 *          the variable's name as path
 */
export function loadAgentConfig(source: ConfigSource): Parsed<AgentConfig> {
  const read = readConfig(WRITTEN_AGENT_CONFIG_SCHEMA, source, RULES);
  // readConfig validated against the schema that AgentConfigFile is derived from.
  return read.ok ? { ok: true, value: fillIn(read.value as AgentConfigFile, source.env.HOSTNAME) } : read;
}

function fillIn(file: AgentConfigFile, hostName: string | undefined): AgentConfig {
  const { listeners = {}, upstreams = [], log = {} } = file;
  const hasApplication = file.service.port !== undefined;
  return {
    service: serviceOf(file.service, hostName),
    listeners: {
      outbound: address(listeners.outbound ?? '127.0.0.1:15001'),
      inbound: hasApplication ? address(listeners.inbound ?? '0.0.0.0:15006') : null,
      admin: address(listeners.admin ?? '127.0.0.1:15000'),
      metrics: listeners.metrics === undefined ? null : address(listeners.metrics),
      sharePorts: listeners.sharePorts ?? false,
    },
    upstreams: upstreams.map(({ service, listen, protocol, endpoints }) => ({
      service,
      listen: listen === undefined ? null : address(listen),
      protocol: protocol ?? 'http',
      endpoints: endpoints?.map(address) ?? null,
    })),
    consul: consulOf(file.consul ?? {}),
    controlPlane: controlPlaneOf(file.controlPlane ?? {}),
    discovery: file.discovery ?? 'consul',
    policies: file.policies ?? null,
    stateDir: file.stateDir ?? './state',
    log: { level: log.level ?? 'info', access: log.access ?? 'failures' },
  };
}

function serviceOf(service: AgentConfigFile['service'], hostName: string | undefined): AgentConfig['service'] {
  const { name, port = null, check = false, register = true } = service;
  return {
    name,
    id: service.id ?? defaultId(name, hostName, port),
    port,
    address: service.address ?? '127.0.0.1',
    appAddress: service.appAddress ?? '127.0.0.1',
    tags: service.tags ?? [],
    meta: service.meta ?? {},
    zone: service.zone ?? null,
    weight: service.weight ?? 1,
    check:
      check === false
        ? null
        : { http: check.http ?? null, intervalMs: ms(check.interval ?? '2s'), timeoutMs: ms(check.timeout ?? '1s') },
    register: port === null || register === false ? 'none' : register === true ? 'inbound' : 'app',
  };
}

/**
 * Distinct for each instance on one machine by the port and, where HOSTNAME is in the environment as in containers, for each
 * container. Two hosts without it must say `service.id`.
 */
function defaultId(name: string, hostName: string | undefined, port: number | null): string {
  const host = hostName?.replaceAll(/[^A-Za-z0-9._-]/g, '').slice(0, 48);
  return [name.slice(0, 64), ...(host ? [host] : []), ...(port === null ? [] : [String(port)])].join('-');
}

function consulOf(consul: NonNullable<AgentConfigFile['consul']>): AgentConfig['consul'] {
  if (consul === false) return null;
  const { url = 'http://127.0.0.1:8500', token = null, tokenFile = null, datacenter = null } = consul;
  return { url: withoutSlash(url), token, tokenFile, datacenter };
}

function controlPlaneOf(controlPlane: NonNullable<AgentConfigFile['controlPlane']>): AgentConfig['controlPlane'] {
  if (controlPlane === false) return null;
  const { url = 'http://127.0.0.1:9700', replicas = [], token = null, tokenFile = null, caFile } = controlPlane;
  const urls = [...new Set([url, ...replicas].map(withoutSlash))];
  return { urls, token, tokenFile, ...(caFile === undefined ? {} : { caFile }) };
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '');
}

/** Validated texts: every address and duration parses. */
function address(text: string): HostPort {
  return parseHostPort(text) ?? { host: text, port: 0 };
}

function ms(text: string): number {
  return parseDuration(text) ?? 0;
}

function oneToken({ token, tokenFile }: { token?: string; tokenFile?: string }): Problem[] {
  if (token === undefined || tokenFile === undefined) return [];
  return [{ code: 'OTR_INCONSISTENT', path: 'tokenFile', message: 'must not be there beside token' }];
}

/** Two listeners on one port would fail one after the other at start, with less to say. Port 0 is never the same. */
function listenersApart({ service, listeners = {}, upstreams = [] }: AgentConfigFile): Problem[] {
  const all = [
    { path: 'listeners.outbound', text: listeners.outbound ?? '127.0.0.1:15001' },
    ...(service.port === undefined ? [] : [{ path: 'listeners.inbound', text: listeners.inbound ?? '0.0.0.0:15006' }]),
    { path: 'listeners.admin', text: listeners.admin ?? '127.0.0.1:15000' },
    ...(listeners.metrics === undefined ? [] : [{ path: 'listeners.metrics', text: listeners.metrics }]),
    ...upstreams.flatMap(({ listen }, index) =>
      listen === undefined ? [] : [{ path: `upstreams[${index}].listen`, text: listen }],
    ),
  ];
  return all.flatMap(({ path, text }, index): Problem[] => {
    const { host, port } = address(text);
    const former = all.slice(0, index).find((other) => {
      const taken = address(other.text);
      return port !== 0 && taken.port === port && (taken.host === host || isWildcard(host) || isWildcard(taken.host));
    });
    if (former === undefined) return [];
    const message = `must differ from ${former.path} (${former.text}), found ${text}`;
    return [{ code: 'OTR_DUPLICATE', path, message }];
  });
}

/** Bytes without a Host do not say where they want to go. */
function tcpNeedsListen({ protocol, listen }: { protocol?: string; listen?: string }): Problem[] {
  if (protocol !== 'tcp' || listen !== undefined) return [];
  return [{ code: 'OTR_MISSING', path: 'listen', message: 'must be there with protocol: tcp' }];
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

function registrationNeedsPort({ service }: AgentConfigFile): Problem[] {
  if (service.port !== undefined) return [];
  const wants = (['register', 'check'] as const).filter((key) => service[key] !== undefined && service[key] !== false);
  return wants.map((key) => ({
    code: 'OTR_INCONSISTENT',
    path: `service.${key}`,
    message: 'must not be there without service.port',
  }));
}

/** Without Consul there would be nothing to fall back on, and the first restart of the control plane would find an agent blind. */
function discoveryNeedsBoth({ discovery, consul, controlPlane }: AgentConfigFile): Problem[] {
  if (discovery !== 'control-plane') return [];
  const missing = [...(consul === false ? ['consul'] : []), ...(controlPlane === false ? ['controlPlane'] : [])];
  return missing.map((key) => ({
    code: 'OTR_INCONSISTENT',
    path: 'discovery',
    message: `must not be control-plane with ${key}: false`,
  }));
}
