// What is written into Consul about the service beside this agent. Pure.

import { LIFE_KEY } from '#contract/consul/health.ts';
import { formatHostPort } from '#contract/text/host-port.ts';
import type { AgentConfig } from '../config.ts';

/** The service block of the configuration. */
export type ServiceConfig = AgentConfig['service'];

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
 * @param life       names this process among all that ever wrote this registration
 * @param isPassing  whether the application has answered a first check already; saves the wait for Consul's first one
 */
export function registerPayload(
  service: ServiceConfig,
  address: RegisteredAddress,
  life: string,
  isPassing: boolean,
): object {
  const { check } = service;
  return {
    ID: service.id,
    Name: service.name,
    Address: address.host,
    Port: address.port,
    Tags: service.tags,
    Meta: { ...service.meta, ...(service.zone === null ? {} : { zone: service.zone }), [LIFE_KEY]: life },
    Weights: { Passing: service.weight, Warning: 1 },
    ...(check === null
      ? {}
      : {
          Check: {
            CheckID: `service:${service.id}`,
            Name: `${service.name} through its agent`,
            ...(check.http === null
              ? { TCP: formatHostPort(address) }
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
  return `http://${formatHostPort(address)}${path.startsWith('/') ? '' : '/'}${path}`;
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
