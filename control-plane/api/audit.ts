// Reading the audit log, and following its chain from the first entry to the last.

import { createHash } from 'node:crypto';
import { setImmediate as breathe } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import { type AuditEntry, type BrokenEntry, CHAIN_START, firstBroken } from '../core/audit.ts';
import type { AccessStore } from '../store/access-store.ts';
import { answer } from './answers.ts';
import { pageQuerySchema, pageSchema, readPageQuery } from './paging.ts';
import { ApiError } from './problem.ts';

/** Entries between two breaths: hashing a long log must not keep the streams waiting. */
const BATCH = 500;

const digest = (text: string): string => createHash('sha256').update(text).digest('hex');
const tags = ['access'];
const admins = { access: ['admin'] as const };

interface Verification {
  readonly isIntact: boolean;
  readonly entries: number;
  /** The last entry; noted elsewhere, it shows later whether the end of the log was cut off. */
  readonly head: { readonly sequence: number; readonly hash: string };
  readonly firstBroken: BrokenEntry | null;
  /** Whether the entry that was asked for is there with that hash; null when none was asked for. */
  readonly hasNoted: boolean | null;
}

export async function auditRoutes(app: FastifyInstance, { store }: { readonly store: AccessStore }): Promise<void> {
  app.get(
    '/v1/audit',
    {
      config: admins,
      schema: {
        summary: 'Who changed what, and who was denied; newest first',
        tags,
        querystring: pageQuerySchema,
        response: { 200: pageSchema('entries') },
      },
    },
    async (request) => {
      const { limit, cursor } = readPageQuery(request.query);
      if (cursor !== null && !/^[1-9][0-9]{0,14}$/.test(cursor)) {
        throw new ApiError('OTR_ERR_BAD_REQUEST', 'cursor must be the nextCursor of a former page');
      }
      const entries = await store.newest(cursor === null ? null : Number(cursor), limit);
      const last = entries.at(-1)?.sequence ?? 1;
      return { entries, nextCursor: last > 1 && entries.length === limit ? String(last) : null };
    },
  );

  app.get<{ Querystring: { sequence?: unknown; hash?: unknown } }>(
    '/v1/audit/verify',
    {
      config: admins,
      schema: {
        summary: 'Follow the chain of the audit log; names the first entry that is not what it was',
        tags,
        querystring: {
          type: 'object',
          properties: {
            sequence: { type: 'string', description: 'Number of an entry that was noted earlier, with its hash' },
            hash: { type: 'string', description: 'Its hash' },
          },
        },
        response: { 200: answer('what was found', { isIntact: { type: 'boolean' }, head: { type: 'object' } }) },
      },
    },
    async ({ query }): Promise<Verification> => verify(store, notedIn(query)),
  );
}

function notedIn({
  sequence,
  hash,
}: {
  sequence?: unknown;
  hash?: unknown;
}): { sequence: number; hash: string } | null {
  if (sequence === undefined && hash === undefined) return null;
  const isNumber = typeof sequence === 'string' && /^[1-9][0-9]{0,14}$/.test(sequence);
  if (isNumber && typeof hash === 'string') return { sequence: Number(sequence), hash };
  throw new ApiError('OTR_ERR_BAD_REQUEST', 'sequence and hash go together: those of the head of a former answer');
}

/** O(entries). */
async function verify(
  store: AccessStore,
  noted: { readonly sequence: number; readonly hash: string } | null,
): Promise<Verification> {
  let last: AuditEntry | null = null;
  let broken: BrokenEntry | null = null;
  let count = 0;
  let hasNoted = false;
  for (;;) {
    const batch: readonly AuditEntry[] = await store.oldest(last?.sequence ?? 0, BATCH);
    broken ??= firstBroken(batch, last, digest);
    count += batch.length;
    hasNoted ||= batch.some(({ sequence, hash }) => sequence === noted?.sequence && hash === noted.hash);
    last = batch.at(-1) ?? last;
    if (batch.length < BATCH) break;
    await breathe();
  }
  const head = { sequence: last?.sequence ?? 0, hash: last?.hash ?? CHAIN_START };
  const isIntact = broken === null && (noted === null || hasNoted);
  return { isIntact, entries: count, head, firstBroken: broken, hasNoted: noted === null ? null : hasNoted };
}
