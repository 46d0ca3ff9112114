// The one writer. Endpoints from discovery, policies from sync and the outcomes of attempts meet here; one product leaves, the
// frozen snapshot. Every change is build → freeze → assign, synchronous, with no await in between.

import type { AdvicePush, MeshEvent, PolicyPush, PolicyVerdict } from '#contract/frames.ts';
import { planService } from '#contract/policy/plan.ts';
import type { PolicyDocument, ServicePlan } from '#contract/policy/policy.ts';
import type { Clock, Random } from '../clock.ts';
import type { EndpointSet } from '../core/endpoint.ts';
import { countByZone, type ViewContext } from '../core/groups.ts';
import { takeAdvice } from '../core/outlier/advice.ts';
import { applyDecision } from '../core/outlier/apply.ts';
import { type CheckResult, forgetChecks, recordCheck } from '../core/outlier/checks.ts';
import { decideOrder, type OperatorOrder, type OperatorRuling } from '../core/outlier/operator.ts';
import { createServiceWindows, type ServiceWindows } from '../core/outlier/windows.ts';
import { chooseEndpoints } from '../core/routes/subset-views.ts';
import type { EndpointView, MeshSnapshot, ServiceStats, ServiceView } from '../core/snapshot.ts';
import { configureStats, createServiceStats, createServiceView } from '../core/view.ts';
import { keepIfSame, parsePush } from './documents.ts';
import { createInboundView, type InboundTarget } from './inbound.ts';
import { diffMembership, Leavers, type Order } from './membership.ts';
import { Publisher } from './publisher.ts';
import { membershipEvent, panicEvent, policyEvent } from './say.ts';
import { eventOf, isDividedByLoad, nextSweepAt, sweepService } from './sweeper.ts';

export interface MeshOptions {
  /** Service that this agent stands beside; policies and intentions are read from its side. */
  readonly caller: string;
  /** Which of the service's agents this is, for subsets, and where it runs. By default nameless and in no zone. */
  readonly self?: { readonly id: string; readonly zone: string | null };
  readonly clock: Clock;
  readonly random: Random;
  readonly onEvent: (event: MeshEvent) => void;
  /** True while the agent has reason to doubt its own measurement: nobody new is ejected. Never by default. */
  readonly isFrozen?: () => boolean;
  /** What a listener threw. Without it the error is thrown outside of whatever changed the mesh, and so not lost. */
  readonly onFault?: (error: unknown) => void;
}

/** As long as advisories last that are not renewed. */
const SUSPENDED_MS = 30_000;

/** What is known of one service between two builds of its view. */
interface ServiceRecord {
  plan: ServicePlan;
  /** All that discovery told; the view has a subset of them when the policy says so. */
  readonly members: readonly EndpointView[];
  /** In which order it told them. */
  readonly order: Order;
  view: ServiceView;
  readonly windows: ServiceWindows;
  /** Monotonic ms; sweep() leaves the service alone before. */
  sweepAt: number;
}

export class Mesh {
  readonly #caller: string;
  readonly #self: { readonly id: string; readonly zone: string | null };
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #publisher: Publisher;
  readonly #isFrozen: () => boolean;
  readonly #records = new Map<string, ServiceRecord>();
  /** By service; what was counted outlives removal while a request is in flight, so that its end finds its beginning. */
  readonly #serviceStats = new Map<string, ServiceStats>();
  readonly #inbound = new Map<string, { readonly target: InboundTarget; view: ServiceView }>();
  readonly #leavers = new Leavers();
  #documents: readonly PolicyDocument[] = [];
  /** Services that somebody was advised about. */
  #advised: ReadonlySet<string> = new Set();
  #suspendedUntil = Number.NEGATIVE_INFINITY;
  #snapshot: MeshSnapshot = Object.freeze({ generation: 0, policyVersion: 0, services: new Map() });

  constructor({
    caller,
    self = { id: caller, zone: null },
    clock,
    random,
    onEvent,
    isFrozen = () => false,
    onFault = throwLater,
  }: MeshOptions) {
    this.#self = self;
    this.#isFrozen = isFrozen;
    this.#caller = caller;
    this.#clock = clock;
    this.#random = random;
    this.#publisher = new Publisher(onEvent, onFault);
  }

  /** What the request path reads. The object and all it holds never change, but for the statistics. */
  get snapshot(): MeshSnapshot {
    return this.#snapshot;
  }

  /** The policies in force. */
  get documents(): readonly PolicyDocument[] {
    return this.#documents;
  }

  /** Takes over a discovered set. An empty one is taken over too: whether to believe it is discovery's decision. */
  applyEndpoints(set: EndpointSet): void {
    const service = set.service.toLowerCase();
    const former = this.#records.get(service);
    const now = this.#clock.now();
    const membership = diffMembership(former?.members ?? [], set, this.#leavers, now, former?.order ?? null);
    if (former !== undefined && !membership.isChanged) return;
    const plan = former?.plan ?? this.#plan(service, null);
    const members = membership.views;
    const view = this.#build(plan, members, former?.view ?? null);
    const windows = former?.windows ?? createServiceWindows();
    const { order } = membership;
    this.#records.set(service, { plan, members, order, view, windows, sweepAt: nextSweepAt(view, windows, now) });
    const epochMs = this.#clock.epochMs();
    const events = [membershipEvent(service, membership, epochMs), panicEvent(former?.view ?? null, view, epochMs)];
    if (service === this.#caller) this.#respread();
    this.#publish(events);
  }

  /** Forgets a service. The statistics of its endpoints are kept for a while, as of any leaver. */
  removeService(name: string): void {
    const service = name.toLowerCase();
    const record = this.#records.get(service);
    if (record === undefined) return;
    const now = this.#clock.now();
    for (const { stats } of record.members) this.#leavers.keep(stats, now);
    this.#records.delete(service);
    if (record.view.stats.inFlight === 0) this.#serviceStats.delete(service);
    this.#publish([]);
  }

  /**
   * All or nothing: with a single problem in any document the snapshot stays the very same object.
   *
   * Services about which the documents say what they said before keep their view.
   */
  applyPolicy(push: PolicyPush): PolicyVerdict {
    const { version, nonce } = push;
    const epochMs = this.#clock.epochMs();
    const parsed = parsePush(push);
    if (!parsed.ok) {
      const appliedVersion = this.#snapshot.policyVersion;
      this.#tell([policyEvent(push, appliedVersion, parsed.problems, epochMs)]);
      return { version, nonce, verdict: 'NACK', appliedVersion, problems: parsed.problems };
    }
    this.#documents = parsed.value;
    const events: (MeshEvent | null)[] = [policyEvent(push, version, [], epochMs)];
    for (const [service, record] of this.#records) {
      const plan = this.#plan(service, record.plan);
      if (plan === record.plan) continue;
      const view = this.#build(plan, record.members, record.view);
      events.push(panicEvent(record.view, view, epochMs));
      this.#records.set(service, { ...record, plan, view, sweepAt: this.#clock.now() });
    }
    for (const [service, inbound] of this.#inbound) this.#renewInbound(service, inbound);
    this.#publish(events, version);
    return { version, nonce, verdict: 'ACK', appliedVersion: version, problems: [] };
  }

  /**
   * Sweeps one service now: a detector has fired or a probe has ended. Costs O(endpoints of the service), and only when
   * someone's state changed another O(services) for the new table.
   */
  requestSweep(service: string): void {
    const record = this.#records.get(service);
    if (record === undefined) return;
    const events: (MeshEvent | null)[] = [];
    if (this.#sweepRecord(record, this.#clock.now(), events)) this.#publish(events);
    else this.#tell(events);
  }

  /**
   * Takes in an active health check; null = nobody asks this endpoint any more. One that is no longer known is nobody's
   * business.
   */
  recordCheck(service: string, endpointId: string, result: CheckResult | null): void {
    const record = this.#records.get(service);
    const stats = record?.members.find(({ endpoint }) => endpoint.id === endpointId)?.stats;
    if (record === undefined || stats === undefined) return;
    if (result === null) forgetChecks(stats);
    else if (recordCheck(stats, result, record.plan.policy.healthCheck, this.#clock.now())) this.requestSweep(service);
  }

  /**
   * What a person orders about one endpoint, at once. It stays with the endpoint through every answer of discovery; the sweep
   * ends it when its time is over.
   */
  overrule(name: string, order: OperatorOrder): OperatorRuling {
    const service = name.toLowerCase();
    const record = this.#records.get(service);
    const now = this.#clock.now();
    const ruling = decideOrder(record?.view.endpoints ?? [], order, now);
    if (record === undefined || ruling.kind === 'refused') return ruling;
    applyDecision(ruling.decision, now);
    const former = record.view;
    record.view = createServiceView(
      record.plan,
      former.endpoints,
      former.stats,
      this.#context(now, former),
      record.members,
    );
    record.sweepAt = nextSweepAt(record.view, record.windows, now);
    const epochMs = this.#clock.epochMs();
    this.#publish([eventOf(service, ruling.decision, epochMs), panicEvent(former, record.view, epochMs)]);
    return ruling;
  }

  /** Takes over what the control plane says that other callers found; what is missing in it was withdrawn. */
  applyAdvice({ advisories, isSuspended }: AdvicePush): void {
    const now = this.#clock.now();
    this.#suspendedUntil = isSuspended ? now + SUSPENDED_MS : Number.NEGATIVE_INFINITY;
    const byEndpoint = new Map(advisories.map((advisory) => [`${advisory.service}\n${advisory.endpoint}`, advisory]));
    const advised = new Set(advisories.map(({ service }) => service));
    for (const service of new Set([...advised, ...this.#advised])) {
      let isNews = false;
      for (const { stats } of this.#records.get(service)?.members ?? []) {
        const advisory = byEndpoint.get(`${service}\n${stats.id}`);
        const advice = advisory === undefined ? null : { ...advisory, until: now + advisory.ttlMs };
        if (takeAdvice(stats, advice, now, this.#random)) isNews = true;
      }
      if (isNews) this.requestSweep(service);
    }
    this.#advised = advised;
  }

  /** Whether the control plane has said that this agent blames what others find well: it ejects nobody by its own evidence. */
  get isSuspended(): boolean {
    return this.#clock.now() < this.#suspendedUntil;
  }

  /** Sweeps every service that is due: an ejection time is over, or an interval has passed. O(services) when none is. */
  sweep(now: number): void {
    const events: (MeshEvent | null)[] = [];
    let isChanged = false;
    for (const record of this.#records.values()) {
      if (now >= record.sweepAt && this.#sweepRecord(record, now, events)) isChanged = true;
    }
    if (isChanged) this.#publish(events);
    else this.#tell(events);
  }

  /**
   * Called with every new snapshot, never with the one in force at the time of subscribing.
   *
   * @returns a function that takes the listener back
   */
  onChange(listener: (snapshot: MeshSnapshot) => void): () => void {
    return this.#publisher.subscribe(listener);
  }

  /**
   * Services that must be discovered too, each once, in order: backends and mirrors that rules name, and the agent's own where zones count
   * (it says how the callers are spread).
   */
  wantedServices(): string[] {
    const wanted = new Set<string>();
    for (const { plan } of this.#records.values()) {
      if (this.#isByZone(plan)) wanted.add(this.#caller);
      for (const { backends, mirror, redirect } of plan.rules) {
        if (redirect === null) for (const { service } of backends) wanted.add(service);
        if (mirror !== null) wanted.add(mirror.service);
      }
    }
    return [...wanted].sort();
  }

  /**
   * View for the inbound listener: the application at `target` as the only endpoint of `service`. The same object until a
   * policy about the service changes, so it can be asked for per request.
   */
  inboundView(service: string, target: InboundTarget): ServiceView {
    const known = this.#inbound.get(service);
    if (known?.target.address === target.address && known.target.port === target.port) return known.view;
    const plan = planService(this.#documents, service, service);
    const view = createInboundView(plan, target, null);
    this.#inbound.set(service, { target: { address: target.address, port: target.port }, view });
    return view;
  }

  #renewInbound(service: string, inbound: { readonly target: InboundTarget; view: ServiceView }): void {
    const renewed = createInboundView(planService(this.#documents, service, service), inbound.target, inbound.view);
    if (JSON.stringify(renewed.policy) !== JSON.stringify(inbound.view.policy)) inbound.view = renewed;
  }

  #plan(service: string, former: ServicePlan | null): ServicePlan {
    return keepIfSame(former, planService(this.#documents, this.#caller, service));
  }

  #statsOf(service: string, plan: ServicePlan): ServiceStats {
    const stats = this.#serviceStats.get(service) ?? createServiceStats(service);
    this.#serviceStats.set(service, stats);
    configureStats(stats, plan.policy);
    return stats;
  }

  /** @returns true when the record has a new view */
  #sweepRecord(record: ServiceRecord, now: number, events: (MeshEvent | null)[]): boolean {
    const { plan, view, windows } = record;
    const epochMs = this.#clock.epochMs();
    const isFrozen = this.#isFrozen() || this.isSuspended;
    const isSwept = sweepService(view, windows, { now, epochMs, random: this.#random, isFrozen }, events);
    const isChanged = isSwept || view.warmUntil >= 0 || view.isPanicking || isDividedByLoad(view);
    if (isChanged) {
      record.view = createServiceView(plan, view.endpoints, view.stats, this.#context(now, view), record.members);
      events.push(panicEvent(view, record.view, epochMs));
    }
    record.sweepAt = nextSweepAt(record.view, windows, now);
    return isChanged;
  }

  #build(plan: ServicePlan, members: readonly EndpointView[], former: ServiceView | null): ServiceView {
    const endpoints = chooseEndpoints(members, plan, this.#self.id);
    const stats = this.#statsOf(plan.service, plan);
    return createServiceView(plan, endpoints, stats, this.#context(this.#clock.now(), former), members);
  }

  #context(now: number, former: ServiceView | null): ViewContext {
    const callers = countByZone(this.#records.get(this.#caller)?.members ?? []);
    return { now, zone: this.#self.zone, callers, former };
  }

  #isByZone({ policy, service }: ServicePlan): boolean {
    return policy.loadBalancer.zoneAware.isEnabled && this.#self.zone !== null && service !== this.#caller;
  }

  /** The callers have moved: what goes to which zone is to be divided anew. */
  #respread(): void {
    for (const record of this.#records.values()) {
      if (this.#isByZone(record.plan)) record.view = this.#build(record.plan, record.members, record.view);
    }
  }

  #publish(events: readonly (MeshEvent | null)[], policyVersion = this.#snapshot.policyVersion): void {
    const services = new Map<string, ServiceView>();
    for (const [service, { view }] of this.#records) services.set(service, view);
    this.#snapshot = Object.freeze({ generation: this.#snapshot.generation + 1, policyVersion, services });
    this.#tell(events, this.#snapshot);
  }

  #tell(events: readonly (MeshEvent | null)[], snapshot: MeshSnapshot | null = null): void {
    this.#publisher.tell(
      snapshot,
      events.filter((event) => event !== null),
    );
  }
}

function throwLater(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
