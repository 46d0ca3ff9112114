// What is written into Consul about the service beside this agent. Pure.

/** The service block of the configuration, as far as registration needs it. */
export interface ServiceConfig {
  readonly name: string;
  readonly id: string;
  readonly port: number | null;
  readonly address: string;
  readonly tags: readonly string[];
  readonly meta: Readonly<Record<string, string>>;
  readonly zone: string | null;
  readonly weight: number;
  readonly check: { readonly http: string | null; readonly intervalMs: number; readonly timeoutMs: number } | null;
  readonly register: 'inbound' | 'app' | 'none';
}

export interface RegisteredAddress {
  readonly host: string;
  readonly port: number;
}

/** Consul refuses less than a minute; five spare an application that is slow to come back a second registration. */
const DEREGISTER_AFTER = '5m';

/**
 * Body of `PUT /v1/agent/service/register`.
 *
 * The check goes to the registered address, so with `register: inbound` it passes through the inbound listener and tells
 * whether callers can get through, not merely whether the application is up. Without an HTTP path it opens a connection.
 *
 * @param isPassing  whether the application has answered a first check already; saves the wait for Consul's first one
 */
export function registerPayload(service: ServiceConfig, address: RegisteredAddress, isPassing: boolean): object {
  const { check } = service;
  return {
    ID: service.id,
    Name: service.name,
    Address: address.host,
    Port: address.port,
    Tags: service.tags,
    Meta: { ...service.meta, ...(service.zone === null ? {} : { zone: service.zone }) },
    Weights: { Passing: service.weight, Warning: 1 },
    ...(check === null
      ? {}
      : {
          Check: {
            CheckID: `service:${service.id}`,
            Name: `${service.name} through its agent`,
            ...(check.http === null
              ? { TCP: hostAndPort(address) }
              : { HTTP: checkUrl(check.http, address), Method: 'GET' }),
            Interval: `${check.intervalMs}ms`,
            Timeout: `${check.timeoutMs}ms`,
            Status: isPassing ? 'passing' : 'critical',
            DeregisterCriticalServiceAfter: DEREGISTER_AFTER,
          },
        }),
  };
}

/** A path at the address; an absolute URL stays as it is. */
export function checkUrl(path: string, address: RegisteredAddress): string {
  if (/^https?:\/\//.test(path)) return path;
  return `http://${hostAndPort(address)}${path.startsWith('/') ? '' : '/'}${path}`;
}

/**
 * Where callers reach the service: an address that means "all interfaces" is replaced by the service's own, because nobody
 * else can connect to 0.0.0.0.
 */
export function advertisedAddress(service: ServiceConfig, listener: RegisteredAddress): RegisteredAddress {
  if (service.register === 'app') return { host: service.address, port: service.port ?? listener.port };
  const isWildcard = listener.host === '0.0.0.0' || listener.host === '::' || listener.host === '';
  return { host: isWildcard ? service.address : listener.host, port: listener.port };
}

function hostAndPort({ host, port }: RegisteredAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
