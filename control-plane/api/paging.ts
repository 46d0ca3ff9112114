// `?limit=` and `?cursor=` of every list: what they must be, and how the document of the API says it.

import { PAGE_LIMIT, type PageQuery } from '../core/pages.ts';
import { ApiError } from './problem.ts';

/** A key of ours is never longer; longer texts are not repeated anywhere. */
const LONGEST_CURSOR = 512;

/** Query of a list, for its schema. */
export const pageQuerySchema = {
  type: 'object',
  properties: {
    limit: { type: 'string', description: `Items of this page, 1–${PAGE_LIMIT}; ${PAGE_LIMIT} when absent` },
    cursor: { type: 'string', description: '`nextCursor` of the page before' },
  },
} as const;

/** Schema of an answer that is a page; `name` is the member with the items. */
export function pageSchema(
  name: string,
  further: Readonly<Record<string, object>> = {},
  item: object = { type: 'object', additionalProperties: true },
): object {
  return {
    description: `One page; \`nextCursor\` is null on the last one`,
    content: {
      'application/json': {
        schema: {
          type: 'object',
          properties: {
            ...further,
            [name]: { type: 'array', items: item },
            nextCursor: { type: ['string', 'null'] },
          },
          required: [name, 'nextCursor'],
        },
      },
    },
  };
}

/** @throws ApiError OTR_ERR_BAD_REQUEST */
export function readPageQuery(query: unknown): PageQuery {
  const { limit, cursor } = (query ?? {}) as { limit?: unknown; cursor?: unknown }; // a parameter given twice is a list
  if (cursor !== undefined && (typeof cursor !== 'string' || cursor.length > LONGEST_CURSOR)) {
    throw new ApiError('OTR_ERR_BAD_REQUEST', 'cursor must be the nextCursor of a former page');
  }
  if (limit === undefined) return { limit: PAGE_LIMIT, cursor: cursor ?? null };
  const count = typeof limit === 'string' && /^[0-9]{1,4}$/.test(limit) ? Number(limit) : 0;
  if (count < 1 || count > PAGE_LIMIT) {
    throw new ApiError('OTR_ERR_BAD_REQUEST', `limit must be a whole number from 1 to ${PAGE_LIMIT}`);
  }
  return { limit: count, cursor: cursor ?? null };
}
