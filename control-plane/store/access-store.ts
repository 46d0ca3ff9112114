// What the control plane asks of the place where tokens and the audit log are kept. Apart from the policies' store: who may
// read a backup of the policies need not see who may change them. An implementation over a shared store (Consul KV) must
// make `append` a compare-and-swap on the last entry, so that two replicas cannot both follow the same one.

import type { AuditDraft, AuditEntry } from '../core/audit.ts';
import type { StoredToken } from '../core/tokens.ts';

/** Implementations reject with StoreError and nothing else. Every promise of a change settles after it is durable. */
export interface AccessStore {
  /** Changes whenever a token was added or revoked, by whichever replica; cheap enough to ask every two seconds. */
  tokensStamp(): Promise<string>;
  /** In order of creation, with those that have ended. */
  tokens(): Promise<readonly StoredToken[]>;
  addToken(token: StoredToken): Promise<void>;
  /** Null when there is no such token; one that was revoked before stays as it was. */
  revokeToken(id: string, by: string, atEpochMs: number): Promise<StoredToken | null>;
  /** Adds one entry at the end of the chain. A store that is asked over a network tries for `withinMs`; default 5000. */
  append(draft: AuditDraft, withinMs?: number): Promise<AuditEntry>;
  /** Newest first, below `before` when it is not null. */
  newest(before: number | null, limit: number): Promise<readonly AuditEntry[]>;
  /** Oldest first, above `after`. */
  oldest(after: number, limit: number): Promise<readonly AuditEntry[]>;
  close(): Promise<void>;
}
