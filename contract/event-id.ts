// The `id:` of a push on the policy stream and what an agent sends back as Last-Event-ID: which line of versions, and where in it.

/** `0f3a9c41d2b7-17`; the version alone where no generation is known. */
export interface EventId {
  /** Names the store that counts the versions, '' when it is not known. */
  readonly generation: string;
  readonly version: number;
}

export const GENERATION_PATTERN = '^[A-Za-z0-9]{0,64}$';

export function writeEventId({ generation, version }: EventId): string {
  return generation === '' ? String(version) : `${generation}-${version}`;
}

export function isGeneration(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Za-z0-9]{0,64}$/.test(value);
}

/** Null when it was written by nobody here. */
export function readEventId(text: string): EventId | null {
  const found = /^(?:([A-Za-z0-9]{1,64})-)?(\d{1,15})$/.exec(text);
  return found === null ? null : { generation: found[1] ?? '', version: Number(found[2]) };
}

/** Both are known and differ: equal versions mean nothing then. */
export function areApart(one: string, other: string): boolean {
  return one !== '' && other !== '' && one !== other;
}
