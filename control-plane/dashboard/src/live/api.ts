// Requests to the control plane with the reader's token. The token is kept for this tab only and in no address.

import type { Problem } from '#contract/problem.ts';

const TOKEN_KEY = 'outrigger-token';

/** What the control plane refused with (RFC 9457). */
export class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  readonly problems: readonly Problem[];

  constructor(status: number, code: string, detail: string, problems: readonly Problem[]) {
    super(detail);
    this.status = status;
    this.code = code;
    this.problems = problems;
  }
}

export interface Ask {
  readonly method?: string;
  readonly body?: string;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export class Api {
  get token(): string | null {
    return sessionStorage.getItem(TOKEN_KEY);
  }

  set token(token: string | null) {
    if (token === null) sessionStorage.removeItem(TOKEN_KEY);
    else sessionStorage.setItem(TOKEN_KEY, token);
  }

  /** The response, whatever its status. */
  async fetch(path: string, { method = 'GET', body, type, headers = {}, signal }: Ask = {}): Promise<Response> {
    const { token } = this;
    return fetch(path, {
      method,
      cache: 'no-store',
      headers: {
        ...headers,
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(type === undefined ? {} : { 'content-type': type }),
      },
      ...(body === undefined ? {} : { body }),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  /** The body of a success; anything else is thrown as a Refusal with the server's own sentence. */
  async ask<T>(path: string, ask: Ask = {}): Promise<T> {
    const response = await this.fetch(path, ask).catch(() => {
      throw new Refusal(0, 'unreachable', 'the control plane does not answer', []);
    });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') === true;
    const body: unknown = isJson && text !== '' ? JSON.parse(text) : null;
    if (response.ok) return body as T; // the same version on both sides: the page comes from this server
    const { code = '', detail = `status ${response.status}`, problems = [] } = (body ?? {}) as Partial<ProblemBody>;
    throw new Refusal(response.status, code, detail, problems);
  }
}

interface ProblemBody {
  readonly code: string;
  readonly detail: string;
  readonly problems: readonly Problem[];
}

/** A sentence for whatever was thrown. */
export function sentenceOf(error: unknown): string {
  if (error instanceof Refusal && error.status === 403) return `${error.message}. Ask for a token that may do this.`;
  return error instanceof Error ? error.message : String(error);
}
