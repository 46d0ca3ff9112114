// The control plane's HTTP side, put together: guards, errors, routes, page. Its parts do not know each other.

import type { ServerResponse } from 'node:http';
import swagger from '@fastify/swagger';
import Fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyReply, LogController } from 'fastify';
import type { PolicyVerdict } from '#contract/frames.ts';
import { agentViews } from '../core/agent-view.ts';
import type { Clock } from '../core/clock.ts';
import type { Fleet } from '../core/fleet.ts';
import type { Ledger } from '../core/ledger.ts';
import { rollUp } from '../core/rollup.ts';
import type { Signal } from '../core/signal.ts';
import type { ServiceView } from '../core/views.ts';
import type { Store } from '../store/store.ts';
import { agentRoutes } from './agents.ts';
import { registerAuth } from './auth.ts';
import { Broadcaster, eventRoutes } from './events.ts';
import { ControlPlaneMetrics, metricsRoutes } from './metrics.ts';
import { pageRoutes } from './page.ts';
import { policyRoutes } from './policies.ts';
import { ApiError, registerProblems, sendProblem } from './problem.ts';
import { relayRoutes } from './relay.ts';
import { policyComponents } from './schemas.ts';
import { serviceRoutes } from './services.ts';

/** A policy document may be this large; reports have their own limit. */
export const BODY_LIMIT_BYTES = 256 * 1024;

/** A request that has not arrived by then is answered 408: whoever sends a letter a minute must not hold a connection. */
export const REQUEST_TIMEOUT_MS = 15_000;

export interface ApiOptions {
  readonly store: Store;
  readonly ledger: Ledger;
  readonly fleet: Fleet;
  readonly verdicts: Signal;
  readonly clock: Clock;
  readonly log: FastifyBaseLogger;
  readonly softwareVersion: string;
  /** Null: no authentication; then only loopback may be listened on. */
  readonly tokensFile: string | null;
  /** Version in force, without asking the store. */
  readonly policyVersion: () => number;
  readonly connectAgent: (agentId: string, life: string, response: ServerResponse) => void;
  readonly streams: () => number;
  readonly onVerdict: (agentId: string, verdict: PolicyVerdict) => void;
  /** An agent has a newer version than the store. */
  readonly onAhead: (agentId: string, appliedVersion: number) => void;
  /** How long a client may take to send a request, head and body; REQUEST_TIMEOUT_MS when absent. */
  readonly requestTimeoutMs?: number | undefined;
}

export interface Api {
  /** @returns the URL, with the port that was given for port 0 */
  listen(host: string, port: number): Promise<string>;
  /** Told by the hub, for the metrics. */
  countPush(): void;
  close(): Promise<void>;
}

/** Builds the API. @throws when the tokens file cannot be used */
export async function createApi(options: ApiOptions): Promise<Api> {
  const { ledger, fleet, clock } = options;
  const services = (): ServiceView[] =>
    rollUp(fleet, (agentId) => ledger.stateOf(agentId, clock.now()) === 'live', clock.now());
  const metrics = new ControlPlaneMetrics({
    softwareVersion: options.softwareVersion,
    policyVersion: options.policyVersion,
    agentStates: () => ledger.list().map(({ agentId }) => ledger.stateOf(agentId, clock.now())),
    streams: options.streams,
    services,
  });
  const broadcaster = new Broadcaster({
    state: () => ({ version: options.policyVersion(), services: services(), agents: agentViews(ledger, fleet, clock) }),
    events: () => fleet.events(),
    epochMs: () => clock.epochMs(),
    now: () => clock.now(),
  });
  const app = await createApp(options, metrics);
  await app.register(policyRoutes, { store: options.store, ledger, verdicts: options.verdicts });
  await app.register(agentRoutes, {
    ...options,
    onVerdict: (agentId, verdict) => {
      metrics.countVerdict(verdict.verdict === 'ACK' ? 'ack' : 'nack');
      options.onVerdict(agentId, verdict);
    },
    onStaleVerdict: () => metrics.countVerdict('stale'),
  });
  await app.register(relayRoutes, { fleet });
  await app.register(serviceRoutes, { services });
  await app.register(eventRoutes, { broadcaster });
  await app.register(metricsRoutes, { metrics });
  await app.register(healthRoutes, { store: options.store });
  await app.register(pageRoutes);
  return {
    listen: (host, port) => app.listen({ host, port }),
    countPush: () => metrics.countPush(),
    close: async () => {
      broadcaster.close();
      await app.close();
    },
  };
}

async function createApp(options: ApiOptions, metrics: ControlPlaneMetrics): Promise<FastifyInstance> {
  const { requestTimeoutMs = REQUEST_TIMEOUT_MS } = options;
  const app = Fastify({
    loggerInstance: options.log,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT_BYTES,
    // Until the request has arrived; answers may take their time, streams included.
    requestTimeout: requestTimeoutMs,
    http: { headersTimeout: requestTimeoutMs, connectionsCheckingInterval: Math.ceil(requestTimeoutMs / 10) },
    // Streams are ended by us; what is left when closing is idle keep-alive and must not hold the process.
    forceCloseConnections: true,
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, allowUnionTypes: true } },
    // Malformed URLs do not reach the error handler.
    frameworkErrors: (error, _request, reply) => {
      sendProblem(reply as FastifyReply, new ApiError('OTR_ERR_BAD_REQUEST', error.message));
    },
  });
  // Bodies are JSON, except where a route reads policies.
  app.removeContentTypeParser('text/plain');
  registerProblems(app);
  registerAuth(app, {
    tokensFile: options.tokensFile,
    now: () => options.clock.now(),
    warn: (message) => options.log.warn(message),
  });
  app.addHook('onSend', async (_request, reply) => {
    reply.header('x-content-type-options', 'nosniff');
  });
  app.addHook('onResponse', async (request, reply) => {
    metrics.countRequest(request.method, request.routeOptions.url ?? 'unknown', reply.statusCode);
  });
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Outrigger control plane', version: options.softwareVersion },
      components: { schemas: policyComponents(), securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
      security: [{ bearer: [] }],
    },
  });
  app.get('/openapi.json', { config: { access: ['viewer', 'agent'] }, schema: { hide: true } }, async () =>
    app.swagger(),
  );
  return app;
}

async function healthRoutes(app: FastifyInstance, { store }: { store: Store }): Promise<void> {
  const config = { access: ['public'] as const };
  app.get('/live', { config, schema: { summary: 'The process runs', tags: ['health'] } }, async () => ({
    status: 'live',
  }));
  app.get('/ready', { config, schema: { summary: 'The store can be read', tags: ['health'] } }, async () => {
    try {
      return { status: 'ready', version: await store.version() };
    } catch (error) {
      throw new ApiError('OTR_ERR_UNAVAILABLE', error instanceof Error ? error.message : String(error));
    }
  });
}
