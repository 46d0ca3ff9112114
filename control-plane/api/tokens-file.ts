// Tokens that the configuration brings: a file of operators and agents, read again when it changes, for the first token and
// for those that a deployment manages. The file may hold digests only.

import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { parseYamlDocuments } from '#contract/input/yaml-documents.ts';
import { ROLES } from '../core/roles.ts';
import { isNameGlob, type Token } from '../core/tokens.ts';

/** Tokens of a file; a broken change keeps the former tokens and is told once. */
export class TokensFile {
  readonly #path: string;
  readonly #warn: (message: string) => void;
  #tokens: readonly Token[];
  #stamp: string;

  /** @throws Error when the file cannot be used */
  constructor(path: string, warn: (message: string) => void) {
    this.#path = path;
    this.#warn = warn;
    this.#stamp = stampOf(path);
    this.#tokens = parseTokens(readFileSync(path, 'utf8'), path);
  }

  get tokens(): readonly Token[] {
    return this.#tokens;
  }

  /** Reads the file again when its time, size or inode is another one. */
  refresh(): void {
    try {
      const stamp = stampOf(this.#path);
      if (stamp === this.#stamp) return;
      this.#stamp = stamp;
      this.#tokens = parseTokens(readFileSync(this.#path, 'utf8'), this.#path);
    } catch (error) {
      this.#warn(`tokens file kept as it was: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

function stampOf(path: string): string {
  const { mtimeMs, size, ino } = statSync(path);
  return `${mtimeMs} ${size} ${ino}`;
}

/**
 * Reads `tokens: [{name, token | sha256, role, services?, agents?, expires?}]` from YAML or JSON.
 *
 * @throws Error that names the entry, never the secret
 */
export function parseTokens(text: string, file: string): Token[] {
  const parsed = parseYamlDocuments(text, file);
  if (!parsed.ok)
    throw new Error(`${file}: ${parsed.problems.map(({ code, line }) => `${code} in line ${line}`).join(', ')}`);
  const root = parsed.value[0]?.value;
  const list = isMapping(root) ? root.tokens : undefined;
  if (!Array.isArray(list) || list.length === 0) throw new Error(`${file}: tokens must be a list of at least one`);
  const tokens = list.map((entry: unknown, index) => parseToken(entry, `${file}: tokens[${index}]`));
  const names = new Set(tokens.map(({ name }) => name));
  if (names.size < tokens.length) throw new Error(`${file}: two tokens have the same name`);
  return tokens;
}

function parseToken(entry: unknown, where: string): Token {
  if (!isMapping(entry)) throw new Error(`${where} must be a mapping`);
  const { name, token, sha256, role, services, agents, expires, ...rest } = entry;
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined) throw new Error(`${where} has an unknown key ${unknown}`);
  if (typeof name !== 'string' || !/^[\w.@-]{1,64}$/.test(name)) throw new Error(`${where}.name must be 1–64 letters`);
  const known = ROLES.find((one) => one === role);
  if (known === undefined) throw new Error(`${where}.role must be one of ${ROLES.join(', ')}`);
  if ((token === undefined) === (sha256 === undefined)) throw new Error(`${where} must have one of token and sha256`);
  return {
    id: `file:${name}`,
    name,
    role: known,
    sha256: digestOf(token, sha256, where),
    services: globsOf(services, `${where}.services must be a list of service names, * allowed`, isNameGlob),
    agents: globsOf(agents, `${where}.agents must be a list of agent ids, * allowed`, () => true),
    expiresAtEpochMs: instantOf(expires, where),
  };
}

function digestOf(token: unknown, sha256: unknown, where: string): string {
  if (sha256 !== undefined) {
    if (typeof sha256 === 'string' && /^[0-9a-f]{64}$/i.test(sha256)) return sha256.toLowerCase();
    throw new Error(`${where}.sha256 must be 64 hex digits`);
  }
  if (typeof token !== 'string' || token.length < 16)
    throw new Error(`${where}.token must have at least 16 characters`);
  return digestOfSecret(token);
}

/**
 * What is kept in place of a secret. SHA-256 and no scrypt: a slow hash protects words that people choose, and a token of 256
 * random bits cannot be found by trying; 50 ms of scrypt on each request would only be a way to keep the process busy.
 */
export function digestOfSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

function globsOf(value: unknown, expected: string, isOk: (glob: string) => boolean): string[] | null {
  if (value === undefined) return null;
  const isList = Array.isArray(value) && value.every((glob) => typeof glob === 'string' && isOk(glob));
  if (!isList) throw new Error(expected);
  return value;
}

function instantOf(value: unknown, where: string): number | null {
  if (value === undefined) return null;
  const at = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(at)) throw new Error(`${where}.expires must be a date such as 2027-01-31T00:00:00Z`);
  return at;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
