// An HTTP server that plays Consul's faults: each answer is what the test's script says, and every question is kept.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Teardown } from './processes.ts';

export interface Question {
  readonly method: string;
  /** Path without query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
  readonly atMs: number;
}

/** Answers one question; a script that does not answer at all leaves the question open, as a blocking query is. */
export type Script = (question: Question, response: ServerResponse, number: number) => void;

export interface ScriptedConsul {
  readonly url: string;
  readonly questions: readonly Question[];
  play(script: Script): void;
  /** Destroys every open connection without an answer. */
  hangUp(): void;
  /** From now on connections are refused. */
  close(): void;
}

export async function startScriptedConsul(t: Teardown, script: Script): Promise<ScriptedConsul> {
  const questions: Question[] = [];
  let current = script;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const url = new URL(request.url ?? '/', 'http://scripted');
      const question: Question = {
        method: request.method ?? '',
        path: url.pathname,
        query: url.searchParams,
        headers: request.headers,
        body: Buffer.concat(chunks).toString('utf8'),
        atMs: performance.now(),
      };
      questions.push(question);
      current(question, response, questions.length);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    questions,
    play: (next) => {
      current = next;
    },
    hangUp: () => server.closeAllConnections(),
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** A health answer with its index header. */
export function answerHealth(
  response: ServerResponse,
  index: string | number | null,
  entries: unknown,
  extra = {},
): void {
  response.writeHead(200, {
    'content-type': 'application/json',
    ...(index === null ? {} : { 'x-consul-index': String(index) }),
    'x-consul-knownleader': 'true',
    'x-consul-lastcontact': '0',
    ...extra,
  });
  response.end(typeof entries === 'string' ? entries : JSON.stringify(entries));
}

/** One instance as /v1/health/service answers it. */
export function healthEntry(
  id: string,
  port: number,
  changes: { status?: string; checkId?: string; service?: Record<string, unknown>; nodeAddress?: string } = {},
): Record<string, unknown> {
  return {
    Node: { Node: 'node-1', Address: changes.nodeAddress ?? '127.0.0.1' },
    Service: {
      ID: id,
      Service: 'payments',
      Address: '127.0.0.1',
      Port: port,
      Tags: ['v1'],
      Meta: { zone: 'a' },
      Weights: { Passing: 1, Warning: 1 },
      ...changes.service,
    },
    Checks: [
      { CheckID: 'serfHealth', Status: 'passing' },
      { CheckID: changes.checkId ?? `service:${id}`, Status: changes.status ?? 'passing' },
    ],
  };
}
