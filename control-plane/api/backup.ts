// The whole policy store as one file, for `outrigger store restore`.

import type { FastifyInstance } from 'fastify';
import type { Clock } from '../core/clock.ts';
import { writeBackup } from '../store/backup.ts';
import type { Store } from '../store/store.ts';
import { answer } from './answers.ts';

export async function backupRoutes(
  app: FastifyInstance,
  { store, clock }: { readonly store: Store; readonly clock: Clock },
): Promise<void> {
  const config = { access: ['admin'] as const };
  const schema = {
    summary: 'All policies with their histories, as one file for `outrigger store restore`',
    tags: ['policies'],
    response: { 200: answer('the file', { format: { type: 'string' }, sha256: { type: 'string' } }) },
  };
  app.get('/v1/backup', { config, schema }, async (_request, reply) => {
    const backup = await store.backup();
    reply.header('content-type', 'application/json; charset=utf-8');
    reply.header('content-disposition', `attachment; filename="outrigger-${backup.version}.json"`);
    return reply.send(writeBackup(backup, clock.epochMs()));
  });
}
