// Consul as an agent meets it: reachable, led, with room for connections, and with a token that may see what it asks for.

import type { Finding } from './finding.ts';
import { sectionOf } from './finding.ts';
import { type Probe, probe } from './probe.ts';

export interface ConsulQuestion {
  readonly url: string;
  readonly token: string | null;
  /** Services that the agent calls. */
  readonly upstreams: readonly string[];
  /** The service that a running agent should have registered; null when there is none. */
  readonly own: string | null;
}

export interface ConsulAnswer {
  readonly findings: readonly Finding[];
  /** Names in the catalogue; null when it could not be read. */
  readonly services: readonly string[] | null;
}

export async function checkConsul({ url, token, upstreams, own }: ConsulQuestion): Promise<ConsulAnswer> {
  const { findings, say } = sectionOf('consul');
  const headers: Record<string, string> = token === null ? {} : { 'x-consul-token': token };
  const ask = (path: string): Promise<Probe> => probe(`${url.replace(/\/$/, '')}${path}`, headers);
  const leader = await ask('/v1/status/leader');
  if (leader.kind === 'silence') {
    if (leader.why === 'closed') {
      const text = `${url} closed the connection at once: more than 200 connections from this address is Consul's default limit`;
      say(
        'failure',
        'consul_connection_limit',
        text,
        'consul.hcl: limits { http_max_conns_per_client = 2000 }   then: consul reload',
      );
    } else {
      const text = `${url} does not answer (${leader.text}); agents serve what they knew last`;
      say(
        'failure',
        'consul_unreachable',
        text,
        `curl -s ${url}/v1/status/leader   (is consul.url right? systemctl status consul)`,
      );
    }
    return { findings, services: null };
  }
  const refuseToken = ({ body }: Extract<Probe, { kind: 'answer' }>): ConsulAnswer => {
    const text = `Consul refuses the token: ${String(body).slice(0, 80).trim()}`;
    say('failure', 'consul_token', text, 'consul acl token read -self   (then set consul.tokenFile)');
    return { findings, services: null };
  };
  if (leader.status === 403) return refuseToken(leader);
  if (leader.status !== 200 || typeof leader.body !== 'string' || leader.body === '') {
    say(
      'failure',
      'consul_no_leader',
      'Consul has no leader: nothing can be registered',
      'consul operator raft list-peers',
    );
    return { findings, services: null };
  }
  say('ok', 'consul_leader', `${url} answers, leader ${leader.body}`);
  const catalog = await ask('/v1/catalog/services');
  if (catalog.kind === 'answer' && catalog.status === 403) return refuseToken(catalog);
  if (
    catalog.kind !== 'answer' ||
    catalog.status !== 200 ||
    typeof catalog.body !== 'object' ||
    catalog.body === null
  ) {
    const status = catalog.kind === 'answer' ? `status ${catalog.status}` : catalog.text;
    say('failure', 'consul_catalog', `the catalogue cannot be read: ${status}`, 'consul acl token read -self');
    return { findings, services: null };
  }
  const services = Object.keys(catalog.body);
  const isFiltered = catalog.headers.get('x-consul-results-filtered-by-acls') === 'true';
  // A server that grants nothing says 200 and an empty list; even Consul itself is missing from it then.
  if (isFiltered || services.length === 0) {
    const text = 'Consul hides services from this token: lists come back shorter, without an error';
    say(
      'failure',
      'consul_acl_filtered',
      text,
      'consul acl policy create -name mesh -rules \'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }\'',
    );
    return { findings, services };
  }
  say('ok', 'consul_catalog', `${services.length} services in the catalogue`);
  if (own !== null && !services.includes(own)) {
    const text = `${own} runs here and is not registered: nobody finds it`;
    say(
      'failure',
      'consul_not_registered',
      text,
      `outrigger config dump config   (service.register; may its Consul token write ${own}?)`,
    );
  }
  for (const name of upstreams) {
    if (services.includes(name)) continue;
    const text = `${name} is called by this agent and is not registered`;
    say(
      'warning',
      'consul_service_missing',
      text,
      `consul catalog services   (is upstreams: ${name} spelt as it is registered?)`,
    );
  }
  return { findings, services };
}
