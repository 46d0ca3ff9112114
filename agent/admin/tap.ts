// GET /tap: requests as they end, as server-sent events. Few taps, a bounded rate each, and a reader that does not keep up loses
// its tap instead of growing the agent's memory.

import type { FastifyReply, FastifyRequest } from 'fastify';
import { parseStatusRange, type TapListener } from '../telemetry/tap.ts';
import { sendProblem } from './problem.ts';

/** A tap holds one of the API's places for as long as it runs; others must stay free. */
export const MAX_TAPS = 4;
const DEFAULT_PER_SECOND = 100;
const MAX_PER_SECOND = 1000;
/** Of unread text; a slower reader is let go. */
const MAX_WAITING_BYTES = 262_144;
const HEARTBEAT_MS = 5_000;

export interface TapSource {
  readonly listeners: number;
  listen(listener: TapListener): { close(): void; skipped(): number };
}

export function tapRoute(source: TapSource): (request: FastifyRequest, reply: FastifyReply) => unknown {
  return (request, reply) => {
    const query = request.query as Readonly<Record<string, string | string[] | undefined>>;
    const value = (name: string): string | null => {
      const found = query[name];
      return (Array.isArray(found) ? found[0] : found) ?? null;
    };
    const statusText = value('status');
    const status = statusText === null ? null : parseStatusRange(statusText);
    if (statusText !== null && status === null) {
      return sendProblem(reply, 400, `?status= must be such as 503, 5xx or 400-499, got '${statusText}'`);
    }
    const rateText = value('rate') ?? String(DEFAULT_PER_SECOND);
    const perSecond = Number(rateText);
    if (!Number.isInteger(perSecond) || perSecond < 1 || perSecond > MAX_PER_SECOND) {
      return sendProblem(reply, 400, `?rate= must be a whole number from 1 to ${MAX_PER_SECOND}, got '${rateText}'`);
    }
    if (source.listeners >= MAX_TAPS) {
      reply.header('retry-after', '5');
      return sendProblem(reply, 503, `${MAX_TAPS} taps are open already`);
    }
    const filter = {
      service: value('service')?.toLowerCase() ?? null,
      method: value('method')?.toUpperCase() ?? null,
      path: value('path'),
      status,
    };
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    raw.write(': tapping\n\n');
    const say = (text: string): void => {
      if (raw.writableLength > MAX_WAITING_BYTES) raw.destroy();
      else raw.write(text);
    };
    const tapping = source.listen({
      filter,
      perSecond,
      onRecord: (record) => say(`event: request\ndata: ${JSON.stringify(record)}\n\n`),
    });
    const heartbeat = setInterval(() => {
      const skipped = tapping.skipped();
      say(skipped > 0 ? `event: skipped\ndata: ${JSON.stringify({ skipped })}\n\n` : ': still here\n\n');
    }, HEARTBEAT_MS);
    raw.once('close', () => {
      tapping.close();
      clearInterval(heartbeat);
    });
    return reply;
  };
}
