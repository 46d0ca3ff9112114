// Turns the body of GET /v1/health/service/:name into endpoints. Pure. A bad entry is dropped alone and counted; only a body
// that is not a list at all is refused.

import type { Endpoint } from '../endpoint.ts';

/** Key in Meta that says which process wrote the registration; a restart with overlap has two for a while. */
export const LIFE_KEY = 'outrigger_life';

/** Why an entry was dropped. */
export const DROP_REASONS = ['malformed', 'bad_address', 'bad_port', 'bad_weight', 'duplicate'] as const;
export type DropReason = (typeof DROP_REASONS)[number];

/** An instance that Consul has and that may not be picked. */
export interface LeftOut {
  readonly address: string;
  readonly port: number;
  readonly reason: 'critical' | 'maintenance';
  /** Names of the checks that say so; empty when they have none. */
  readonly checks: readonly string[];
}

/** At most so many are named; all are counted. */
export const MAX_LEFT_OUT = 100;

export interface DecodedHealth {
  /** What may be picked: neither critical nor in maintenance, or everything that is critical when nothing else is left. */
  readonly endpoints: readonly Endpoint[];
  /** Entries left out because a check (or the node itself) is critical. */
  readonly criticalCount: number;
  /** Entries left out because an operator put them or their node in maintenance. */
  readonly maintenanceCount: number;
  /** Who was left out by health; the first hundred. */
  readonly leftOut: readonly LeftOut[];
  /** True when `endpoints` are all critical and kept only because nothing better is known. */
  readonly isPanicSet: boolean;
  readonly dropped: Readonly<Partial<Record<DropReason, number>>>;
}

type Health = 'passing' | 'warning' | 'critical' | 'maintenance';

const MAX_WEIGHT = 65_535;

/**
 * Decodes one answer.
 *
 * Critical checks (serfHealth included) take an entry out, as Consul's own DNS does; a warning keeps it in with
 * `Weights.Warning`. When every entry is critical, all of them are returned: a wrong check must not cause an outage that
 * the instances themselves do not have. Maintenance is an operator's word and is always obeyed.
 *
 * @returns null when the body is not a list
 */
export function decodeHealth(body: unknown, service: string): DecodedHealth | null {
  if (!Array.isArray(body)) return null;
  const usable: Endpoint[] = [];
  const critical: Endpoint[] = [];
  const seen = new Set<string>();
  const dropped: Partial<Record<DropReason, number>> = {};
  let maintenanceCount = 0;
  const leftOut: LeftOut[] = [];
  for (const entry of body) {
    const health = healthOf(entry);
    if ((health === 'maintenance' || health === 'critical') && leftOut.length < MAX_LEFT_OUT) {
      const out = leftOutOf(entry, service, health);
      if (out !== null) leftOut.push(out);
    }
    if (health === 'maintenance') {
      maintenanceCount++;
      continue;
    }
    const endpoint = decodeEntry(entry, service, health);
    const drop = typeof endpoint === 'string' ? endpoint : seen.has(endpoint.id) ? 'duplicate' : null;
    if (drop !== null || typeof endpoint === 'string') {
      const reason = drop ?? 'malformed';
      dropped[reason] = (dropped[reason] ?? 0) + 1;
      continue;
    }
    seen.add(endpoint.id);
    (health === 'critical' ? critical : usable).push(endpoint);
  }
  const isPanicSet = usable.length === 0 && critical.length > 0;
  return {
    endpoints: isPanicSet ? critical : usable,
    criticalCount: critical.length,
    maintenanceCount,
    leftOut: isPanicSet ? leftOut.filter(({ reason }) => reason === 'maintenance') : leftOut,
    isPanicSet,
    dropped,
  };
}

function healthOf(entry: unknown): Health {
  const checks = field(entry, 'Checks');
  let worst: Health = 'passing';
  for (const check of Array.isArray(checks) ? checks : []) {
    const id = field(check, 'CheckID');
    const status = field(check, 'Status');
    const isMaintenance =
      typeof id === 'string' && (id === '_node_maintenance' || id.startsWith('_service_maintenance:'));
    if (isMaintenance && status === 'critical') return 'maintenance';
    if (status === 'critical') worst = 'critical';
    else if (status === 'warning' && worst === 'passing') worst = 'warning';
  }
  return worst;
}

function leftOutOf(entry: unknown, service: string, reason: LeftOut['reason']): LeftOut | null {
  const endpoint = decodeEntry(entry, service, 'passing');
  if (typeof endpoint === 'string') return null;
  const checks = field(entry, 'Checks');
  const names = (Array.isArray(checks) ? checks : [])
    .filter((check) => field(check, 'Status') === 'critical')
    .flatMap((check) => text(field(check, 'Name')) ?? text(field(check, 'CheckID')) ?? []);
  return { address: endpoint.address, port: endpoint.port, reason, checks: names };
}

function decodeEntry(entry: unknown, service: string, health: Health): Endpoint | DropReason {
  const registered = field(entry, 'Service');
  if (!isRecord(registered)) return 'malformed';
  const address = text(registered.Address) ?? text(field(field(entry, 'Node'), 'Address'));
  if (address === null || /[\s/]/.test(address)) return 'bad_address';
  const port = registered.Port;
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535) return 'bad_port';
  const weight = weightOf(registered.Weights, health);
  if (weight < 1) return 'bad_weight';
  const meta = stringMap(registered.Meta);
  // Whoever restarts is the same endpoint.
  delete meta[LIFE_KEY];
  const id = text(registered.ID) ?? service;
  const tags = registered.Tags;
  return {
    id: `${service}@${id}@${address}:${port}`,
    address,
    port,
    weight,
    zone: text(meta.zone),
    tags: Array.isArray(tags) ? tags.filter((tag) => typeof tag === 'string') : [],
    meta,
  };
}

/** 1 when Consul says nothing; 0 when it says something that is no weight. */
function weightOf(weights: unknown, health: Health): number {
  const value = field(weights, health === 'warning' ? 'Warning' : 'Passing');
  if (value === undefined || value === null) return 1;
  if (typeof value !== 'number' || !Number.isFinite(value)) return 0;
  return Math.min(MAX_WEIGHT, Math.floor(value));
}

function stringMap(value: unknown): Record<string, string> {
  // Without a prototype: the keys are whatever anybody registered.
  const map: Record<string, string> = Object.create(null);
  if (isRecord(value)) for (const [key, item] of Object.entries(value)) if (typeof item === 'string') map[key] = item;
  return map;
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

function field(value: unknown, name: string): unknown {
  return isRecord(value) ? value[name] : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
