// What a registration asks for: service and check definitions, decoded and validated with Consul's own words.

import type { Decoded } from './decode.ts';
import { decode } from './decode.ts';
import type { CheckStatus, Result, ServiceAddress, ServiceInput, Weights } from './state/model.ts';
import { refused } from './state/model.ts';

/** Consul runs no probe more often than this. */
const MIN_INTERVAL_MS = 1000;
const DEFAULT_TIMEOUT_MS = 10_000;
const MIN_DEREGISTER_AFTER_MS = 60_000;
const MAX_OUTPUT_BYTES = 4096;
/** Consul has no bound here; a name that fills a screen is a mistake. */
const MAX_NAME_LENGTH = 1024;

export const SERVICE_SHAPE = {
  ID: 'string',
  Name: 'string',
  Kind: 'string',
  Tags: 'strings',
  Address: 'string',
  TaggedAddresses: 'object',
  Meta: 'map',
  Port: 'int',
  Weights: 'object',
  EnableTagOverride: 'bool',
  Check: 'object',
  Checks: 'objects',
  Proxy: 'object',
  Connect: 'object',
  Token: 'string',
  Namespace: 'string',
} as const;

export const CHECK_SHAPE = {
  ID: 'string',
  CheckID: 'string',
  Name: 'string',
  Notes: 'string',
  Status: 'string',
  ServiceID: 'string',
  Token: 'string',
  Namespace: 'string',
  TTL: 'duration',
  Interval: 'duration',
  Timeout: 'duration',
  DeregisterCriticalServiceAfter: 'duration',
  HTTP: 'string',
  Method: 'string',
  Header: 'lists',
  Body: 'string',
  TLSSkipVerify: 'bool',
  TCP: 'string',
  OutputMaxSize: 'int',
  SuccessBeforePassing: 'int',
  FailuresBeforeCritical: 'int',
  Args: 'strings',
  ScriptArgs: 'strings',
  Shell: 'string',
  DockerContainerID: 'string',
  GRPC: 'string',
  GRPCUseTLS: 'bool',
  AliasNode: 'string',
  AliasService: 'string',
} as const;

export type Probe =
  | { readonly kind: 'ttl'; readonly ttlMs: number }
  | {
      readonly kind: 'http';
      readonly url: string;
      readonly method: string;
      readonly header: Readonly<Record<string, readonly string[]>>;
      readonly body: string;
      readonly isInsecure: boolean;
      readonly intervalMs: number;
      readonly timeoutMs: number;
    }
  | {
      readonly kind: 'tcp';
      readonly host: string;
      readonly port: number;
      readonly intervalMs: number;
      readonly timeoutMs: number;
    };

export interface CheckDefinition {
  /** Empty until the registration gives it one. */
  readonly id: string;
  readonly name: string;
  readonly notes: string;
  readonly status: CheckStatus;
  readonly serviceId: string;
  readonly probe: Probe;
  readonly maxOutputBytes: number;
  /** Consecutive results that are needed before the status moves, at least 1. */
  readonly successesBeforePassing: number;
  readonly failuresBeforeCritical: number;
  /** How long its service may stay critical before it is deregistered, in ms; null: for ever. */
  readonly deregisterAfterMs: number | null;
}

/** A failure with the status Consul gives it. */
export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly status: number; readonly error: string };

export function bad(
  status: number,
  error: string,
): { readonly ok: false; readonly status: number; readonly error: string } {
  return { ok: false, status, error };
}

export function buildService(given: Decoded<typeof SERVICE_SHAPE>): Outcome<ServiceInput> {
  const name = given.Name ?? '';
  if (name === '') return bad(400, 'Missing service name');
  const id = given.ID === undefined || given.ID === '' ? name : given.ID;
  if (name.length > MAX_NAME_LENGTH || id.length > MAX_NAME_LENGTH) {
    return bad(400, `Invalid service: name and ID must not be longer than ${MAX_NAME_LENGTH} characters`);
  }
  const address = given.Address ?? '';
  if (['0.0.0.0', '::', '[::]'].includes(address)) return bad(400, 'Invalid service address');
  const meta = checkMeta(given.Meta ?? {});
  if (meta !== null) return bad(400, `Invalid Service Meta: ${meta}`);
  const weights = buildWeights(given.Weights);
  if (!weights.ok) return bad(400, weights.error);
  const tagged = buildTaggedAddresses(given.TaggedAddresses);
  if (!tagged.ok) return bad(400, tagged.error);
  const proxy = given.Proxy ?? {};
  if (given.Kind === 'connect-proxy' && !proxy.DestinationServiceName) {
    const reason = 'Proxy.DestinationServiceName must be non-empty for Connect proxy services';
    return bad(400, `1 error occurred:\n\t* ${reason}\n\n`);
  }
  if (given.Connect?.SidecarService !== undefined) {
    return bad(400, 'Connect.SidecarService is not supported by the embedded registry; register the sidecar itself');
  }
  return {
    ok: true,
    value: {
      ...(given.Kind === undefined || given.Kind === '' ? {} : { Kind: given.Kind }),
      ID: id,
      Service: name,
      Tags: given.Tags ?? [],
      Address: address,
      ...(tagged.value === null ? {} : { TaggedAddresses: tagged.value }),
      Meta: given.Meta ?? null,
      Port: given.Port ?? 0,
      Weights: weights.value,
      EnableTagOverride: given.EnableTagOverride ?? false,
      Proxy: { ...proxy, MeshGateway: proxy.MeshGateway ?? {}, Expose: proxy.Expose ?? {} },
      Connect: given.Connect ?? {},
    },
  };
}

/** The checks of a service registration, in order; an empty `Check` counts as none. */
export function buildServiceChecks(given: Decoded<typeof SERVICE_SHAPE>): Outcome<CheckDefinition[]> {
  const single = given.Check !== undefined && Object.keys(given.Check).length > 0 ? [given.Check] : [];
  const checks: CheckDefinition[] = [];
  for (const raw of [...single, ...(given.Checks ?? [])]) {
    const decoded = decode(raw, CHECK_SHAPE);
    if (!decoded.ok) return bad(400, `Request decode failed: ${decoded.error}`);
    const check = buildCheck(decoded.value);
    if (!check.ok) return check;
    checks.push(check.value);
  }
  return { ok: true, value: checks };
}

/** @returns 400 for what cannot be, 500 for scripts, as Consul does when they are switched off */
export function buildCheck(given: Decoded<typeof CHECK_SHAPE>): Outcome<CheckDefinition> {
  if (given.Status !== undefined && given.Status !== '' && !isStatus(given.Status)) {
    return bad(400, "Status for checks must 'passing', 'warning', 'critical'");
  }
  const probe = buildProbe(given);
  if (!probe.ok) return probe;
  const deregisterAfterMs = given.DeregisterCriticalServiceAfter ?? 0;
  return {
    ok: true,
    value: {
      id: (given.CheckID ?? '') || (given.ID ?? ''),
      name: given.Name ?? '',
      notes: given.Notes ?? '',
      status: isStatus(given.Status) ? given.Status : 'critical',
      serviceId: given.ServiceID ?? '',
      probe: probe.value,
      maxOutputBytes: Math.min(MAX_OUTPUT_BYTES, given.OutputMaxSize || MAX_OUTPUT_BYTES),
      successesBeforePassing: Math.max(1, given.SuccessBeforePassing ?? 0),
      failuresBeforeCritical: Math.max(1, given.FailuresBeforeCritical ?? 0),
      deregisterAfterMs: deregisterAfterMs > 0 ? Math.max(MIN_DEREGISTER_AFTER_MS, deregisterAfterMs) : null,
    },
  };
}

function buildProbe(given: Decoded<typeof CHECK_SHAPE>): Outcome<Probe> {
  const [ttlMs, interval] = [given.TTL ?? 0, given.Interval ?? 0];
  const isScript = (given.Args ?? given.ScriptArgs ?? []).length > 0;
  const isTimed = isScript || [given.HTTP, given.TCP, given.GRPC].some((target) => (target ?? '') !== '');
  if (interval > 0 && ttlMs > 0) return bad(400, 'Invalid check: Interval and TTL cannot both be specified');
  if (isTimed && interval <= 0) return bad(400, 'Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks');
  if ((given.OutputMaxSize ?? 0) < 0) return bad(400, 'Invalid check: MaxOutputMaxSize must be positive');
  if (isScript) {
    const advice = "to enable, configure 'enable_script_checks' to true";
    return bad(500, `Scripts are disabled on this agent from remote calls; ${advice}`);
  }
  if ((given.GRPC ?? '') !== '' || (given.AliasService ?? '') !== '' || (given.AliasNode ?? '') !== '') {
    return bad(400, 'Invalid check: the embedded registry runs TTL, HTTP and TCP checks only');
  }
  const intervalMs = Math.max(MIN_INTERVAL_MS, interval);
  const timeoutMs = (given.Timeout ?? 0) > 0 ? (given.Timeout ?? 0) : DEFAULT_TIMEOUT_MS;
  if (given.HTTP !== undefined && given.HTTP !== '') return buildHttpProbe(given, given.HTTP, intervalMs, timeoutMs);
  if (given.TCP !== undefined && given.TCP !== '') {
    const target = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(given.TCP);
    if (target === null) return bad(400, `Invalid check: TCP must be HOST:PORT, got ${JSON.stringify(given.TCP)}`);
    const host = target[1] ?? target[2] ?? '';
    return { ok: true, value: { kind: 'tcp', host, port: Number(target[3]), intervalMs, timeoutMs } };
  }
  if (ttlMs <= 0) return bad(400, 'Invalid check: TTL must be > 0 for TTL checks');
  return { ok: true, value: { kind: 'ttl', ttlMs } };
}

function buildHttpProbe(
  given: Decoded<typeof CHECK_SHAPE>,
  url: string,
  intervalMs: number,
  timeoutMs: number,
): Outcome<Probe> {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    return bad(400, `Invalid check: HTTP must be an http or https URL, got ${JSON.stringify(url)}`);
  }
  const method = (given.Method ?? '') === '' ? 'GET' : (given.Method ?? 'GET');
  if (!/^[A-Z]{1,16}$/.test(method)) return bad(400, `Invalid check: bad method ${JSON.stringify(method)}`);
  const [header, body] = [given.Header ?? {}, given.Body ?? ''];
  return {
    ok: true,
    value: { kind: 'http', url, method, header, body, isInsecure: given.TLSSkipVerify ?? false, intervalMs, timeoutMs },
  };
}

export function isStatus(text: unknown): text is CheckStatus {
  return text === 'passing' || text === 'warning' || text === 'critical';
}

function buildWeights(raw: Readonly<Record<string, unknown>> | undefined): Result<Weights> {
  if (raw === undefined) return { ok: true, value: { Passing: 1, Warning: 1 } };
  const decoded = decode(raw, { Passing: 'int', Warning: 'int' });
  if (!decoded.ok) return refused(`Request decode failed: ${decoded.error}`);
  const { Passing = 0, Warning = 0 } = decoded.value;
  if (Passing < 1) return refused('Invalid Weights: Passing must be greater than 0');
  if (Warning < 0) return refused('Invalid Weights: Warning must be greater or equal than 0');
  if (Passing > 65_535 || Warning > 65_535) return refused('Invalid Weights: DNS Weight must be between 0 and 65535');
  return { ok: true, value: { Passing, Warning } };
}

function buildTaggedAddresses(
  raw: Readonly<Record<string, unknown>> | undefined,
): Result<Record<string, ServiceAddress> | null> {
  if (raw === undefined || Object.keys(raw).length === 0) return { ok: true, value: null };
  const built: [string, ServiceAddress][] = [];
  for (const [tag, value] of Object.entries(raw)) {
    const decoded = decode(value, { Address: 'string', Port: 'int' });
    if (!decoded.ok) return refused(`Request decode failed: ${decoded.error}`);
    built.push([tag, { Address: decoded.value.Address ?? '', Port: decoded.value.Port ?? 0 }]);
  }
  return { ok: true, value: Object.fromEntries(built) };
}

/** Consul's bounds: 64 pairs, keys of 128 letters, digits, `-` and `_`, values of 512 characters. */
function checkMeta(meta: Readonly<Record<string, string>>): string | null {
  if (Object.keys(meta).length > 64) return 'Node metadata cannot contain more than 64 key/value pairs';
  for (const [name, value] of Object.entries(meta)) {
    const about = `Couldn't load metadata pair ('${name}', '${value}')`;
    if (name === '') return `${about}: Key cannot be blank`;
    if (!/^[a-zA-Z0-9_-]+$/.test(name)) return `${about}: Key contains invalid characters`;
    if (name.length > 128) return `${about}: Key is too long (limit: 128 characters)`;
    if (value.length > 512) return `${about}: Value is too long (limit: 512 characters)`;
  }
  return null;
}
