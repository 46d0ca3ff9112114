// Lists in pieces: `limit` items at a time, and a cursor that says where the next piece begins. Pure.

/** Items of a page when nobody says how many, and at most. */
export const PAGE_LIMIT = 1_000;

export interface PageQuery {
  readonly limit: number;
  /** Key of the last item that the reader has; null at the beginning. */
  readonly cursor: string | null;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Null on the last page. */
  readonly nextCursor: string | null;
}

/**
 * The items whose keys come after the cursor, in order of keys. A list that changes between two pages neither repeats nor
 * skips what was there all the time: the cursor is a key, not a position.
 */
export function pageOf<T>(items: readonly T[], keyOf: (item: T) => string, { limit, cursor }: PageQuery): Page<T> {
  const rest = items
    .map((item) => ({ item, key: keyOf(item) }))
    .filter(({ key }) => cursor === null || key > cursor)
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  const page = rest.slice(0, limit);
  return { items: page.map(({ item }) => item), nextCursor: rest.length > limit ? (page.at(-1)?.key ?? null) : null };
}
