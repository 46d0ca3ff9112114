// Services as all agents together see them.

import type { FastifyInstance } from 'fastify';
import { pageOf } from '../core/pages.ts';
import type { ServiceView } from '../core/views.ts';
import { answer } from './answers.ts';
import { pageQuerySchema, pageSchema, readPageQuery } from './paging.ts';
import { ApiError } from './problem.ts';

export interface ServiceRoutesOptions {
  readonly services: () => ServiceView[];
}

export async function serviceRoutes(app: FastifyInstance, { services }: ServiceRoutesOptions): Promise<void> {
  const config = { access: ['viewer'] as const };

  const list = {
    summary: 'All services',
    tags: ['services'],
    querystring: pageQuerySchema,
    response: { 200: pageSchema('services') },
  };
  app.get('/v1/services', { config, schema: list }, async (request) => {
    const { items, nextCursor } = pageOf(services(), ({ service }) => service, readPageQuery(request.query));
    // The parts that grow with the fleet are on the page of one service.
    return { services: items.map(({ edges: _edges, endpoints: _endpoints, ...rest }) => rest), nextCursor };
  });

  app.get<{ Params: { name: string } }>(
    '/v1/services/:name',
    {
      config,
      schema: {
        summary: 'One service with its endpoints and callers',
        tags: ['services'],
        params: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] },
        response: {
          200: answer('the service', {
            service: { type: 'string' },
            endpoints: { type: 'array' },
            edges: { type: 'array' },
          }),
        },
      },
    },
    async ({ params: { name } }) => {
      const view = services().find(({ service }) => service === name.toLowerCase());
      if (view === undefined) throw new ApiError('OTR_ERR_NOT_FOUND', `no agent knows a service ${name.slice(0, 128)}`);
      return view;
    },
  );
}
