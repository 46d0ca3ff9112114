// Services as all agents together see them.

import type { FastifyInstance } from 'fastify';
import type { ServiceView } from '../core/views.ts';
import { ApiError } from './problem.ts';

export interface ServiceRoutesOptions {
  readonly services: () => ServiceView[];
}

export async function serviceRoutes(app: FastifyInstance, { services }: ServiceRoutesOptions): Promise<void> {
  const config = { access: ['viewer'] as const };

  app.get('/v1/services', { config, schema: { summary: 'All services', tags: ['services'] } }, async () => ({
    // The parts that grow with the fleet are on the page of one service.
    services: services().map(({ edges: _edges, endpoints: _endpoints, ...rest }) => rest),
  }));

  app.get<{ Params: { name: string } }>(
    '/v1/services/:name',
    { config, schema: { summary: 'One service with its endpoints and callers', tags: ['services'] } },
    async ({ params: { name } }) => {
      const view = services().find(({ service }) => service === name.toLowerCase());
      if (view === undefined) throw new ApiError('OTR_ERR_NOT_FOUND', `no agent knows a service ${name.slice(0, 128)}`);
      return view;
    },
  );
}
