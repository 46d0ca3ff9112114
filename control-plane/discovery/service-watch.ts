// Watches one service in Consul for all agents that want it: one blocking query at a time, whatever their number. It reads what
// Consul says and judges nothing: how much of it to believe each agent decides against what it serves.

import { readFile } from 'node:fs/promises';
import { Pacer, stepIndex } from '#contract/consul/blocking.ts';
import { decodeHealth } from '#contract/consul/health.ts';
import { factsJson, RECOVERY_TOLD_MS } from '#contract/endpoint-frames.ts';
import type { Clock } from '../core/clock.ts';
import { Patience } from '../store/patience.ts';

/** Where Consul is and how to be let in. */
export interface ConsulAccess {
  readonly url: string;
  readonly token: string | null;
  /** Re-read before every call. Wins over `token`. */
  readonly tokenFile: string | null;
  readonly datacenter: string | null;
}

/** What is known of the service. */
export interface WatchState {
  /** As factsJson made it; null before the first answer. */
  readonly facts: string | null;
  /** Changes when `facts` do. */
  readonly edition: number;
  readonly index: string;
  /** Monotonic ms of the newest answer, changed or not. */
  readonly confirmedAt: number;
  /** When Consul came back or lost its state, monotonic ms, or null. */
  readonly recoveredAt: number | null;
  /** Why Consul does not say more, or null. */
  readonly failure: string | null;
}

export interface ServiceWatchOptions {
  readonly service: string;
  /** Null while there is no Consul to ask yet. */
  readonly access: () => ConsulAccess | null;
  readonly clock: Clock;
  readonly random: () => number;
  /** After every answer, and when Consul begins to fail. */
  readonly onNews: () => void;
}

const WAIT_MS = 60_000;
const SLACK_MS = 5_000;
const READ_TIMEOUT_MS = 10_000;
/** About 10 000 instances with their checks. */
const MAX_BODY_BYTES = 8 * 1024 * 1024;
const LONG_CONTACT_MS = 10_000;

type Answer =
  | { readonly kind: 'answer'; readonly headers: Headers; readonly facts: string; readonly index: string }
  | { readonly kind: 'failure'; readonly text: string; readonly wasGone: boolean };

export class ServiceWatch {
  readonly #options: ServiceWatchOptions;
  readonly #stop = new AbortController();
  readonly #patience: Patience;
  readonly #pacer: Pacer;
  #index: bigint | null = null;
  /** Index of the newest answer, kept over faults. */
  #seenIndex: bigint | null = null;
  #wasGone = false;
  #state: WatchState = {
    facts: null,
    edition: 0,
    index: '0',
    confirmedAt: Number.NEGATIVE_INFINITY,
    recoveredAt: null,
    failure: null,
  };

  constructor(options: ServiceWatchOptions) {
    const { clock, random } = options;
    this.#options = options;
    this.#pacer = new Pacer(clock.now());
    this.#patience = new Patience({ now: () => clock.now(), random, signal: this.#stop.signal });
  }

  get state(): WatchState {
    return this.#state;
  }

  /** Runs until stop(); resolves then and never rejects. */
  async run(): Promise<void> {
    const { clock, onNews } = this.#options;
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      const answer = await this.#ask();
      if (this.#stop.signal.aborted) return;
      const now = clock.now();
      if (answer.kind === 'failure') {
        failures++;
        this.#wasGone ||= answer.wasGone;
        // After any fault the index may belong to a state that is gone.
        this.#index = null;
        const isFirst = this.#state.failure === null;
        this.#state = { ...this.#state, failure: answer.text };
        if (isFirst) onNews();
        await this.#patience.afterFailure(failures);
        continue;
      }
      failures = 0;
      const hasChanged = this.#take(answer, now);
      onNews();
      await this.#patience.pause(this.#pacer.delayAfterAnswer(now, hasChanged));
    }
  }

  stop(): void {
    this.#stop.abort();
  }

  #take({ facts, index: header }: Extract<Answer, { kind: 'answer' }>, now: number): boolean {
    const { index, wentBackwards } = stepIndex(this.#seenIndex, header);
    this.#seenIndex = index;
    this.#index = wentBackwards ? null : index;
    const { facts: former, edition, recoveredAt } = this.#state;
    const hasChanged = facts !== former;
    const isBack = wentBackwards || this.#wasGone;
    this.#wasGone = false;
    const isOld = recoveredAt !== null && now - recoveredAt > RECOVERY_TOLD_MS;
    this.#state = {
      facts: hasChanged ? facts : former,
      edition: hasChanged ? edition + 1 : edition,
      index: String(index),
      confirmedAt: now,
      recoveredAt: isBack ? now : isOld ? null : recoveredAt,
      failure: null,
    };
    return hasChanged;
  }

  async #ask(): Promise<Answer> {
    const { service, access } = this.#options;
    const consul = access();
    if (consul === null) return failure('Consul is not known yet');
    const waits = this.#index === null ? 0 : WAIT_MS;
    const deadline = AbortSignal.timeout(waits === 0 ? READ_TIMEOUT_MS : (waits * 17) / 16 + SLACK_MS);
    try {
      const url = new URL(`${consul.url.replace(/\/$/, '')}/v1/health/service/${encodeURIComponent(service)}`);
      if (this.#index !== null) {
        url.searchParams.set('index', String(this.#index));
        url.searchParams.set('wait', `${WAIT_MS}ms`);
      }
      if (consul.datacenter !== null) url.searchParams.set('dc', consul.datacenter);
      const token = consul.tokenFile === null ? consul.token : (await readFile(consul.tokenFile, 'utf8')).trim();
      const response = await fetch(url, {
        headers: { accept: 'application/json', ...(token === null ? {} : { 'x-consul-token': token }) },
        redirect: 'manual',
        signal: AbortSignal.any([this.#stop.signal, deadline]),
      });
      return read(response, await textOf(response), service);
    } catch (error) {
      if (deadline.aborted) return failure('Consul did not answer in time');
      return failure(`Consul cannot be asked: ${explain(error)}`, true);
    }
  }
}

function read({ status, headers }: Response, text: string | null, service: string): Answer {
  if (text === null) return failure(`Consul's answer is larger than ${MAX_BODY_BYTES} bytes`);
  if (status !== 200) return failure(`Consul answered ${status}`);
  const index = headers.get('x-consul-index');
  if (index === null) return failure('an answer without X-Consul-Index, so not from Consul');
  let health: ReturnType<typeof decodeHealth> = null;
  try {
    health = decodeHealth(JSON.parse(text), service);
  } catch {
    // Not JSON is the same mistake as JSON that is no list.
  }
  if (health === null) return failure('an answer that is not a list of instances');
  const isFiltered = headers.get('x-consul-results-filtered-by-acls') === 'true';
  const isUncertain =
    headers.get('x-consul-knownleader') === 'false' ||
    Number(headers.get('x-consul-lastcontact') ?? 0) > LONG_CONTACT_MS;
  return { kind: 'answer', headers, index, facts: factsJson(service, { health, isFiltered, isUncertain }) };
}

/** Null when it is too large. */
async function textOf({ body }: Response): Promise<string | null> {
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for await (const chunk of body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) return null;
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function failure(text: string, wasGone = false): Answer {
  return { kind: 'failure', text, wasGone };
}

/** fetch says "fetch failed" and hides the reason in the cause. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  const inner = cause instanceof AggregateError ? cause.errors.map(explain).join(', ') : explainCause(cause);
  return inner === '' ? error.message : inner;
}

function explainCause(cause: unknown): string {
  return cause instanceof Error ? cause.message : '';
}
