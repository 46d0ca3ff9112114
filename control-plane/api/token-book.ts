// Every token that counts now: those of the configuration and those of the store, looked at again every two seconds, so that a
// revocation by another replica, a changed file and the end of a token's life take effect in time.

import { createHash, timingSafeEqual } from 'node:crypto';
import { isExpired, isSameToken, type StoredToken, type Token } from '../core/tokens.ts';
import type { AccessStore } from '../store/access-store.ts';
import type { TokensFile } from './tokens-file.ts';

/** How long a change may stay unseen, revocations included. */
export const REREAD_EVERY_MS = 2_000;
/** How long tokens of a store that cannot be read still count: nobody can tell whether they were revoked elsewhere. */
export const BLIND_LIMIT_MS = 30_000;

/** `otr_<id>_<secret>`: the prefix lets scanners of sources find a leaked one, the id names it without the secret. */
const MADE_BY_US = /^otr_([a-z0-9]{16})_[A-Za-z0-9_-]{43}$/;

export interface TokenBookOptions {
  readonly file: TokensFile | null;
  /** Of the configuration besides the file. */
  readonly fixed: readonly Token[];
  readonly store: AccessStore;
  readonly now: () => number;
  readonly epochMs: () => number;
  readonly warn: (message: string) => void;
}

export class TokenBook {
  readonly #options: TokenBookOptions;
  #stored: ReadonlyMap<string, StoredToken> = new Map();
  #stamp: string | null = null;
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(options: TokenBookOptions) {
    this.#options = options;
  }

  /** Looks at the file and, when its stamp is another one, at the store. Never rejects. */
  async refresh(): Promise<void> {
    const { file, store, now, warn } = this.#options;
    file?.refresh();
    try {
      const stamp = await store.tokensStamp();
      if (stamp !== this.#stamp) {
        this.#stored = new Map((await store.tokens()).map((token) => [token.id, token]));
        this.#stamp = stamp;
      }
      this.#readAt = now();
    } catch (error) {
      warn(`tokens could not be read: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /**
   * The token that a secret belongs to, or null.
   *
   * The id in a token leads to one digest, so the time taken says at most whether an id exists, which is no secret. The
   * tokens of the configuration have no id: all of them are looked at whatever the answer.
   */
  find(secret: string | null): Token | null {
    if (secret === null) return null;
    const digest = createHash('sha256').update(secret).digest();
    let found: Token | null = null;
    for (const token of this.#configured()) if (isDigest(token, digest)) found = token;
    const id = MADE_BY_US.exec(secret)?.[1];
    const stored = id === undefined || this.#isBlind() ? undefined : this.#stored.get(id);
    if (stored !== undefined && stored.revokedAtEpochMs === null && isDigest(stored, digest)) found = stored;
    return found === null || isExpired(found, this.#options.epochMs()) ? null : found;
  }

  /** Whether the secret is of a token that would count if it could be found out that it was not revoked since. */
  isUndecided(secret: string | null): boolean {
    const id = secret === null ? undefined : MADE_BY_US.exec(secret)?.[1];
    const stored = id === undefined || !this.#isBlind() ? undefined : this.#stored.get(id);
    if (secret === null || stored === undefined || stored.revokedAtEpochMs !== null) return false;
    const digest = createHash('sha256').update(secret).digest();
    return isDigest(stored, digest) && !isExpired(stored, this.#options.epochMs());
  }

  /** Whether the token still is what it was when it was found. A store that cannot be read takes nothing away. */
  isValid(token: Token): boolean {
    if (isExpired(token, this.#options.epochMs())) return false;
    const stored = this.#stored.get(token.id);
    const current = stored?.revokedAtEpochMs === null ? stored : this.#configured().find(({ id }) => id === token.id);
    return current !== undefined && isSameToken(current, token);
  }

  /** In order: those of the configuration, then the stored ones by age, the ended ones with them. */
  list(): (Token | StoredToken)[] {
    return [...this.#configured(), ...this.#stored.values()];
  }

  #isBlind(): boolean {
    return this.#options.now() - this.#readAt > BLIND_LIMIT_MS;
  }

  #configured(): readonly Token[] {
    const { file, fixed } = this.#options;
    return file === null ? fixed : [...fixed, ...file.tokens];
  }
}

function isDigest(token: Token, digest: Buffer): boolean {
  return timingSafeEqual(Buffer.from(token.sha256, 'hex'), digest);
}
