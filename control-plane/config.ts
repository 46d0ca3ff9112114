// How this control plane runs: addresses, files. Read once at start.

import { type ConfigSource, readConfig } from '#contract/input/config-source.ts';
import type { Rule } from '#contract/input/validate.ts';
import type { Parsed, Problem } from '#contract/problem.ts';
import type { ControlPlaneConfigFile } from '#contract/schema/control-plane-config-schema.ts';
import { WRITTEN_CONTROL_PLANE_CONFIG_SCHEMA } from '#contract/schema/written.ts';
import { type HostPort, isLoopback, parseHostPort } from '#contract/text/host-port.ts';

export type { HostPort } from '#contract/text/host-port.ts';

export interface ConsulConfig {
  readonly url: string;
  /** At most one of token and tokenFile. */
  readonly token: string | null;
  readonly tokenFile: string | null;
  readonly datacenter: string | null;
}

export type StoreConfig =
  | { readonly kind: 'sqlite'; readonly path: string }
  | ({ readonly kind: 'consul'; readonly prefix: string } & ConsulConfig);

export interface ControlPlaneConfig {
  readonly listen: HostPort;
  readonly store: StoreConfig;
  /** Null: `registry: false`, with a real Consul. */
  readonly registry: { readonly listen: HostPort } | null;
  /** What is watched for agents: a Consul, the embedded registry, or (null or absent) nothing. */
  readonly watched?: ConsulConfig | 'registry' | null;
  /** Never null when `listen` is not loopback. */
  readonly auth: { readonly tokensFile?: string; readonly bootstrapToken?: string } | null;
  /** Null or absent: plain HTTP. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string } | null;
  /** Of one token, or without one of an address; absent: the API's own default, which is the schema's. */
  readonly requestsPerMinute?: number;
  /** Absent: nobody is called. */
  readonly slo?: { readonly webhooks: readonly string[] };
  readonly log: { readonly level: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent' };
}

const RULES: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ['someToken', (value) => someToken(value as NonNullable<ControlPlaneConfigFile['auth']>)],
  ['authOffLoopback', (value) => authOffLoopback(value as ControlPlaneConfigFile)],
  ['oneStore', (value) => oneStore(value as NonNullable<ControlPlaneConfigFile['store']>)],
  ['oneToken', (value) => oneToken(value as { token?: string; tokenFile?: string })],
  ['registryApart', (value) => registryApart(value as ControlPlaneConfigFile)],
]);

/**
 * The configuration from a file (YAML or JSON) and `OUTRIGGER_…` variables, which go before it.
 *
 * @returns every default filled in, or every problem: those of the file with line and column, those of the environment with
 *          the variable's name as path
 */
export function loadControlPlaneConfig(source: ConfigSource): Parsed<ControlPlaneConfig> {
  const read = readConfig(WRITTEN_CONTROL_PLANE_CONFIG_SCHEMA, source, RULES);
  // readConfig validated against the schema that ControlPlaneConfigFile is derived from.
  return read.ok ? { ok: true, value: fillIn(read.value as ControlPlaneConfigFile) } : read;
}

function fillIn(file: ControlPlaneConfigFile): ControlPlaneConfig {
  const { listen, store, auth, tls, requestsPerMinute, slo, log } = file;
  const registry = registryOf(file);
  return {
    listen: address(listen ?? '127.0.0.1:9700'),
    store: storeOf(store ?? {}),
    registry: registry === false ? null : { listen: address(registry.listen ?? '127.0.0.1:8500') },
    watched: watchedOf(file),
    auth: auth ?? null,
    tls: tls ?? null,
    requestsPerMinute: requestsPerMinute ?? 6_000,
    slo: { webhooks: slo?.webhooks ?? [] },
    log: { level: log?.level ?? 'info' },
  };
}

/** Who keeps policies in Consul has one, and needs no embedded one beside it. */
function registryOf({ store, registry }: ControlPlaneConfigFile): NonNullable<ControlPlaneConfigFile['registry']> {
  return registry ?? (store?.consul === undefined ? {} : false);
}

/** The Consul that is there anyway, unless another one is named. */
function watchedOf(file: ControlPlaneConfigFile): NonNullable<ControlPlaneConfig['watched']> | null {
  const { consul = file.store?.consul } = file.discovery ?? {};
  if (consul === false) return null;
  if (consul === undefined) return registryOf(file) === false ? null : 'registry';
  const { url, token = null, tokenFile = null, datacenter = null } = consul;
  return { url, token, tokenFile, datacenter };
}

function storeOf({ sqlite, consul }: NonNullable<ControlPlaneConfigFile['store']>): StoreConfig {
  if (consul === undefined) return { kind: 'sqlite', path: sqlite ?? './state/policies.db' };
  const { url, prefix = 'outrigger/', token, tokenFile, datacenter } = consul;
  return {
    kind: 'consul',
    url,
    prefix,
    token: token ?? null,
    tokenFile: tokenFile ?? null,
    datacenter: datacenter ?? null,
  };
}

/** A validated text: it parses. */
function address(text: string): HostPort {
  return parseHostPort(text) ?? { host: text, port: 0 };
}

function authOffLoopback({ listen, auth }: ControlPlaneConfigFile): Problem[] {
  if (listen === undefined || auth !== undefined || isLoopback(address(listen).host)) return [];
  return [
    {
      code: 'OTR_INCONSISTENT',
      path: 'listen',
      message: `must be a loopback address as long as there is no auth, found ${listen}`,
      hint: 'set OUTRIGGER_AUTH_BOOTSTRAP_TOKEN or auth.tokensFile: whoever reaches the API rules the mesh',
    },
  ];
}

function oneStore({ sqlite, consul }: NonNullable<ControlPlaneConfigFile['store']>): Problem[] {
  if (sqlite === undefined || consul === undefined) return [];
  return [{ code: 'OTR_INCONSISTENT', path: 'sqlite', message: 'must not be there beside consul' }];
}

function oneToken({ token, tokenFile }: { token?: string; tokenFile?: string }): Problem[] {
  if (token === undefined || tokenFile === undefined) return [];
  return [{ code: 'OTR_INCONSISTENT', path: 'tokenFile', message: 'must not be there beside token' }];
}

/** Authentication without a first token would let nobody in, the one who could make a token included. */
function someToken({ tokensFile, bootstrapToken }: NonNullable<ControlPlaneConfigFile['auth']>): Problem[] {
  if (tokensFile !== undefined || bootstrapToken !== undefined) return [];
  const message = 'must have one of tokensFile and bootstrapToken';
  return [
    { code: 'OTR_MISSING', path: '', message, hint: 'set OUTRIGGER_AUTH_BOOTSTRAP_TOKEN=$(openssl rand -hex 32)' },
  ];
}

function registryApart(file: ControlPlaneConfigFile): Problem[] {
  const { listen = '127.0.0.1:9700' } = file;
  const registry = registryOf(file);
  if (registry === false) return [];
  const own = registry.listen ?? '127.0.0.1:8500';
  const { port } = address(listen);
  if (port === 0 || port !== address(own).port || address(listen).host !== address(own).host) return [];
  return [{ code: 'OTR_DUPLICATE', path: 'registry.listen', message: `must differ from listen, found ${own} twice` }];
}
