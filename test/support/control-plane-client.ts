// A control plane on free ports, and the three things that tests do to it: ask, follow a stream, report.

import { type Logger, pino } from 'pino';
import type { AgentReport, PolicyPush } from '#contract/frames.ts';
import type { ControlPlaneConfig } from '../../control-plane/config.ts';
import { createControlPlane, type Started } from '../../control-plane/control-plane.ts';
import type { Clock } from '../../control-plane/core/clock.ts';

interface Teardown {
  teardown(run: () => unknown): unknown;
  testdir(): string;
}

/** Starts one with a store in the test's own folder, stopped at the end of the test. */
export async function startControlPlane(
  t: Teardown,
  {
    tokensFile = null,
    bootstrapToken = null,
    folder = t.testdir(),
    host = '127.0.0.1',
    log = pino({ level: 'silent' }),
    consulUrl = null,
    tls = null,
    requestsPerMinute = 6_000,
    requestTimeoutMs,
    slo = { webhooks: [] },
    clock,
    sloLookEveryMs,
  }: {
    tokensFile?: string | null;
    bootstrapToken?: string | null;
    folder?: string;
    host?: string;
    log?: Logger;
    /** Keeps policies, tokens and audit there in place of the folder. */
    consulUrl?: string | null;
    tls?: ControlPlaneConfig['tls'];
    requestsPerMinute?: number;
    requestTimeoutMs?: number;
    slo?: NonNullable<ControlPlaneConfig['slo']>;
    clock?: Clock;
    sloLookEveryMs?: number;
  } = {},
): Promise<Started & { stop: () => Promise<void> }> {
  const auth = {
    ...(tokensFile === null ? {} : { tokensFile }),
    ...(bootstrapToken === null ? {} : { bootstrapToken }),
  };
  const controlPlane = createControlPlane({
    config: {
      listen: { host, port: 0 },
      store: consulUrl === null ? { kind: 'sqlite', path: `${folder}/policies.db` } : consulStore(consulUrl),
      registry: null,
      auth: tokensFile === null && bootstrapToken === null ? null : auth,
      ...(tls === undefined ? {} : { tls }),
      requestsPerMinute,
      slo,
      log: { level: 'silent' },
    },
    log,
    ...(requestTimeoutMs === undefined ? {} : { requestTimeoutMs }),
    ...(clock === undefined ? {} : { clock }),
    ...(sloLookEveryMs === undefined ? {} : { sloLookEveryMs }),
  });
  t.teardown(() => controlPlane.stop());
  return { ...(await controlPlane.start()), stop: () => controlPlane.stop() };
}

function consulStore(url: string): ControlPlaneConfig['store'] {
  return { kind: 'consul', url, prefix: 'outrigger/', token: null, tokenFile: null, datacenter: null };
}

/** What an event of a stream was. */
export interface StreamEvent {
  readonly event: string;
  readonly id: string | null;
  readonly data: unknown;
}

/** Follows a server-sent-events stream until `stop`; `next` settles with the next event, in order. */
export async function follow(
  url: string,
  headers: Record<string, string> = {},
): Promise<{ next: () => Promise<StreamEvent>; stop: () => void; ended: Promise<void> }> {
  const abort = new AbortController();
  const response = await fetch(url, { headers, signal: abort.signal });
  if (response.status !== 200 || response.body === null) throw new Error(`stream answered ${response.status}`);
  const events: StreamEvent[] = [];
  const waiting: ((event: StreamEvent) => void)[] = [];
  const read = async (body: ReadableStream<Uint8Array>): Promise<void> => {
    let text = '';
    const decoder = new TextDecoder();
    for await (const chunk of body) {
      text += decoder.decode(chunk, { stream: true });
      const blocks = text.split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) {
        const event = parseBlock(block);
        if (event === null) continue;
        const take = waiting.shift();
        if (take === undefined) events.push(event);
        else take(event);
      }
    }
  };
  // Aborting ends the loop with an error that means nothing here.
  const ended = read(response.body).catch(() => undefined);
  const next = (): Promise<StreamEvent> => {
    const event = events.shift();
    return event === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(event);
  };
  return { next, stop: () => abort.abort(), ended };
}

function parseBlock(block: string): StreamEvent | null {
  const field = (name: string): string | null =>
    block
      .split('\n')
      .find((line) => line.startsWith(`${name}: `))
      ?.slice(name.length + 2) ?? null;
  const data = field('data');
  return data === null ? null : { event: field('event') ?? 'message', id: field('id'), data: JSON.parse(data) };
}

/** The next push of an agent's stream; other events are an error. */
export async function nextPush(stream: { next: () => Promise<StreamEvent> }): Promise<PolicyPush> {
  const { event, data } = await stream.next();
  if (event !== 'policies') throw new Error(`expected policies, got ${event}`);
  return data as PolicyPush;
}

/** A request with a JSON body; the answer's body is parsed when it is JSON. */
export async function ask(
  url: string,
  method: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<{ status: number; headers: Headers; body: Record<string, unknown> }> {
  const isText = typeof body === 'string';
  const response = await fetch(url, {
    method,
    headers: { ...(body === undefined || isText ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: isText ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json') === true;
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : { text } };
}

/** A report of an agent that stands beside `orders`. */
export function orderReport(sequence: number, changes: Partial<AgentReport> = {}): AgentReport {
  return {
    sequence,
    sentAtEpochMs: Date.now(),
    startedAtEpochMs: 1_700_000_000_000,
    service: 'orders',
    softwareVersion: '0.1.0',
    adminUrl: 'http://127.0.0.1:15000',
    isReady: true,
    isDraining: false,
    policy: { appliedVersion: 0, wantedVersion: 0, problems: [] },
    services: [],
    edges: [],
    events: [],
    eventsDropped: 0,
    ...changes,
  };
}
