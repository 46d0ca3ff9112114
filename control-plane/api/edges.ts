// Who calls whom, and how it goes: the traffic between services, added up over agents and replicas.

import type { FastifyInstance } from 'fastify';
import { pageOf } from '../core/pages.ts';
import { edgeNameOf } from '../core/traffic.ts';
import type { EdgeTotal } from '../core/views.ts';
import { pageQuerySchema, pageSchema, readPageQuery } from './paging.ts';

const count = { type: 'integer', minimum: 0 };
const duration = { type: ['number', 'null'], minimum: 0 };
const properties = {
  source: { type: 'string', description: 'Service that calls' },
  destination: { type: 'string', description: 'Service that is called' },
  agents: { ...count, description: 'Agents that reported it within the last 10 s' },
  silentAgents: { ...count, description: 'Agents that did before, whose counts are in the sums' },
  requests: { ...count, description: 'Requests that ended, as the agents that are known counted them' },
  successes: count,
  failures: count,
  retries: count,
  inFlight: { ...count, description: 'Requests under way' },
  ejected: { ...count, description: 'Endpoints that a caller has ejected' },
  rps: { type: 'number', minimum: 0, description: 'Requests a second, over the last 10 s' },
  p50Ms: { ...duration, description: 'Of the last minute, within 1.6 %; null without a request' },
  p95Ms: duration,
  p99Ms: duration,
  dataAgeMs: {
    ...duration,
    description: 'Age of the oldest report in the sums, or of the newest while all are silent',
  },
};

export async function edgeRoutes(
  app: FastifyInstance,
  { edges }: { readonly edges: () => EdgeTotal[] },
): Promise<void> {
  const schema = {
    summary: 'Traffic between services',
    tags: ['services'],
    querystring: pageQuerySchema,
    response: { 200: pageSchema('edges', {}, { type: 'object', properties, required: Object.keys(properties) }) },
  };
  app.get('/v1/edges', { config: { access: ['viewer'] as const }, schema }, async (request) => {
    const { items, nextCursor } = pageOf(edges(), edgeNameOf, readPageQuery(request.query));
    return { edges: items, nextCursor };
  });
}
