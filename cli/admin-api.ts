// One agent's admin API as commands see it: asked directly, or through the control plane's relay when an agent is named.

import { type Command, Option } from 'commander';
import { type ServerSentEvent, SseParser } from '../agent/sync/sse-parser.ts';
import { type ApiAnswer, type ApiOptions, callApi, openApi, withApiOptions } from './api.ts';

const DEFAULT_ADMIN_URL = 'http://127.0.0.1:15000';
/** Of one event; a tap's are far below it. */
const MAX_EVENT_LENGTH = 1_048_576;

export interface AdminOptions extends ApiOptions {
  readonly admin: string;
  readonly agent?: string;
}

/** Adds `--admin` and `--agent`, and what the relay needs. */
export function withAdminOptions(command: Command): Command {
  return withApiOptions(
    command
      .addOption(
        new Option('--admin <url>', 'admin API of the agent to ask')
          .env('OUTRIGGER_ADMIN_URL')
          .default(DEFAULT_ADMIN_URL),
      )
      .option('--agent <id>', 'ask this agent, through the control plane, instead of --admin'),
  );
}

export function callAdmin(
  options: AdminOptions,
  method: 'GET' | 'POST',
  path: string,
  extra: { accept?: readonly number[] } = {},
): Promise<ApiAnswer> {
  return callApi(peerOf(options), method, pathOf(options, path), extra);
}

/** Events of a stream until it ends or `signal` says so. */
export async function* streamAdmin(
  options: AdminOptions,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<ServerSentEvent> {
  const parser = new SseParser(MAX_EVENT_LENGTH);
  const response = await openApi(peerOf(options), pathOf(options, path), signal);
  for await (const chunk of response.body ?? []) {
    yield* parser.push(chunk);
    if (parser.isOverflowing) return;
  }
}

function peerOf(options: AdminOptions): ApiOptions {
  // The token is the control plane's; an agent's admin API knows none.
  return options.agent === undefined ? { controlPlane: options.admin, peer: 'agent' } : options;
}

function pathOf({ agent }: AdminOptions, path: string): string {
  return agent === undefined ? path : `/v1/agents/${encodeURIComponent(agent)}/admin${path}`;
}
