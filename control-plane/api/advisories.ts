// What the callers together hold against endpoints and against each other, as this replica knows it.

import type { FastifyInstance } from 'fastify';
import { answer } from './answers.ts';

export async function advisoryRoutes(app: FastifyInstance, { advice }: { advice: () => object }): Promise<void> {
  const schema = {
    summary: 'Advisories in force and agents whose ejections are suspended',
    tags: ['services'],
    response: { 200: answer('both', { advisories: { type: 'array' }, suspended: { type: 'array' } }) },
  };
  app.get('/v1/advisories', { config: { access: ['viewer'] as const }, schema }, async () => advice());
}
