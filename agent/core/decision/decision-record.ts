// Why a request went where it went: written while the request lives, read when somebody asks. Holds references and numbers only;
// words are made by explain.ts.

import type { RouteRule } from '#contract/policy/route-rule.ts';
import type { OutcomeKind } from '../outcome.ts';
import type { RequestResult } from '../reason.ts';
import type { NoRetryReason, RetryReason } from '../retry/decide.ts';
import type { RouteTable } from '../route.ts';
import type { EndpointView } from '../snapshot.ts';
import { PickTrace } from './pick-trace.ts';
import * as place from './storage.ts';

/** What was decided after an attempt: a reason to repeat, a reason not to, or none because the answer was taken. */
export type AfterAttempt =
  | RetryReason
  | NoRetryReason
  | 'accepted'
  | 'hedge_lost'
  | 'budget_exhausted'
  | 'told_not_to'
  | 'length_required'
  | 'no_other_endpoint'
  | 'waits_for_other';

/** One attempt and the pick that led to it. */
export class AttemptRecord extends PickTrace {
  open(isHedge: boolean, waitedMs: number): void {
    const { numbers, at, refs, refAt } = this.place;
    refs[refAt + place.ENDPOINT] = null;
    refs[refAt + place.KIND] = null;
    refs[refAt + place.AFTER] = null;
    numbers[at + place.IS_HEDGE] = isHedge ? 1 : 0;
    numbers[at + place.WAITED] = waitedMs;
    numbers[at + place.ATTEMPT_STATUS] = 0;
    numbers[at + place.LATENCY] = 0;
    numbers[at + place.BUDGET] = Number.NaN;
  }

  close(kind: OutcomeKind, status: number, latencyMs: number): void {
    this.place.secure();
    const { numbers, at, refs, refAt } = this.place;
    refs[refAt + place.KIND] = kind;
    numbers[at + place.ATTEMPT_STATUS] = status;
    numbers[at + place.LATENCY] = latencyMs;
  }

  set endpoint(endpoint: EndpointView | null) {
    this.setRef(place.ENDPOINT, endpoint);
  }

  get endpoint(): EndpointView | null {
    return this.ref(place.ENDPOINT) as EndpointView | null;
  }

  set after(after: AfterAttempt | null) {
    this.setRef(place.AFTER, after);
  }

  get after(): AfterAttempt | null {
    return this.ref(place.AFTER) as AfterAttempt | null;
  }

  /** Retries that the budget held when one was asked for; NaN: none was. */
  set budget(retries: number) {
    const { numbers, at } = this.place;
    numbers[at + place.BUDGET] = retries;
  }

  get budget(): number {
    return this.number(place.BUDGET);
  }

  get kind(): OutcomeKind | null {
    return this.ref(place.KIND) as OutcomeKind | null;
  }

  get status(): number {
    return this.number(place.ATTEMPT_STATUS);
  }

  /** ms to the head or the failure. */
  get latencyMs(): number {
    return this.number(place.LATENCY);
  }

  /** ms of back-off before it. */
  get waitedMs(): number {
    return this.number(place.WAITED);
  }

  /** Began beside another attempt that was still under way. */
  get isHedge(): boolean {
    return this.number(place.IS_HEDGE) === 1;
  }
}

export type DeadlineSource = 'policy' | 'caller' | 'none';

/** Records that had to leave their place while their requests were under way, by sequence. */
export type Evicted = Map<number, place.Place>;

/** What is known at the end of a request. */
export interface DecisionEnd {
  readonly direction: 'outbound' | 'inbound';
  readonly method: string;
  readonly target: string;
  /** Name that the request brought along; `''` when it goes by the record's. */
  readonly requestId: string;
  readonly service: string;
  readonly rule: RouteRule | null;
  /** The rules that were looked through; null where the service has none. */
  readonly routes: RouteTable | null;
  /** Fields of the head where a rule looks at any, else null: 4096 heads kept alive cost the collector more than all else here. */
  readonly fields: readonly string[] | null;
  /** Host as rules compare it; not one of `fields`. */
  readonly host: string;
  readonly result: RequestResult;
  readonly status: number;
  /** The agent's own words, when it answered itself. */
  readonly message: string;
  readonly durationMs: number;
  readonly queuedMs: number;
}

/** A record and its place: attempts write through it, so that moving it moves them. */
export class DecisionRecord extends place.Place {
  readonly #evicted: Evicted | null;
  readonly sequence: number;
  /** Null: it was never begun by this object, which only reads. */
  #first: AttemptRecord | null = null;
  /** Attempts after the first. */
  #further: AttemptRecord[] | null = null;

  /** @param evicted  where its contents are found when its place has become another's; null for a place of its own */
  constructor(room: place.Room, slot: number, evicted: Evicted | null, sequence: number) {
    super(room, slot);
    this.#evicted = evicted;
    this.sequence = sequence;
  }

  /** @param startedAt  monotonic ms */
  begin(startedAt: number): void {
    const { numbers, at, refs, refAt } = this;
    numbers[at + place.SEQUENCE] = this.sequence;
    numbers[at + place.STARTED] = startedAt;
    numbers[at + place.FLAGS] = place.IS_OPEN;
    numbers[at + place.ATTEMPTS] = 0;
    refs[refAt + place.RESULT] = null;
  }

  override secure(): void {
    if (this.#evicted === null || this.numbers[this.at] === this.sequence) return;
    const moved = this.#evicted.get(this.sequence);
    if (moved === undefined) return;
    this.#evicted.delete(this.sequence);
    this.moveTo(moved);
  }

  /** Takes everything to a place of its own. */
  detach(): void {
    this.secure();
    this.moveTo(this.copy());
  }

  /** Says how it ended, all at once: until then only attempts and limits are written. */
  end(facts: DecisionEnd): void {
    this.secure();
    const { numbers, at, refs, refAt, texts, textAt } = this;
    const isCut = facts.target.length > place.TARGET_BYTES;
    const flags = ((numbers[at + place.FLAGS] ?? 0) & ~place.IS_OPEN) | (isCut ? place.IS_CUT : 0);
    numbers[at + place.FLAGS] = facts.direction === 'inbound' ? flags | place.IS_INBOUND : flags;
    numbers[at + place.STATUS] = facts.status;
    numbers[at + place.DURATION] = facts.durationMs;
    numbers[at + place.QUEUED] = facts.queuedMs;
    numbers[at + place.TARGET_LENGTH] = place.writeText(texts, textAt, place.TARGET_BYTES, facts.target);
    const idAt = textAt + place.TARGET_BYTES;
    numbers[at + place.ID_LENGTH] = place.writeText(texts, idAt, place.ID_BYTES, facts.requestId);
    refs[refAt + place.METHOD] = facts.method === 'GET' ? 'GET' : facts.method;
    refs[refAt + place.SERVICE] = facts.service;
    refs[refAt + place.ROUTES] = facts.routes;
    refs[refAt + place.RULE] = facts.rule;
    refs[refAt + place.FIELDS] = facts.fields;
    refs[refAt + place.HOST] = facts.fields === null ? null : facts.host;
    refs[refAt + place.WHOLE_TARGET] = facts.routes !== null && isCut ? facts.target : null;
    refs[refAt + place.RESULT] = facts.result;
    refs[refAt + place.MESSAGE] = facts.message;
  }

  /** The next attempt. */
  beginAttempt(isHedge: boolean, waitedMs: number): AttemptRecord {
    this.secure();
    const count = this.attemptCount;
    this.numbers[this.at + place.ATTEMPTS] = count + 1;
    const attempt = new AttemptRecord(count === 0 ? this : new place.Place(place.roomFor(1), 0));
    if (count === 0) this.#first = attempt;
    else {
      this.#further ??= [];
      this.#further[count - 1] = attempt;
    }
    attempt.open(isHedge, waitedMs);
    return attempt;
  }

  /** It came to nothing: there was no endpoint. */
  dropAttempt(): void {
    this.numbers[this.at + place.ATTEMPTS] = this.attemptCount - 1;
  }

  get attemptCount(): number {
    return this.#number(place.ATTEMPTS);
  }

  /** Oldest first. */
  get attempts(): readonly AttemptRecord[] {
    const count = this.attemptCount;
    if (count === 0) return [];
    return [this.#first ?? new AttemptRecord(this), ...(this.#further ?? []).slice(0, count - 1)];
  }

  /**
   * How the limits stood: requests in flight, those allowed, the chance of being turned away by admission control; which policy and
   * snapshot count; and how many ms were left, by whose word.
   */
  admit(
    inFlight: number,
    limit: number,
    isAdaptive: boolean,
    rejectProbability: number,
    policyVersion: number,
    generation: number,
    deadlineMs: number,
    from: DeadlineSource,
  ): void {
    const { numbers, at } = this;
    numbers[at + place.FLAGS] = place.IS_OPEN | place.HAS_LIMITS | (isAdaptive ? place.IS_ADAPTIVE : 0);
    numbers[at + place.IN_FLIGHT] = inFlight;
    numbers[at + place.LIMIT] = limit;
    numbers[at + place.REJECTING] = rejectProbability;
    numbers[at + place.POLICY_VERSION] = policyVersion;
    numbers[at + place.GENERATION] = generation;
    numbers[at + place.DEADLINE] = deadlineMs;
    this.refs[this.refAt + place.DEADLINE_FROM] = from;
  }

  /** The agent's own words, when it answered itself. */
  get message(): string {
    return this.#text(place.MESSAGE);
  }

  /** The one it came with, cut to its first 32 bytes; empty while the request is under way, like all that is written at its end. */
  get requestId(): string {
    const { texts, textAt } = this;
    return this.#result === null
      ? ''
      : place.readText(texts, textAt + place.TARGET_BYTES, this.#number(place.ID_LENGTH));
  }

  get direction(): 'outbound' | 'inbound' {
    return this.#has(place.IS_INBOUND) ? 'inbound' : 'outbound';
  }

  get method(): string {
    return this.#text(place.METHOD);
  }

  /** Whole where rules were looked through; else cut to its first 64 bytes, see `isTargetCut`. */
  get target(): string {
    if (this.#result === null) return '';
    const whole = this.#ref(place.WHOLE_TARGET) as string | null;
    return whole ?? place.readText(this.texts, this.textAt, this.#number(place.TARGET_LENGTH));
  }

  get isTargetCut(): boolean {
    return this.#has(place.IS_CUT) && this.#ref(place.WHOLE_TARGET) === null;
  }

  get service(): string {
    return this.#text(place.SERVICE);
  }

  get policyVersion(): number {
    return this.#number(place.POLICY_VERSION);
  }

  get generation(): number {
    return this.#number(place.GENERATION);
  }

  get rule(): RouteRule | null {
    return this.#result === null ? null : (this.#ref(place.RULE) as RouteRule | null);
  }

  get routes(): RouteTable | null {
    return this.#result === null ? null : (this.#ref(place.ROUTES) as RouteTable | null);
  }

  /** Fields of the head, kept only where a rule looks at any. */
  get fields(): readonly string[] | null {
    return this.#result === null ? null : (this.#ref(place.FIELDS) as readonly string[] | null);
  }

  /** As rules compare it; null where `fields` is. */
  get host(): string | null {
    return this.#result === null ? null : (this.#ref(place.HOST) as string | null);
  }

  /** Null while the request is under way. */
  get result(): RequestResult | null {
    return this.#result;
  }

  get status(): number {
    return this.#number(place.STATUS);
  }

  /** Monotonic ms. */
  get startedAt(): number {
    return this.#number(place.STARTED);
  }

  get durationMs(): number {
    return this.#has(place.IS_OPEN) ? 0 : this.#number(place.DURATION);
  }

  /** ms in the queue for room. */
  get queuedMs(): number {
    return this.#has(place.IS_OPEN) ? 0 : this.#number(place.QUEUED);
  }

  get deadlineMs(): number {
    return this.hasLimits ? this.#number(place.DEADLINE) : Number.POSITIVE_INFINITY;
  }

  get deadlineFrom(): DeadlineSource {
    return this.hasLimits ? (this.#ref(place.DEADLINE_FROM) as DeadlineSource) : 'none';
  }

  get hasLimits(): boolean {
    return this.#has(place.HAS_LIMITS);
  }

  get isAdaptive(): boolean {
    return this.#has(place.IS_ADAPTIVE);
  }

  get inFlight(): number {
    return this.#number(place.IN_FLIGHT);
  }

  get limit(): number {
    return this.#number(place.LIMIT);
  }

  get rejectProbability(): number {
    return this.#number(place.REJECTING);
  }

  #number(index: number): number {
    return this.numbers[this.at + index] ?? 0;
  }

  #ref(index: number): unknown {
    return this.refs[this.refAt + index];
  }

  #text(index: number): string {
    return this.#result === null ? '' : (this.#ref(index) as string);
  }

  get #result(): RequestResult | null {
    return this.#ref(place.RESULT) as RequestResult | null;
  }

  #has(flag: number): boolean {
    return (this.#number(place.FLAGS) & flag) !== 0;
  }
}
