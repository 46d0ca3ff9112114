// A Fastify application as the gateway to the mesh: `app.register(mesh, …)`. @fastify/http-proxy moves the bytes; who is asked, how
// the outcome is judged and whether it is tried again is decided by the same core as in the agent. For the edge, where plugins
// matter more than microseconds: the agent's own engine is several times cheaper.

import proxy from '@fastify/http-proxy';
import type { FastifyInstance } from 'fastify';
import type { MeshEvent } from '#contract/frames.ts';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import { systemClock, systemRandom } from '../agent/clock.ts';
import { createConsulClient } from '../agent/discovery/consul-client.ts';
import { createDiscovery } from '../agent/discovery/discovery.ts';
import { Mesh } from '../agent/mesh/mesh.ts';
import { MeshCall } from './mesh-call.ts';

const SWEEP_MS = 100;
const CONNECTIONS_PER_ENDPOINT = 128;
const MAX_IDLE_MS = 4_000;

export interface MeshOptions {
  /** Name of this gateway among the callers; policies and intentions are read from its side. */
  readonly caller: string;
  readonly routes: readonly GatewayRoute[];
  /** Left out: only services with `endpoints` exist. */
  readonly consul?: { readonly url: string; readonly token?: string };
  /** Documents as in files; a bad one ends the start. */
  readonly policies?: readonly PolicyDocument[];
  /** Ejections and the like, one sentence each. By default to the application's log. */
  readonly onEvent?: (event: MeshEvent) => void;
}

export interface GatewayRoute {
  /** Path at the gateway, `/orders`. */
  readonly prefix: string;
  /** What the service sees in place of it; `/` by default. */
  readonly rewritePrefix?: string;
  readonly service: string;
  /** Static ones; Consul is not asked. */
  readonly endpoints?: readonly { readonly host: string; readonly port: number }[];
}

/** The plugin. Hooks of the application (authentication, CORS, rate limits) run before, as for any route. */
export async function mesh(app: FastifyInstance, options: MeshOptions): Promise<void> {
  const { caller, routes, consul, policies = [] } = options;
  const clock = systemClock;
  const random = systemRandom;
  const onEvent =
    options.onEvent ??
    ((event: MeshEvent): void => app.log.info({ event: event.kind, service: event.service }, event.text));
  const model = new Mesh({ caller, clock, random, onEvent });
  const verdict = model.applyPolicy({ version: 1, nonce: 'start', documents: policies });
  if (verdict.verdict === 'NACK') {
    throw new Error(`policies: ${verdict.problems.map(({ path, message }) => `${path} ${message}`).join('; ')}`);
  }
  const { url, token = null } = consul ?? {};
  const client = url === undefined ? null : createConsulClient({ url, token, tokenFile: null, datacenter: null });
  const discovery = createDiscovery({
    upstreams: routes.map(({ service, endpoints = null }) => ({ service, endpoints })),
    client,
    clock,
    random,
    onEvent,
    // A gateway has no folder of its own; what it knew is in memory, and Consul gone changes nothing there.
    lastKnownGood: { load: () => new Map(), record: () => {}, flush: async () => {} },
    applyEndpoints: (set) => model.applyEndpoints(set),
    removeService: (name) => model.removeService(name),
  });
  discovery.start();
  const sweeping = setInterval(() => model.sweep(clock.now()), SWEEP_MS);
  app.addHook('onClose', async () => {
    clearInterval(sweeping);
    await discovery.stop();
    client?.close();
  });
  for (const route of routes) await app.register(proxy.fastifyHttpProxy, proxyOptions(route, model));
}

function proxyOptions({ prefix, rewritePrefix = '/', service }: GatewayRoute, model: Mesh) {
  const tools = { mesh: model, clock: systemClock, random: systemRandom };
  return {
    upstream: '',
    prefix,
    rewritePrefix,
    disableRequestLogging: true,
    disableCache: true,
    undici: {
      connections: CONNECTIONS_PER_ENDPOINT,
      // Shorter than what servers usually allow, so that a kept connection is seldom closed under a request.
      keepAliveTimeout: MAX_IDLE_MS,
      keepAliveMaxTimeout: MAX_IDLE_MS,
      // By default upstream certificates are not looked at.
      connect: { rejectUnauthorized: true },
    },
    replyOptions: {
      // http-proxy asks once, before the call begins; MeshCall says it for each attempt.
      getUpstream: () => '',
      // Without this a GET that got 503 is repeated up to ten times, behind the back of whoever counts.
      retryDelay: () => null,
      rewriteRequestHeaders: (request: { ip?: string }, headers: Headers) => forwardedHeaders(headers, request.ip),
    },
    handler: (request: object, reply: object, dest: string, from: object): unknown =>
      MeshCall.begin({ request, reply, dest, from, service, tools }),
  } as unknown as Parameters<typeof proxy.fastifyHttpProxy>[1]; // its types know neither handler's options nor undici's
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** What concerns one connection only, and what `Connection` names. Keep-Alive alone made undici fail the request. */
const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
];

export function forwardedHeaders(headers: Headers, ip: string | undefined): Headers {
  const named = String(headers.connection ?? '')
    .split(',')
    .map((name) => name.trim().toLowerCase());
  const kept = Object.entries(headers).filter(([name]) => !HOP_BY_HOP.includes(name) && !named.includes(name));
  // What a client says of where it comes from is not believed.
  const forwarded = kept.filter(([name]) => name !== 'x-forwarded-for' && name !== 'forwarded');
  return { ...Object.fromEntries(forwarded), ...(ip === undefined ? {} : { 'x-forwarded-for': ip }) };
}
