// The agents' side of the API: policy stream, verdicts, reports; and what operators see of agents.

import type { ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { WatchList } from '#contract/endpoint-frames.ts';
import { areApart, type EventId, readEventId } from '#contract/event-id.ts';
import type { AgentReport, PolicyVerdict } from '#contract/frames.ts';
import { sketchFault } from '#contract/latency-sketch.ts';
import { isServiceName } from '#contract/names.ts';
import type { AgentView } from '../core/agent-view.ts';
import type { Clock } from '../core/clock.ts';
import type { Fleet } from '../core/fleet.ts';
import type { Ledger } from '../core/ledger.ts';
import { pageOf } from '../core/pages.ts';
import type { Signal } from '../core/signal.ts';
import { answer, NO_CONTENT, textAnswer } from './answers.ts';
import { refuseForeignAgent } from './auth.ts';
import { pageQuerySchema, pageSchema, readPageQuery } from './paging.ts';
import { invalid } from './policy-text.ts';
import { ApiError } from './problem.ts';
import { agentParams, reportSchema, verdictSchema, watchListSchema } from './report-schemas.ts';

/** A policy stream that an agent asks for. */
export interface AgentStream {
  readonly agentId: string;
  /** Names the agent's process. */
  readonly life: string;
  /** The service that it stands beside; null: whoever did not say gets every document. */
  readonly service: string | null;
  readonly response: ServerResponse;
}

export interface AgentRoutesOptions {
  readonly ledger: Ledger;
  readonly fleet: Fleet;
  readonly clock: Clock;
  /** All agents by name, those of other control planes included. */
  readonly agents: () => AgentView[];
  readonly agent: (agentId: string) => AgentView | null;
  /** Another control plane has told of the agent. */
  readonly isKnownElsewhere: (agentId: string) => boolean;
  readonly verdicts: Signal;
  /** Takes the response over as the agent's policy stream. */
  readonly connectAgent: (stream: AgentStream) => void;
  /** Takes the services whose endpoints a process of an agent wants on its stream. */
  readonly watchEndpoints: (agentId: string, wanted: WatchList) => 'ok' | 'nobody' | 'no_stream';
  /** Version in force. */
  readonly policyVersion: () => number;
  /** The store that counts the versions, '' when it has no name yet. */
  readonly policyGeneration: () => string;
  /** Told when an agent says that it has a newer version than the store, once per version. */
  readonly onAhead: (agentId: string, appliedVersion: number) => void;
  /** Told when an agent says that it has policies of another store, once per store. */
  readonly onForeign: (agentId: string, generation: string) => void;
  /** Told of each report that counted. */
  readonly onReport: (agentId: string, report: AgentReport) => void;
  /** Told of each verdict that counted. */
  readonly onVerdict: (agentId: string, verdict: PolicyVerdict) => void;
  /** Told of each verdict that was too late. */
  readonly onStaleVerdict: () => void;
}

/** A report of an agent with many endpoints is larger than a policy. */
export const REPORT_LIMIT_BYTES = 2 * 1024 * 1024;

/** Described and not judged: what makes no sense counts as not said. */
const streamQuery = {
  type: 'object',
  properties: {
    service: { description: 'Service that the agent stands beside; a bound token demands it' },
    life: { description: "Names the agent's process" },
  },
};

interface WithId {
  readonly Params: { readonly id: string };
}

export async function agentRoutes(app: FastifyInstance, options: AgentRoutesOptions): Promise<void> {
  const { ledger, fleet, clock } = options;
  const readers = { config: { access: ['viewer'] as const } };
  const agents = { config: { access: ['agent'] as const, audit: 'off' as const } };

  const list = {
    summary: 'All agents',
    tags: ['agents'],
    querystring: pageQuerySchema,
    response: { 200: pageSchema('agents') },
  };
  app.get('/v1/agents', { ...readers, schema: list }, async (request) => {
    const { items, nextCursor } = pageOf(options.agents(), ({ id }) => id, readPageQuery(request.query));
    return { agents: items, nextCursor };
  });

  app.get<WithId>(
    '/v1/agents/:id',
    {
      ...readers,
      schema: {
        summary: 'One agent with its last report',
        tags: ['agents'],
        params: agentParams,
        response: { 200: answer('the agent', { id: { type: 'string' }, report: { type: ['object', 'null'] } }) },
      },
    },
    async ({ params: { id } }) => {
      const view = options.agent(id);
      if (view === null) throw new ApiError('OTR_ERR_NOT_FOUND', `no agent ${id} is known`);
      // Another control plane keeps the report of its agent to itself.
      return { ...view, report: view.controlPlane === null ? (fleet.get(id)?.report ?? null) : null };
    },
  );

  app.get<WithId & { Querystring: { readonly life?: unknown; readonly service?: unknown } }>(
    '/v1/agents/:id/stream',
    // HEAD would take the agent's stream over and be unable to read it.
    {
      ...agents,
      exposeHeadRoute: false,
      schema: {
        summary: 'Policy stream (server-sent events)',
        tags: ['agents'],
        params: agentParams,
        querystring: streamQuery,
        response: { 200: textAnswer('events `policies`, each a PolicyPush', 'text/event-stream') },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { life, service: named } = request.query;
      const service = typeof named === 'string' && isServiceName(named) ? named.toLowerCase() : null;
      refuseForeignAgent(request, id, service);
      refuseOtherService(request, options, id, service);
      admit(ledger, id);
      const last = readEventId(request.headers['last-event-id']?.toString() ?? '');
      // The push that follows is the whole set, whatever the agent has.
      if (last !== null && areApart(last.generation, options.policyGeneration())) hearVersion(id, last, options);
      reply.hijack();
      options.connectAgent({ agentId: id, life: typeof life === 'string' ? life : '', service, response: reply.raw });
    },
  );

  app.post<WithId & { Body: PolicyVerdict }>(
    '/v1/agents/:id/acks',
    {
      ...agents,
      schema: {
        summary: 'Verdict on a push',
        tags: ['agents'],
        params: agentParams,
        body: verdictSchema,
        response: NO_CONTENT,
      },
    },
    async (request, reply) => {
      // The nonce proves that whoever answers read the stream, for which the service was judged.
      refuseForeignAgent(request, request.params.id);
      takeVerdict(request.params.id, request.body, options);
      return reply.code(204).send();
    },
  );

  app.post<WithId & { Body: WatchList }>(
    '/v1/agents/:id/watches',
    {
      ...agents,
      schema: {
        summary: 'Services whose endpoints an agent wants on its stream',
        tags: ['agents'],
        params: agentParams,
        body: watchListSchema,
        response: NO_CONTENT,
      },
    },
    async (request, reply) => {
      // Which service the agent stands beside was judged when it opened the stream.
      refuseForeignAgent(request, request.params.id);
      takeWatchList(request.params.id, request.body, options);
      return reply.code(204).send();
    },
  );

  app.post<WithId & { Body: AgentReport }>(
    '/v1/agents/:id/reports',
    {
      ...agents,
      bodyLimit: REPORT_LIMIT_BYTES,
      schema: {
        summary: 'State and counters of an agent',
        tags: ['agents'],
        params: agentParams,
        body: reportSchema,
        response: NO_CONTENT,
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { service } = request.body;
      refuseForeignAgent(request, id, service);
      refuseOtherService(request, options, id, service);
      admit(ledger, id);
      refuseForeignAdmin(request.body.adminUrl);
      refuseBadSketches(request.body);
      const { appliedVersion, generation = '' } = request.body.policy;
      hearVersion(id, { version: appliedVersion, generation }, options);
      const events = fleet.record(id, request.body, clock.now(), {
        address: request.peer,
        isCountedElsewhere: options.isKnownElsewhere(id),
      });
      if (events !== null) options.onReport(id, request.body);
      return reply.code(204).send();
    },
  );
}

/** What an agent says is in force there. A version of another store is no version of this one. */
function hearVersion(id: string, { generation, version }: EventId, options: AgentRoutesOptions): void {
  const { ledger, clock, policyGeneration, policyVersion, onAhead, onForeign } = options;
  if (areApart(generation, policyGeneration())) {
    if (ledger.foreign(id, generation, clock.now())) onForeign(id, generation);
    return;
  }
  const isNews = ledger.get(id)?.appliedVersion !== version;
  ledger.reported(id, version, clock.now());
  if (isNews && version > policyVersion()) onAhead(id, version);
}

function takeWatchList(agentId: string, { life, services }: WatchList, options: AgentRoutesOptions): void {
  const wrong = services.findIndex((service) => !isServiceName(service));
  if (wrong >= 0)
    throw invalid([{ code: 'OTR_FORMAT', path: `services[${wrong}]`, message: 'must be a service name' }]);
  const taken = options.watchEndpoints(agentId, { life, services: services.map((one) => one.toLowerCase()) });
  if (taken === 'nobody') throw new ApiError('OTR_ERR_NOT_FOUND', 'this control plane watches no Consul for agents');
  if (taken === 'no_stream') throw new ApiError('OTR_ERR_NOT_FOUND', `no stream of ${agentId} is open here`);
}

function takeVerdict(agentId: string, verdict: PolicyVerdict, options: AgentRoutesOptions): void {
  if (!options.ledger.judged(agentId, verdict, options.clock.now())) {
    options.onStaleVerdict();
    return;
  }
  options.onVerdict(agentId, verdict);
  options.verdicts.emit();
}

/** A token that is bound to services must not take over the name of an agent beside another one. */
function refuseOtherService(
  request: FastifyRequest,
  { agent }: AgentRoutesOptions,
  agentId: string,
  service: string | null,
): void {
  // Asked for every report: only a bound token is worth looking the agent up for.
  if ((request.token?.services ?? null) === null) return;
  const known = agent(agentId)?.service ?? service;
  if (known === service) return;
  throw new ApiError('OTR_ERR_FORBIDDEN', `agent ${agentId} is known beside another service`);
}

function admit(ledger: Ledger, agentId: string): void {
  if (!ledger.hasRoomFor(agentId)) throw new ApiError('OTR_ERR_UNAVAILABLE', 'as many agents as can be are known');
}

/** Nothing behind this looks at the numbers again. */
function refuseBadSketches({ edges, services }: AgentReport): void {
  const sketches = [
    ...edges.map(({ latency }, at) => ({ latency, path: `edges[${at}].latency` })),
    ...services.flatMap(({ endpoints }, at) =>
      endpoints.map(({ latency }, i) => ({ latency, path: `services[${at}].endpoints[${i}].latency` })),
    ),
  ];
  for (const { latency, path } of sketches) {
    const message = latency === undefined ? null : sketchFault(latency);
    if (message !== null) throw invalid([{ code: 'OTR_FORMAT', path, message }]);
  }
}

/** The relay goes where this says, so it must be an origin over http or https and nothing more. */
function refuseForeignAdmin(adminUrl: string): void {
  const url = URL.canParse(adminUrl) ? new URL(adminUrl) : null;
  const isOrigin =
    url !== null &&
    (url.protocol === 'http:' || url.protocol === 'https:') &&
    `${url.origin}/` === url.href &&
    url.username === '';
  if (isOrigin) return;
  throw invalid([{ code: 'OTR_FORMAT', path: 'adminUrl', message: 'must be http://host:port or https://host:port' }]);
}
