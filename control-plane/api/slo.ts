// Error budgets: what is left, what burns, which cause spent it, and how long the service was away in a day, a week, a month.

import type { FastifyInstance } from 'fastify';
import type { Clock } from '../core/clock.ts';
import { pageOf } from '../core/pages.ts';
import type { SloBook, SloView } from '../core/slo/book.ts';
import { type Composed, composedOf, type Part } from '../core/slo/composed.ts';
import type { ServiceView } from '../core/views.ts';
import { answer } from './answers.ts';
import { pageQuerySchema, pageSchema, readPageQuery } from './paging.ts';
import { ApiError } from './problem.ts';

export interface SloRoutesOptions {
  readonly slos: SloBook;
  readonly services: () => ServiceView[];
  readonly clock: Clock;
}

export async function sloRoutes(app: FastifyInstance, { slos, services, clock }: SloRoutesOptions): Promise<void> {
  const config = { access: ['viewer'] as const };
  const list = {
    summary: 'Error budgets of all services',
    tags: ['services'],
    querystring: pageQuerySchema,
    response: { 200: pageSchema('slos') },
  };
  app.get('/v1/slo', { config, schema: list }, async (request) => {
    const { items, nextCursor } = pageOf(slos.services(), (service) => service, readPageQuery(request.query));
    const views = items.flatMap((service) => slos.view(service, clock.epochMs()) ?? []);
    return { slos: views.map((view) => ({ ...view, periods: undefined })), nextCursor };
  });

  app.get<{ Params: { service: string } }>(
    '/v1/slo/:service',
    {
      config,
      schema: {
        summary: 'Error budget of one service with causes, downtime and what its parts promise',
        tags: ['services'],
        params: { type: 'object', properties: { service: { type: 'string' } }, required: ['service'] },
        response: { 200: answer('the budget', { service: { type: 'string' }, budget: { type: 'object' } }) },
      },
    },
    async ({ params: { service } }): Promise<SloView & { readonly composed: Composed }> => {
      const view = slos.view(service.toLowerCase(), clock.epochMs());
      if (view === null) {
        throw new ApiError('OTR_ERR_NOT_FOUND', `no request to a service ${service.slice(0, 128)} was counted`);
      }
      return { ...view, composed: composedOf(view.service, partsOf(services())) };
    },
  );
}

function partsOf(services: readonly ServiceView[]): Map<string, Part> {
  const parts = new Map<string, Part & { readonly calls: string[] }>();
  for (const { service, endpoints } of services) {
    const asked = endpoints.filter(({ attempts }) => attempts > 0);
    const measured = asked.map(({ attempts, failures }) => 1 - failures / attempts);
    parts.set(service, { service, endpoints: measured, calls: [] });
  }
  for (const { service, edges } of services) {
    for (const { direction, source } of edges) if (direction === 'outbound') parts.get(source)?.calls.push(service);
  }
  return parts;
}
