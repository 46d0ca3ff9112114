// The audit log as a chain: each entry holds the hash of the one before, so that an entry that was changed, taken out or put
// in shows. Pure; the hash function is passed in.

/** Hash before the first entry. */
export const CHAIN_START = '0'.repeat(64);

/** What happened: who, what, from where, and how it ended. */
export interface AuditDraft {
  readonly atEpochMs: number;
  /** Name of the token, `anonymous` without authentication, null when none was accepted. */
  readonly actor: string | null;
  readonly tokenId: string | null;
  readonly role: string | null;
  /** Address of the peer. */
  readonly from: string;
  readonly method: string;
  /** Path without the query. */
  readonly path: string;
  /** `allowed` says that it was done, `refused` that it was permitted and not done, `denied` that it was not permitted. */
  readonly verdict: 'allowed' | 'refused' | 'denied';
  readonly status: number;
  /** `OTR_ERR_…` of a refusal, or null. */
  readonly code: string | null;
  /** What the change made: `revision 4`, a token's id; null when nothing. */
  readonly result: string | null;
}

export interface AuditEntry extends AuditDraft {
  /** Counts up from 1 without a gap. */
  readonly sequence: number;
  readonly previousHash: string;
  readonly hash: string;
}

export type Digest = (text: string) => string;

/** The entry that follows `last`; null is the beginning. */
export function chain(
  draft: AuditDraft,
  last: Pick<AuditEntry, 'sequence' | 'hash'> | null,
  digest: Digest,
): AuditEntry {
  const sequence = (last?.sequence ?? 0) + 1;
  const previousHash = last?.hash ?? CHAIN_START;
  return { ...draft, sequence, previousHash, hash: digest(canonical(draft, sequence, previousHash)) };
}

/** A list, not an object: the order of its members is the order here, whatever made the draft. */
function canonical(draft: AuditDraft, sequence: number, previousHash: string): string {
  const { atEpochMs, actor, tokenId, role, from, method, path, verdict, status, code, result } = draft;
  return JSON.stringify([
    previousHash,
    sequence,
    atEpochMs,
    actor,
    tokenId,
    role,
    from,
    method,
    path,
    verdict,
    status,
    code,
    result,
  ]);
}

export interface BrokenEntry {
  readonly sequence: number;
  readonly reason: 'missing' | 'out of place' | 'changed';
}

/**
 * Follows the chain over one run of entries, oldest first.
 *
 * @param last what the run follows; null is the beginning
 * @returns the first entry that is not what it was, or null. One that was taken out shows as the number that is missing.
 */
export function firstBroken(
  entries: readonly AuditEntry[],
  last: AuditEntry | null,
  digest: Digest,
): BrokenEntry | null {
  let former = last;
  for (const entry of entries) {
    const expected = chain(entry, former, digest);
    if (entry.sequence > expected.sequence) return { sequence: expected.sequence, reason: 'missing' };
    if (entry.sequence < expected.sequence) return { sequence: entry.sequence, reason: 'out of place' };
    // The hash covers the hash before it, so this also finds an entry whose predecessor was written anew.
    if (entry.hash !== expected.hash || entry.previousHash !== expected.previousHash) {
      return { sequence: entry.sequence, reason: 'changed' };
    }
    former = entry;
  }
  return null;
}
