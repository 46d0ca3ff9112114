// What /config_dump shows: everything that decides how this agent behaves, with secrets replaced. Pure.

import type { AdminOptions } from './options.ts';

const REDACTED = '[redacted]';
const SECRET_KEY = /token$|secret|password/i;

export function configDump(options: AdminOptions, limits: object): object {
  const { policy, snapshot } = options;
  const { generation, services } = snapshot();
  return {
    config: redact(options.config),
    limits: { dataPlane: options.limits, admin: limits },
    policy: policy(),
    snapshotGeneration: generation,
    services: [...services.values()].map(({ service, policy, permission, routes, subsets, endpoints }) => {
      return {
        service,
        policy,
        permission,
        rules: routes.rules,
        subsets: [...subsets.values()].map(({ subset, endpoints: own }) => ({ ...subset, endpoints: own.length })),
        endpoints: endpoints.map(({ endpoint }) => endpoint),
      };
    }),
  };
}

/** A copy in which values of secret keys, and user information in URLs, cannot be read. `null` stays: it says "none". */
export function redact(value: unknown, key = ''): unknown {
  if (typeof value === 'string') {
    return SECRET_KEY.test(key) ? REDACTED : value.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/?#]*@/i, `$1${REDACTED}@`);
  }
  if (Array.isArray(value)) return value.map((item) => redact(item, key));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, child]) => [name, redact(child, name)]));
}
