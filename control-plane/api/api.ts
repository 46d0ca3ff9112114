// The control plane's HTTP side, put together: guards, errors, routes, page. Its parts do not know each other.

import type { Socket } from 'node:net';
import type { Server as TlsServer } from 'node:tls';
import Fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyReply, LogController } from 'fastify';
import type { AgentReport, PolicyVerdict } from '#contract/frames.ts';
import type { AgentView } from '../core/agent-view.ts';
import type { Clock } from '../core/clock.ts';
import type { Fleet } from '../core/fleet.ts';
import type { Ledger } from '../core/ledger.ts';
import type { Signal } from '../core/signal.ts';
import type { SloBook, SloView } from '../core/slo/book.ts';
import { frozenBy } from '../core/slo/freeze.ts';
import type { Token } from '../core/tokens.ts';
import type { EdgeTotal, ServiceView } from '../core/views.ts';
import type { AccessStore } from '../store/access-store.ts';
import type { Store } from '../store/store.ts';
import { advisoryRoutes } from './advisories.ts';
import { type AgentRoutesOptions, type AgentStream, agentRoutes } from './agents.ts';
import { answer } from './answers.ts';
import { auditRoutes } from './audit.ts';
import { registerAudit } from './audit-trail.ts';
import { type Auth, type RouteEntry, registerAuth } from './auth.ts';
import { backupRoutes } from './backup.ts';
import { edgeRoutes } from './edges.ts';
import { Broadcaster, eventRoutes } from './events.ts';
import { ControlPlaneMetrics, metricsRoutes, SERVICE_LABEL_LIMIT } from './metrics.ts';
import { registerOpenApi } from './openapi.ts';
import { pageRoutes } from './page.ts';
import { registerPageHeaders } from './page-headers.ts';
import { policyRoutes } from './policies.ts';
import { ApiError, answerBrokenRequest, registerProblems, sendProblem } from './problem.ts';
import { REQUESTS_PER_MINUTE, registerRateLimit } from './rate-limit.ts';
import { type RelayOptions, relayRoutes } from './relay.ts';
import { type RolloutControl, rolloutRoutes } from './rollouts.ts';
import { serviceRoutes } from './services.ts';
import { sloRoutes } from './slo.ts';
import { followPair, readPair, type TlsFiles } from './tls.ts';
import { TokenBook } from './token-book.ts';
import { tokenRoutes } from './tokens.ts';
import { digestOfSecret, TokensFile } from './tokens-file.ts';

/** A policy document may be this large; reports have their own limit. */
export const BODY_LIMIT_BYTES = 256 * 1024;

/** A request that has not arrived by then is answered 408: whoever sends a letter a minute must not hold a connection. */
export const REQUEST_TIMEOUT_MS = 15_000;

/** Where tokens of the configuration come from. */
export interface ConfiguredTokens {
  readonly tokensFile?: string;
  /** Secret of an admin, to make the first tokens with. */
  readonly bootstrapToken?: string;
}

/** The agents of all control planes together. */
export interface FleetViews {
  readonly agents: () => AgentView[];
  readonly agent: (agentId: string) => AgentView | null;
  readonly services: () => ServiceView[];
  /** As the agents of this control plane alone see them. */
  readonly ownServices: () => ServiceView[];
  readonly edges: () => EdgeTotal[];
  /** Another control plane has told of the agent. */
  readonly isKnownElsewhere: (agentId: string) => boolean;
  readonly adminOf: RelayOptions['adminOf'];
}

export interface ApiOptions {
  readonly store: Store;
  readonly access: AccessStore;
  readonly ledger: Ledger;
  readonly fleet: Fleet;
  readonly views: FleetViews;
  readonly slos: SloBook;
  /** Told of each report that counted. */
  readonly onReport: (agentId: string, report: AgentReport) => void;
  /** What is in force of the witnesses. */
  readonly advice: () => object;
  readonly verdicts: Signal;
  readonly rollouts: RolloutControl;
  readonly clock: Clock;
  readonly log: FastifyBaseLogger;
  readonly softwareVersion: string;
  /** Null: no authentication; then only loopback may be listened on. */
  readonly auth: ConfiguredTokens | null;
  /** Version in force, without asking the store. */
  readonly policyVersion: () => number;
  readonly connectAgent: (stream: AgentStream) => void;
  readonly watchEndpoints: AgentRoutesOptions['watchEndpoints'];
  /** Services that are watched in Consul for agents. */
  readonly watches: () => number;
  readonly streams: () => number;
  readonly onVerdict: (agentId: string, verdict: PolicyVerdict) => void;
  readonly policyGeneration: () => string;
  /** An agent has a newer version than the store, or policies of another store. */
  readonly onAhead: AgentRoutesOptions['onAhead'];
  readonly onForeign: AgentRoutesOptions['onForeign'];
  /** Null or absent: plain HTTP. */
  readonly tls?: TlsFiles | null | undefined;
  /** Of one token, or without one of an address; REQUESTS_PER_MINUTE when absent. */
  readonly requestsPerMinute?: number | undefined;
  /** How long a client may take to send a request, head and body; REQUEST_TIMEOUT_MS when absent. */
  readonly requestTimeoutMs?: number | undefined;
}

export interface Api {
  /** Every method of every path, with who may call it. */
  readonly routes: readonly RouteEntry[];
  /** @returns the URL, with the port that was given for port 0 */
  listen(host: string, port: number): Promise<string>;
  /** Told by the hub, for the metrics. */
  countPush(): void;
  /** Of an event about endpoints. */
  countEndpoints(characters: number): void;
  close(): Promise<void>;
}

/** Builds the API. @throws when the tokens file cannot be used */
export async function createApi(options: ApiOptions): Promise<Api> {
  const { ledger, fleet, views, clock } = options;
  const { agents, services, edges } = views;
  const budgets = (limit?: number): SloView[] =>
    options.slos
      .services()
      .slice(0, limit)
      .flatMap((service) => options.slos.view(service, clock.epochMs()) ?? []);
  const metrics = new ControlPlaneMetrics({
    softwareVersion: options.softwareVersion,
    policyVersion: options.policyVersion,
    agentStates: () => ledger.list().map(({ agentId }) => ledger.stateOf(agentId, clock.now())),
    streams: options.streams,
    watches: options.watches,
    services: views.ownServices,
    slos: () => budgets(SERVICE_LABEL_LIMIT),
  });
  const broadcaster = new Broadcaster({
    state: () => ({
      version: options.policyVersion(),
      services: services(),
      agents: agents(),
      edges: edges(),
    }),
    events: () => fleet.events(),
    epochMs: () => clock.epochMs(),
    now: () => clock.now(),
  });
  const book = createBook(options);
  await book.refresh();
  const { app, auth } = await createApp(options, metrics, options.auth === null ? null : book);
  const { store, verdicts, rollouts } = options;
  await app.register(policyRoutes, {
    store,
    ledger,
    verdicts,
    rollouts,
    frozenBy: (id) => frozenBy(id, budgets()),
  });
  await app.register(rolloutRoutes, { store, rollouts });
  await app.register(backupRoutes, { store, clock });
  await app.register(agentRoutes, {
    ...options,
    agents,
    agent: views.agent,
    isKnownElsewhere: views.isKnownElsewhere,
    onVerdict: (agentId, verdict) => {
      metrics.countVerdict(verdict.verdict === 'ACK' ? 'ack' : 'nack');
      options.onVerdict(agentId, verdict);
    },
    onStaleVerdict: () => metrics.countVerdict('stale'),
  });
  await app.register(tokenRoutes, {
    store: options.access,
    book,
    isAuthOn: options.auth !== null,
    // Without authentication nobody asks the book, and the list of tokens still has to be right.
    refresh: options.auth === null ? () => book.refresh() : auth.refresh,
    epochMs: () => clock.epochMs(),
  });
  await app.register(auditRoutes, { store: options.access });
  await app.register(relayRoutes, { adminOf: views.adminOf });
  await app.register(serviceRoutes, { services });
  await app.register(edgeRoutes, { edges });
  await app.register(advisoryRoutes, { advice: options.advice });
  await app.register(sloRoutes, { slos: options.slos, services, clock });
  await app.register(eventRoutes, { broadcaster });
  await app.register(metricsRoutes, { metrics });
  await app.register(healthRoutes, { store: options.store });
  await app.register(pageRoutes);
  return {
    routes: auth.routes,
    listen: (host, port) => app.listen({ host, port }),
    countPush: () => metrics.countPush(),
    countEndpoints: (characters) => metrics.countEndpoints(characters),
    close: async () => {
      broadcaster.close();
      await app.close();
    },
  };
}

function createBook({ auth, access, clock, log }: ApiOptions): TokenBook {
  const warn = (message: string): void => log.warn(message);
  const { tokensFile, bootstrapToken } = auth ?? {};
  return new TokenBook({
    file: tokensFile === undefined ? null : new TokensFile(tokensFile, warn),
    fixed: bootstrapToken === undefined ? [] : [bootstrapAdmin(bootstrapToken)],
    store: access,
    now: () => clock.now(),
    epochMs: () => clock.epochMs(),
    warn,
  });
}

function bootstrapAdmin(secret: string): Token {
  const sha256 = digestOfSecret(secret);
  const rights = { role: 'admin', services: null, agents: null, expiresAtEpochMs: null } as const;
  return { id: 'bootstrap', name: 'bootstrap', sha256, ...rights };
}

async function createApp(
  options: ApiOptions,
  metrics: ControlPlaneMetrics,
  book: TokenBook | null,
): Promise<{ app: FastifyInstance; auth: Auth }> {
  const { requestTimeoutMs = REQUEST_TIMEOUT_MS, tls = null } = options;
  const patience = {
    headersTimeout: requestTimeoutMs,
    connectionsCheckingInterval: Math.ceil(requestTimeoutMs / 10),
  };
  const app: FastifyInstance = Fastify({
    loggerInstance: options.log,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT_BYTES,
    // Until the request has arrived; answers may take their time, streams included.
    requestTimeout: requestTimeoutMs,
    ...(tls === null ? { http: patience } : { https: { ...patience, ...readPair(tls) } }),
    // Streams are ended by us; what is left when closing is idle keep-alive and must not hold the process.
    forceCloseConnections: true,
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, allowUnionTypes: true } },
    clientErrorHandler: (error, socket) => answerBrokenRequest(error.code, socket),
    // Malformed URLs do not reach the error handler.
    frameworkErrors: (error, _request, reply) => {
      sendProblem(reply as FastifyReply, new ApiError('OTR_ERR_BAD_REQUEST', error.message));
    },
  });
  // A socket that was taken over for an upgrade loses the server's listeners, and an error nobody hears ends the process.
  for (const event of ['connection', 'secureConnection']) {
    app.server.on(event, (socket: Socket) => socket.on('error', () => socket.destroy()));
  }
  // Bodies are JSON, except where a route reads policies.
  app.removeContentTypeParser('text/plain');
  registerProblems(app);
  const { access, clock, log } = options;
  if (tls !== null) {
    // With `https` the server is one of node:tls, whatever the type of the instance says.
    const stop = followPair(app.server as unknown as TlsServer, tls, (message) => log.warn(message));
    app.addHook('onClose', async () => stop());
  }
  // First, because it notes where a request came from before anything can refuse it.
  registerAudit(app, { store: access, now: () => clock.now(), epochMs: () => clock.epochMs(), log });
  const auth = registerAuth(app, { book, now: () => clock.now() });
  registerPageHeaders(app, tls !== null);
  app.addHook('onResponse', async (request, reply) => {
    metrics.countRequest(request.method, request.routeOptions.url ?? 'unknown', reply.statusCode);
  });
  // On loopback without tokens there is one user, who may be as quick as they like.
  if (book !== null) await registerRateLimit(app, options.requestsPerMinute ?? REQUESTS_PER_MINUTE);
  await registerOpenApi(app, options.softwareVersion);
  return { app, auth };
}

async function healthRoutes(app: FastifyInstance, { store }: { store: Store }): Promise<void> {
  const config = { access: ['public'] as const };
  const status = { status: { type: 'string' } };
  const live = { summary: 'The process runs', tags: ['health'], response: { 200: answer('it does', status) } };
  const ready = { summary: 'The store can be read', tags: ['health'], response: { 200: answer('it can', status) } };
  app.get('/live', { config, schema: live }, async () => ({ status: 'live' }));
  app.get('/ready', { config, schema: ready }, async () => {
    try {
      return { status: 'ready', version: await store.version() };
    } catch (error) {
      throw new ApiError('OTR_ERR_UNAVAILABLE', error instanceof Error ? error.message : String(error));
    }
  });
}
