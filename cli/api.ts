// The control plane as commands see it: one request, one answer, every failure in words with a next step.

import { type Command, Option } from 'commander';
import type { Problem } from '#contract/problem.ts';
import { CommandFailure, EXIT, InputProblems } from './terminal.ts';

const DEFAULT_URL = 'http://127.0.0.1:9700';
/** Longer than any ?wait= that a command asks for. */
const REQUEST_TIMEOUT_MS = 10_000;

export interface ApiOptions {
  readonly controlPlane: string;
  readonly token?: string;
  /** Who answers there, for messages: the control plane unless told otherwise. */
  readonly peer?: 'agent';
}

export interface ApiAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly etag: string | null;
}

/** Adds `--control-plane` and `--token` to a command. */
export function withApiOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--control-plane <url>', 'address of the control plane')
        .env('OUTRIGGER_CONTROL_PLANE_URL')
        .default(DEFAULT_URL),
    )
    .addOption(
      new Option('--token <token>', 'bearer token, where the control plane asks for one').env('OUTRIGGER_TOKEN'),
    );
}

/**
 * Asks the control plane once. Answers below 400 come back, and so do those in `accept`; the rest fails with the problem's own words.
 *
 * @param path  from the root, `/v1/agents`
 */
export async function callApi(
  options: ApiOptions,
  method: 'GET' | 'PUT' | 'DELETE' | 'POST',
  path: string,
  extra: { body?: unknown; headers?: Readonly<Record<string, string>>; accept?: readonly number[] } = {},
): Promise<ApiAnswer> {
  const base = parseBase(options.controlPlane);
  const headers: Record<string, string> = { accept: 'application/json', ...extra.headers };
  if (options.token !== undefined) headers.authorization = `Bearer ${options.token}`;
  if (extra.body !== undefined) headers['content-type'] = 'application/json';
  let response: Response;
  let text: string;
  try {
    response = await fetch(new URL(path, base), {
      method,
      headers,
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      ...(extra.body === undefined ? {} : { body: JSON.stringify(extra.body) }),
    });
    text = await response.text();
  } catch (error) {
    throw connectionFailure(base, error, options.peer);
  }
  const body = parseBody(text);
  if (response.status >= 400 && extra.accept?.includes(response.status) !== true) {
    throw refusal(method, path, response.status, body);
  }
  return { status: response.status, body, etag: response.headers.get('etag') };
}

/** A stream of the API; the whole time it is open belongs to `signal`. */
export async function openApi(options: ApiOptions, path: string, signal: AbortSignal): Promise<Response> {
  const base = parseBase(options.controlPlane);
  const headers: Record<string, string> = { accept: 'text/event-stream' };
  if (options.token !== undefined) headers.authorization = `Bearer ${options.token}`;
  const response = await fetch(new URL(path, base), { headers, signal }).catch((error: unknown) => {
    throw connectionFailure(base, error, options.peer);
  });
  if (response.ok) return response;
  throw refusal('GET', path, response.status, parseBody(await response.text()));
}

/** All pages of a list in one body: the first one with the items of the others added to its `name`. */
export async function callPages(options: ApiOptions, path: string, name: string): Promise<unknown> {
  const { body } = await callApi(options, 'GET', path);
  const items: unknown[] = [...itemsIn(body, name)];
  for (let cursor = cursorIn(body); cursor !== null; ) {
    const next = (await callApi(options, 'GET', `${path}?cursor=${encodeURIComponent(cursor)}`)).body;
    items.push(...itemsIn(next, name));
    cursor = cursorIn(next);
  }
  return typeof body === 'object' && body !== null && name in body
    ? { ...body, [name]: items, nextCursor: null }
    : body;
}

function itemsIn(body: unknown, name: string): readonly unknown[] {
  const items =
    typeof body === 'object' && body !== null ? Object.entries(body).find(([key]) => key === name)?.[1] : null;
  return Array.isArray(items) ? items : [];
}

function cursorIn(body: unknown): string | null {
  const { nextCursor } = (body ?? {}) as { nextCursor?: unknown }; // checked below
  return typeof nextCursor === 'string' ? nextCursor : null;
}

function parseBase(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new CommandFailure(`--control-plane must be a URL such as ${DEFAULT_URL}, got '${text}'`, {
      exitCode: EXIT.usage,
    });
  }
  return url;
}

function parseBody(text: string): unknown {
  try {
    return text === '' ? null : JSON.parse(text);
  } catch {
    return text; // an intermediary's page, say; shown as it is
  }
}

function connectionFailure(base: URL, error: unknown, peer: ApiOptions['peer']): CommandFailure {
  const who = peer ?? 'control plane';
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = (cause as NodeJS.ErrnoException).code;
  if (code === 'ECONNREFUSED') {
    return new CommandFailure(`no ${who} answers at ${base.origin} (connection refused)`, {
      exitCode: EXIT.problemFound,
      next:
        peer === 'agent'
          ? 'start one with `outrigger agent --config F`, or name another with --admin URL or --agent ID'
          : 'start one with `outrigger control-plane`, or name another with --control-plane URL',
      cause: error,
    });
  }
  const why =
    error instanceof Error && error.name === 'TimeoutError'
      ? `no answer within ${REQUEST_TIMEOUT_MS / 1000} s`
      : cause instanceof Error
        ? cause.message
        : String(cause);
  return new CommandFailure(`cannot reach the ${who} at ${base.origin}: ${why}`, {
    exitCode: EXIT.problemFound,
    next: `see whether it is alive: curl -s ${base.origin}/live`,
    cause: error,
  });
}

function refusal(method: string, path: string, status: number, body: unknown): CommandFailure {
  const problems = readProblems(body);
  if (status === 422 && problems.length > 0) return new InputProblems(problems);
  const next =
    status === 401 || status === 403
      ? 'give a token that may do this with --token or OUTRIGGER_TOKEN; an admin makes one (docs/api.md, Tokens)'
      : status === 412
        ? 'someone changed the document since: fetch it again with `outrigger policy get`, then apply with its new revision'
        : undefined;
  // Without a word of the server's, the request itself is the best hint.
  return new CommandFailure(readDetail(body) ?? `${method} ${path} was refused with status ${status}`, {
    exitCode: EXIT.problemFound,
    ...(next === undefined ? {} : { next }),
  });
}

function readDetail(body: unknown): string | null {
  if (typeof body === 'string') return body.slice(0, 200);
  const { detail, title } = (body ?? {}) as { detail?: unknown; title?: unknown }; // RFC 9457; checked below
  return typeof detail === 'string' ? detail : typeof title === 'string' ? title : null;
}

function readProblems(body: unknown): Problem[] {
  const { problems } = (body ?? {}) as { problems?: unknown }; // checked below
  if (!Array.isArray(problems)) return [];
  return problems.filter(
    (problem): problem is Problem =>
      typeof problem === 'object' && problem !== null && typeof (problem as Problem).message === 'string',
  );
}
