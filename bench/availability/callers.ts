// The load on one proxy: requests start when the schedule says so, whatever became of those before. One is good when the whole
// answer is there with 200 within the time that its caller has.

import { Agent, request } from 'node:http';

export interface CallResult {
  readonly id: string;
  readonly method: 'GET' | 'POST';
  /** ms since the start of the load. */
  readonly startedMs: number;
  readonly latencyMs: number;
  /** `'200'` is good; other statuses, `'timeout'`, or the code of a socket's error. */
  readonly outcome: string;
}

/** What a caller waits at most. */
export const PATIENCE_MS = 1_000;
/** Every fifth request is one that must not be executed twice. */
const POST_EVERY = 5;
const TICK_MS = 5;

export interface Load {
  /** Of the proxy; more than one stand for a caller who chooses among the instances by chance. */
  readonly ports: readonly number[];
  readonly perSecond: number;
  readonly durationMs: number;
  readonly idPrefix: string;
}

export function runLoad({ ports, perSecond, durationMs, idPrefix }: Load): Promise<readonly CallResult[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
  const results: CallResult[] = [];
  const total = Math.floor((durationMs / 1000) * perSecond);
  const startedAt = performance.now();
  let sent = 0;
  return new Promise((resolve) => {
    const note = (result: CallResult) => {
      results.push(result);
      if (results.length < total) return;
      agent.destroy();
      resolve(results);
    };
    const tick = setInterval(() => {
      const due = Math.min(total, Math.floor(((performance.now() - startedAt) / 1000) * perSecond));
      for (; sent < due; sent++) {
        const port = ports[Math.floor(Math.random() * ports.length)] ?? 0;
        call(agent, port, `${idPrefix}-${sent}`, sent % POST_EVERY === 0 ? 'POST' : 'GET', startedAt, note);
      }
      if (sent >= total) clearInterval(tick);
    }, TICK_MS);
  });
}

function call(
  agent: Agent,
  port: number,
  id: string,
  method: 'GET' | 'POST',
  startedAt: number,
  note: (result: CallResult) => void,
): void {
  const sentAt = performance.now();
  let isOver = false;
  const end = (outcome: string) => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    note({ id, method, startedMs: sentAt - startedAt, latencyMs: performance.now() - sentAt, outcome });
  };
  const headers = { host: 'payments', 'x-id': id, ...(method === 'POST' ? { 'content-length': '2' } : {}) };
  const sending = request({ agent, host: '127.0.0.1', port, method, path: '/', headers }, (response) => {
    response.once('error', () => end('broken'));
    response.once('close', () => end(response.complete ? String(response.statusCode) : 'broken'));
    response.resume();
  });
  const timer = setTimeout(() => {
    end('timeout');
    sending.destroy();
  }, PATIENCE_MS);
  sending.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
  sending.end(method === 'POST' ? 'ok' : undefined);
}
