// Sends a copy of a request elsewhere and drops the answer. The request itself never waits for it, fails with it or is repeated
// because of it: nothing here calls back.

import type { Mirror } from '#contract/policy/route-rule.ts';
import type { OutcomeKind } from '../core/outcome.ts';
import { NO_HASH, pickEndpoint } from '../core/pick.ts';
import { withoutPort } from '../core/routes/rewrite.ts';
import type { EndpointView, ServiceView } from '../core/snapshot.ts';
import { Attempt } from './attempt.ts';
import { type Destination, refusalOf, subsetOf } from './destination.ts';
import { composeRequestHead } from './headers.ts';
import { BODY_NONE } from './http1/framing.ts';
import type { RequestHead } from './http1/request-head.ts';
import type { ResponseHead } from './http1/response-head.ts';
import type { EffectsSource } from './rule-effects.ts';
import { BUFFER_BYTES, type ProxyScope } from './scope.ts';
import { Timeouts } from './timeouts.ts';
import type { UpstreamConnection, UpstreamSink } from './upstream-connection.ts';

/** What became of a copy; the `reason` of `outrigger_mirrored_requests_total`. */
export type MirrorResult =
  | 'answered'
  | 'failed'
  | 'overflow'
  | 'no_endpoint'
  | 'denied'
  | 'body_too_large'
  /** The request was answered before it was whole, or never went on. */
  | 'unfinished';

/**
 * Copies a request whose body is whole, by chance as the rule has it. O(body).
 *
 * An upgrade is not copied: there would be nobody to speak the other protocol.
 *
 * @param rest  the last of the body, not kept yet; null when all is
 */
export function mirrorRequest(
  source: EffectsSource,
  mirror: Mirror,
  destination: Destination,
  rest: Buffer | null,
): void {
  const { scope, head } = source;
  if (head.upgrade !== null || scope.random() * 100 >= mirror.percent) return;
  const refusal = send(source, mirror, destination, rest);
  if (refusal !== null) scope.metrics.mirrored(mirror.service, refusal);
}

/** Counts a copy that was not made. */
export function noteUnfinished({ metrics, random }: ProxyScope, mirror: Mirror): void {
  const reason: MirrorResult = 'unfinished';
  if (random() * 100 < mirror.percent) metrics.mirrored(mirror.service, reason);
}

/** @returns null when a copy is under way */
function send(
  source: EffectsSource,
  mirror: Mirror,
  { target, askedHost, requestChanges }: Destination,
  rest: Buffer | null,
): MirrorResult | null {
  const { scope, head, body } = source;
  const whole = scope.mesh.snapshot.services.get(mirror.service);
  if (whole === undefined) return 'no_endpoint';
  if (refusalOf(whole, head.method, target.split('?')[0] ?? '') !== null) return 'denied';
  const bytes = body.copy(rest);
  if (bytes === null) return body.receivedBytes + (rest?.length ?? 0) > BUFFER_BYTES ? 'body_too_large' : 'unfinished';
  if (scope.side.mirrors >= scope.side.maxMirrors) return 'overflow';
  const view = subsetOf(whole, mirror.subset);
  const now = scope.clock.now();
  const endpoint = pickEndpoint(view, now, scope.random, [], NO_HASH);
  if (endpoint === null) return 'no_endpoint';
  const timeouts = new Timeouts(scope.clock, scope.deadlines, Number.POSITIVE_INFINITY);
  timeouts.arm(view.policy, now);
  const text = composeRequestHead(withoutExpect(head), {
    target,
    host: shadowOf(askedHost),
    requestId: source.requestId,
    forwarded: source.down.forwardedFor(askedHost),
    changes: requestChanges,
    framing: head.framing === BODY_NONE ? BODY_NONE : bytes.length,
    deadlineMs: timeouts.deadlineAt - now,
    trafficClass: 'sheddable',
  });
  new MirrorCall(scope, view, endpoint, timeouts).start({ text, bytes, isHead: head.method === 'HEAD' }, now);
  return null;
}

/** The body is here and goes along. */
function withoutExpect(head: RequestHead): RequestHead {
  return head.expectsContinue ? { ...head, expectsContinue: false } : head;
}

/** `api:8080` → `api-shadow:8080`, which is how Envoy tells a copy from the original. */
function shadowOf(host: string): string {
  const name = withoutPort(host);
  return `${name}-shadow${host.slice(name.length)}`;
}

interface Copy {
  readonly text: string;
  readonly bytes: Buffer;
  readonly isHead: boolean;
}

class MirrorCall extends Attempt implements UpstreamSink {
  readonly #scope: ProxyScope;
  readonly #view: ServiceView;
  readonly #timeouts: Timeouts;
  #connection: UpstreamConnection | null = null;
  #copy: Copy | null = null;

  constructor(scope: ProxyScope, view: ServiceView, endpoint: EndpointView, timeouts: Timeouts) {
    super(endpoint, scope.clock.now(), scope.stalls);
    this.#scope = scope;
    this.#view = view;
    this.#timeouts = timeouts;
    scope.side.mirrors += 1;
  }

  start(copy: Copy, now: number): void {
    this.#copy = copy;
    const { service, policy } = this.#view;
    const connection = this.#scope.pools.acquire(service, this.endpoint, policy, this, false, false);
    this.#connection = connection;
    if (connection === null) this.#end('overflow', 'overflow');
    else if (connection.isConnecting) connection.deadlineAt = this.#timeouts.connectAt(now, policy);
    else this.onConnected();
  }

  onConnected(): void {
    const connection = this.#connection;
    const copy = this.#copy;
    if (connection === null || copy === null) return;
    this.#copy = null;
    this.isReused = connection.carried > 0;
    this.noteSent(this.#scope.clock.now());
    connection.expectResponse(copy.isHead, null);
    connection.isRequestWhole = true;
    connection.deadlineAt = this.#timeouts.sentAt(this.#view.policy, true);
    connection.socket.cork();
    connection.socket.write(copy.text, 'latin1');
    if (copy.bytes.length > 0) connection.socket.write(copy.bytes);
    connection.socket.uncork();
  }

  onResponseHead(head: ResponseHead): void {
    this.noteHead(head, this.#scope.clock);
    if (this.#connection !== null) this.#connection.deadlineAt = this.#timeouts.idleAt(this.#view.policy);
  }

  onResponseBody(): void {
    if (this.#connection !== null) this.#connection.deadlineAt = this.#timeouts.idleAt(this.#view.policy);
  }

  onResponseEnd(): void {
    this.#connection = null;
    this.#end('response', 'answered');
  }

  onUpstreamLost(kind: OutcomeKind): void {
    this.#connection = null;
    this.#end(kind, 'failed');
  }

  onUpstreamDeadline(): void {
    this.#connection?.destroy();
    this.onUpstreamLost('timeout');
  }

  /** Never asked for. */
  onSwitched(): void {
    this.#connection?.destroy();
    this.onUpstreamLost('protocol_error');
  }

  onInformational(): void {}

  onReadEnd(): void {}

  onUpstreamDrain(): void {}

  #end(kind: OutcomeKind, result: MirrorResult): void {
    if (this.isEnded) return;
    const { service, policy } = this.#view;
    const now = this.#scope.clock.now();
    if (this.end(this.outcome(kind, now), policy, now)) this.#scope.mesh.requestSweep(service);
    this.#scope.side.mirrors -= 1;
    this.#scope.metrics.mirrored(service, result);
  }
}
