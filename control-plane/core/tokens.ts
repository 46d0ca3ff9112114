// A bearer token as the control plane knows it: never the secret, only its digest, and what the bearer may do. Pure.

import { isServiceName } from '#contract/names.ts';
import { matchesGlob } from '#contract/policy/layers.ts';
import type { Role } from './roles.ts';

/** Tokens that are valid at one time; a loop that makes tokens must not fill the store. */
export const TOKEN_LIMIT = 10_000;
/** Life of a token when nobody says how long, and at most. */
export const DEFAULT_TTL_MS = 90 * 86_400_000;
export const LONGEST_TTL_MS = 366 * 86_400_000;

export interface Token {
  /** Public. The middle part of a token that the API made; `file:NAME` and `bootstrap` for those of the configuration. */
  readonly id: string;
  /** Who it is for: goes into histories and the audit log. Two tokens may have one name while one replaces the other. */
  readonly name: string;
  readonly role: Role;
  /** Of the whole token, hex. */
  readonly sha256: string;
  /** Globs; null: any. Services an agent may stand beside, or whose documents an editor may write. */
  readonly services: readonly string[] | null;
  /** Globs of agent ids that an agent token may speak for; null: any. */
  readonly agents: readonly string[] | null;
  /** Null: never. */
  readonly expiresAtEpochMs: number | null;
}

/** A token that was made by the API and is kept in the store, also after its end. */
export interface StoredToken extends Token {
  readonly createdAtEpochMs: number;
  readonly createdBy: string;
  readonly revokedAtEpochMs: number | null;
  readonly revokedBy: string | null;
}

/** What the API shows of a token: everything but the digest. */
export type TokenView = Omit<StoredToken, 'sha256' | 'createdAtEpochMs'> & {
  /** Null for tokens of the configuration, which the API can neither make nor revoke. */
  readonly createdAtEpochMs: number | null;
  readonly source: 'api' | 'configuration';
  readonly state: 'valid' | 'expired' | 'revoked';
};

export function isExpired({ expiresAtEpochMs }: Token, epochMs: number): boolean {
  return expiresAtEpochMs !== null && epochMs >= expiresAtEpochMs;
}

/** Whether both are the same token with the same rights: a stream that one opened may go on under the other. */
export function isSameToken(a: Token, b: Token): boolean {
  return rightsOf(a) === rightsOf(b);
}

function rightsOf({ id, name, role, sha256, services, agents, expiresAtEpochMs }: Token): string {
  return JSON.stringify([id, name, role, sha256, services, agents, expiresAtEpochMs]);
}

/** A bound agent token stands beside the services it names only. `service` null: not said; undefined: not to be judged. */
export function maySpeakFor(token: Token, agentId: string, service: string | null | undefined): boolean {
  if (!isIn(token.agents, agentId)) return false;
  return token.services === null || service === undefined || (service !== null && isIn(token.services, service));
}

/** A bound editor writes documents of the services it names; what has no service (MeshDefaults) is for the unbound. */
export function mayWrite(token: Token, kind: string, name: string): boolean {
  return token.services === null || (kind !== 'MeshDefaults' && isIn(token.services, name));
}

function isIn(globs: readonly string[] | null, text: string): boolean {
  return globs === null || globs.some((glob) => matchesGlob(glob, text));
}

/** True for a service name in which `*` may stand for any characters. */
export function isNameGlob(text: string): boolean {
  return text === '*' || (text.length <= 128 && isServiceName(text.replaceAll('*', 'x')));
}

export function tokenView(token: StoredToken | Token, epochMs: number): TokenView {
  const { sha256: _sha256, ...shown } = token;
  const stored = 'createdAtEpochMs' in token ? token : null;
  const revokedAtEpochMs = stored?.revokedAtEpochMs ?? null;
  return {
    ...shown,
    source: stored === null ? 'configuration' : 'api',
    state: revokedAtEpochMs !== null ? 'revoked' : isExpired(token, epochMs) ? 'expired' : 'valid',
    createdAtEpochMs: stored?.createdAtEpochMs ?? null,
    createdBy: stored?.createdBy ?? 'configuration',
    revokedAtEpochMs,
    revokedBy: stored?.revokedBy ?? null,
  };
}
