// Policies in, verdicts out. At start the last good policies from the disk (or, before the control plane ever spoke, the
// local documents) are applied; then the control plane's stream is followed for ever. On ACK the push goes to the disk; on
// NACK what was in force stays in force and the verdict says why.

import { setTimeout as sleep } from 'node:timers/promises';
import { areApart } from '#contract/event-id.ts';
import type { AdvicePush, MeshEvent, PolicyPush, PolicyVerdict } from '#contract/frames.ts';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import type { Problem } from '#contract/problem.ts';
import type { Clock, Random } from '../clock.ts';
import { type BackOff, backOffMs } from '../core/back-off.ts';
import { decodeAdvice } from './advice-frame.ts';
import type { ControlPlaneClient } from './control-plane-client.ts';
import { decodeFrame } from './frame.ts';
import type { LastGoodPolicies } from './last-good-policies.ts';
import { MAX_EVENT_LENGTH, SseParser } from './sse-parser.ts';
import { Verdicts } from './verdicts.ts';

export interface PolicyStreamTiming {
  /** The control plane says something every 15 s; three times nothing means that it is gone. */
  readonly deadAfterMs: number;
  readonly reconnect: BackOff;
  readonly ackTimeoutMs: number;
}

/** Who is told of the stream itself and of its events `endpoints`. */
export interface EndpointListener {
  opened(): void;
  closed(why: string): void;
  take(data: string): void;
}

export interface PolicyStreamOptions {
  /** null: `controlPlane: false`, only the local documents exist. */
  readonly client: ControlPlaneClient | null;
  readonly agentId: string;
  /** Names this process among those with the same id. */
  readonly life: string;
  readonly service: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Documents of `policies:`, already found valid; null when there are none. */
  readonly local: readonly PolicyDocument[] | null;
  readonly lastGood: LastGoodPolicies;
  /** Synchronous: when it returns, the new policies are in force or the former ones still are. */
  apply(push: PolicyPush): PolicyVerdict;
  /** What other callers found out; absent: nobody listens. */
  advise?(advice: AdvicePush): void;
  /** Endpoints, when the control plane tells them on this stream too; absent: nobody listens. */
  readonly endpoints?: EndpointListener | null;
  onEvent(event: MeshEvent): void;
  readonly timing?: Partial<PolicyStreamTiming>;
  readonly maxEventLength?: number;
}

export interface PolicyStreamStatus {
  readonly isConnected: boolean;
  /** Newest version the control plane asked for; the applied one until it asked. */
  readonly wantedVersion: number;
  readonly appliedVersion: number;
  /** The store that counted the applied version, '' when it did not say. */
  readonly generation: string;
  /** Problems of the last NACK while it stands; empty otherwise. */
  readonly problems: readonly Problem[];
  /** Where the policies in force came from. */
  readonly source: 'control-plane' | 'disk' | 'local' | 'none';
  /** Why the stream is not open, or null. */
  readonly failure: string | null;
}

export function createPolicyStream(options: PolicyStreamOptions): PolicyStream {
  return new PolicyStream(options);
}

export class PolicyStream {
  readonly #options: PolicyStreamOptions;
  readonly #timing: PolicyStreamTiming;
  readonly #stop = new AbortController();
  readonly #verdicts: Verdicts | null;
  #running: Promise<void> = Promise.resolve();
  #status: PolicyStreamStatus = {
    isConnected: false,
    wantedVersion: 0,
    appliedVersion: 0,
    generation: '',
    problems: [],
    source: 'none',
    failure: null,
  };
  /** Last verdict given on this stream, to be repeated when its push is repeated. */
  #last: PolicyVerdict | null = null;
  /** Nonces seen, oldest first; a push that comes again late is not applied again. */
  readonly #nonces = new Set<string>();
  /** Whether it was told that the token is not good any more; until the stream opens again. */
  #isRefused = false;
  /** SSE id of the last push that was accepted; what was refused is wanted again after a reconnect. */
  #lastEventId: string | null = null;

  constructor(options: PolicyStreamOptions) {
    this.#options = options;
    this.#timing = {
      deadAfterMs: 45_000,
      reconnect: { baseMs: 100, capMs: 5_000 },
      ackTimeoutMs: 5_000,
      ...options.timing,
    };
    const { client, random, agentId } = options;
    const path = `/v1/agents/${encodeURIComponent(agentId)}/acks`;
    this.#verdicts =
      client === null
        ? null
        : new Verdicts({
            post: (verdict, signal) => client.post(path, verdict, signal, this.#timing.ackTimeoutMs),
            random,
            backOff: this.#timing.reconnect,
          });
  }

  status(): PolicyStreamStatus {
    return this.#status;
  }

  /** Applies what is known before it returns, then follows the stream in the background. */
  start(): void {
    this.#applyFirst();
    const { client } = this.#options;
    if (client !== null) this.#running = this.#follow(client);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#running, this.#verdicts?.stop(), this.#options.lastGood.flush()]);
  }

  #applyFirst(): void {
    const { client, local, lastGood, clock } = this.#options;
    // Without a control plane the local documents are the source, and what another life had on disk is not.
    for (const { push, savedAtEpochMs } of client === null ? [] : lastGood.load()) {
      const verdict = this.#apply(push);
      if (verdict.verdict === 'ACK') {
        const { generation = '' } = push;
        this.#status = { ...this.#status, ...versionsOf(verdict), generation, problems: [], source: 'disk' };
        const age = Math.max(0, Math.round((clock.epochMs() - savedAtEpochMs) / 1000));
        this.#emit(
          'from_disk',
          `Policies of version ${push.version}, saved ${age} s ago, are in force until the control plane speaks.`,
        );
        return;
      }
      this.#emit(
        'last_good_refused',
        `Saved policies of version ${push.version} were refused: ${inWords(verdict.problems)}.`,
      );
    }
    if (local === null) return;
    const verdict = this.#apply({ version: 0, nonce: 'local', documents: local });
    if (verdict.verdict === 'ACK') this.#status = { ...this.#status, source: 'local' };
    else this.#emit('local_refused', `The local policies were refused: ${inWords(verdict.problems)}.`);
  }

  async #follow(client: ControlPlaneClient): Promise<void> {
    const { signal } = this.#stop;
    const { agentId, life, service, clock, random, maxEventLength = MAX_EVENT_LENGTH } = this.#options;
    let failures = 0;
    while (!signal.aborted) {
      const parser = new SseParser(maxEventLength);
      const openedAt = clock.now();
      const fault = await client.stream({
        path: `/v1/agents/${encodeURIComponent(agentId)}/stream`,
        query: { service, life },
        lastEventId: this.#lastEventId,
        idleMs: this.#timing.deadAfterMs,
        signal,
        onOpen: () => this.#connected(),
        onChunk: (chunk) => {
          // Only a stream that lasts works: one that is closed after its first bytes, again and again, must be backed off from.
          if (clock.now() - openedAt >= this.#timing.reconnect.capMs) failures = 0;
          for (const { event, data, id } of parser.push(chunk)) {
            if (event === 'policies') this.#take(data, id);
            else if (event === 'advice') this.#takeAdvice(data);
            else if (event === 'endpoints') this.#options.endpoints?.take(data);
          }
          return parser.isOverflowing ? `an event is larger than ${maxEventLength} characters` : null;
        },
      });
      if (signal.aborted) break;
      failures++;
      this.#disconnected(fault);
      // The only rejection is our own signal, which ends the loop.
      await sleep(backOffMs(failures, random, this.#timing.reconnect), undefined, { signal }).catch(() => undefined);
    }
    this.#status = { ...this.#status, isConnected: false };
  }

  #connected(): void {
    if (this.#status.failure !== null) this.#emit('connected', 'The control plane speaks again.');
    this.#isRefused = false;
    this.#status = { ...this.#status, isConnected: true, failure: null };
    this.#options.endpoints?.opened();
  }

  #disconnected(failure: string): void {
    const former = this.#status.failure;
    const inForce = `policies of version ${this.#status.appliedVersion} stay in force`;
    // Told apart from an outage, also in the middle of one: this does not heal by itself.
    if (isRefusal(failure) && !this.#isRefused) {
      this.#isRefused = true;
      this.#emit('credential_refused', `The control plane refuses this agent's token: ${failure}; ${inForce}.`);
    } else if (former === null) {
      this.#emit('disconnected', `The control plane is gone: ${failure}; ${inForce}.`);
    }
    this.#status = { ...this.#status, isConnected: false, failure };
    this.#options.endpoints?.closed(failure);
  }

  #take(data: string, id: string): void {
    const frame = decodeFrame(data);
    if (frame.kind === 'unreadable') {
      this.#emit('unreadable_push', `A push of the control plane could not be read: ${frame.text}.`);
      return;
    }
    const { version, nonce } = frame.kind === 'push' ? frame.push : frame;
    if (this.#nonces.has(nonce)) {
      // The latest push repeated means that its verdict was lost; an older one was settled long ago.
      if (this.#last?.nonce === nonce) this.#verdicts?.deliver(this.#last);
      return;
    }
    this.#remember(nonce);
    const { wantedVersion: formerVersion, generation: former, source } = this.#status;
    const generation = frame.kind === 'push' ? (frame.push.generation ?? '') : '';
    if (areApart(former, generation)) {
      const text = `The control plane has another store than before (${generation}, not ${former}): its version ${version} takes the place of version ${formerVersion}.`;
      this.#emit('store_replaced', text);
    } else if (version < formerVersion && source !== 'local') {
      const text = `The control plane went back from version ${formerVersion} to ${version}: restored from a backup, or another one.`;
      this.#emit('version_went_back', text);
    }
    if (frame.kind === 'push') this.#settle(frame.push, this.#apply(frame.push), id);
    else this.#refuse(this.#refusal(version, nonce, frame.problems));
  }

  #takeAdvice(data: string): void {
    const advice = decodeAdvice(data);
    if (advice === null)
      this.#emit('unreadable_advice', 'Advice of the control plane could not be read and is left aside.');
    else this.#options.advise?.(advice);
  }

  #settle(push: PolicyPush, verdict: PolicyVerdict, id: string): void {
    if (verdict.verdict === 'NACK') {
      this.#refuse(verdict);
      return;
    }
    this.#last = verdict;
    if (id !== '') this.#lastEventId = id;
    const { generation = '' } = push;
    this.#status = { ...this.#status, ...versionsOf(verdict), generation, problems: [], source: 'control-plane' };
    this.#options.lastGood.save(push);
    this.#verdicts?.deliver(verdict);
  }

  #refuse(verdict: PolicyVerdict): void {
    this.#last = verdict;
    this.#status = { ...this.#status, wantedVersion: verdict.version, problems: verdict.problems };
    this.#verdicts?.deliver(verdict);
  }

  /** A NACK of what never came before the mesh, which says the others itself. */
  #refusal(version: number, nonce: string, problems: readonly Problem[]): PolicyVerdict {
    const { appliedVersion } = this.#status;
    this.#emit(
      'policy_nack',
      `Policies of version ${version} were refused, version ${appliedVersion} stays in force: ${inWords(problems)}.`,
    );
    return { version, nonce, verdict: 'NACK', appliedVersion, problems };
  }

  /** A set that makes the agent throw is refused like one that is invalid: the former one must go on serving. */
  #apply(push: PolicyPush): PolicyVerdict {
    try {
      return this.#options.apply(push);
    } catch (error) {
      const message = `could not be applied: ${error instanceof Error ? error.message : String(error)}`;
      return this.#refusal(push.version, push.nonce, [{ code: 'OTR_INCONSISTENT', path: '', message }]);
    }
  }

  #remember(nonce: string): void {
    this.#nonces.add(nonce);
    const oldest = this.#nonces.values().next();
    if (this.#nonces.size > 256 && oldest.done !== true) this.#nonces.delete(oldest.value);
  }

  #emit(reason: string, text: string): void {
    const { clock, onEvent } = this.#options;
    onEvent({ atEpochMs: clock.epochMs(), kind: 'policy', service: null, endpoint: null, reason, text });
  }
}

function versionsOf({ version, appliedVersion }: PolicyVerdict): { wantedVersion: number; appliedVersion: number } {
  return { wantedVersion: version, appliedVersion };
}

/** What control-plane-client.ts says of an answer for want of rights. */
function isRefusal(failure: string): boolean {
  return /^the control plane answered 40[13]\b/.test(failure);
}

function inWords(problems: readonly Problem[]): string {
  const [first] = problems;
  if (first === undefined) return 'no reason was given';
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  return `${first.path}: ${first.message}${more}`;
}
