// The composition root: DESIGN's picture as code, top to bottom. It makes every part, joins them by handing functions over,
// and owns the order of starting and stopping. It is the only file that knows everyone; it decides nothing about requests.

import { join } from 'node:path';
import type { MeshEvent } from '#contract/frames.ts';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import { createAdmin } from './admin/admin.ts';
import { type Clock, createEpochOffset, type Random, systemClock, systemRandom } from './clock.ts';
import type { AgentConfig, HostPort } from './config.ts';
import type { DecisionRecord } from './core/decision/decision-record.ts';
import { Draws } from './core/decision/draws.ts';
import { type Explanation, explainDecision } from './core/decision/explain.ts';
import { Hops } from './core/retry/hops.ts';
import { describeSelf, Stalls, TICK_MS } from './core/self/stalls.ts';
import { createConsulClient } from './discovery/consul-client.ts';
import { createDiscovery } from './discovery/discovery.ts';
import { EndpointFeed } from './discovery/endpoint-feed.ts';
import { createLastKnownGood } from './discovery/last-known-good.ts';
import { createRegistration } from './discovery/registration.ts';
import { createHealthChecks } from './health/health.ts';
import { Mesh } from './mesh/mesh.ts';
import { openListener } from './open-listener.ts';
import { Admission, readMaxDescriptors } from './proxy/admission.ts';
import { createProxyListener, type ProxyListener } from './proxy/listener.ts';
import { Pools } from './proxy/pools.ts';
import { DEFAULT_LIMITS, type ListenerRoute } from './proxy/scope.ts';
import { createSideWork } from './proxy/side-work.ts';
import { createTcpListener } from './proxy/tcp-listener.ts';
import { Readiness } from './readiness.ts';
import { createStateFile } from './state-file.ts';
import { buildReport } from './sync/build-report.ts';
import { createControlPlaneClient } from './sync/control-plane-client.ts';
import { createLastGoodPolicies } from './sync/last-good-policies.ts';
import { createPolicyStream } from './sync/policy-stream.ts';
import { createReporter } from './sync/reporter.ts';
import { LOOK_EVERY_MS, Suspicions } from './sync/suspicions.ts';
import { WatchList } from './sync/watch-list.ts';
import { createAccessLog } from './telemetry/access-log.ts';
import { Decisions, idPrefix } from './telemetry/decisions.ts';
import { EventLog } from './telemetry/events.ts';
import type { Log } from './telemetry/log.ts';
import { Metrics } from './telemetry/metrics.ts';
import { RequestTap } from './telemetry/tap.ts';

/** How often ejections are looked over; a sweep when nothing is due costs O(services). */
const SWEEP_MS = 100;
/** How often the backends that only routes name are told to discovery: nobody declared them, yet they stay wanted. */
const TOUCH_MS = 30_000;
/** After leaving Consul: what callers may take to hear of it, before new connections are refused. */
const PROPAGATION_MS = 1_000;

export interface AgentOptions {
  readonly config: AgentConfig;
  /** Documents of `config.policies`, already found valid; null when there are none. */
  readonly localPolicies: readonly PolicyDocument[] | null;
  readonly log: Log;
  readonly softwareVersion: string;
  readonly clock?: Clock;
  readonly random?: Random;
}

export interface Agent {
  /** Opens the listeners and begins; rejects when an address cannot be bound. Ready when `GET /ready` says so. */
  start(): Promise<void>;
  /**
   * Leaves Consul, lets callers hear of it, finishes what is in flight and closes. Idempotent: later calls share the first.
   *
   * @param deadlineMs after this everything that is still open is closed
   */
  stop(deadlineMs: number): Promise<void>;
}

export function createAgent(options: AgentOptions): Agent {
  const { config, log, softwareVersion, localPolicies } = options;
  const clock = options.clock ?? systemClock;
  const random = options.random ?? systemRandom;
  const service = config.service.name;
  const startedAtEpochMs = clock.epochMs();
  /** Names this process among those with the same id: during a restart with overlap there are two. */
  const life = `${startedAtEpochMs.toString(36)}-${Math.floor(random() * 2 ** 40).toString(36)}`;

  // What happened: one sentence each, to the log, the admin API and the reports.
  const events = new EventLog({ log: log.logger });
  const onEvent = (event: MeshEvent): void => {
    events.add(event);
    if (event.kind === 'ejection' && event.service !== null) metrics.ejection(event.service, event.reason);
    if (event.kind === 'detection' && event.service !== null) metrics.detection(event.service, event.reason);
    if (event.kind === 'ejection' || event.kind === 'reinstatement') reporter?.reportNow();
  };

  // State: the one writer, and what is measured.
  const stalls = new Stalls();
  const isFrozen = (): boolean => stalls.isSuspect;
  const onFault = (err: unknown): void => log.logger.error({ err }, 'a listener of the mesh failed');
  const mesh = new Mesh({ caller: service, self: config.service, clock, random, onEvent, isFrozen, onFault });
  const pools = new Pools({ clock });
  const metrics = new Metrics({
    clock,
    version: softwareVersion,
    sources: {
      snapshot: () => mesh.snapshot,
      discovery: () => discovery.status(),
      connections: () => pools.connections(),
      policy: () => stream.status(),
      isControlPlaneConnected: () => stream.status().isConnected,
      droppedLogLines: () => log.droppedLines(),
      own: () => (app === null ? null : mesh.inboundView(service, app)),
      now: () => clock.now(),
      stalls: () => stalls,
      isSuspended: () => mesh.isSuspended,
    },
  });

  // Consul: who serves what, and that this service is served here.
  const stateFile = (kind: 'endpoints' | 'policies') => createStateFile(join(config.stateDir, `${kind}.json`), kind);
  const consul = config.consul === null ? null : createConsulClient(config.consul);
  const feed =
    config.discovery === 'consul'
      ? null
      : new EndpointFeed({ clock, onEvent, sendWanted: (services) => watchList?.set(services) });
  const discovery = createDiscovery({
    feed,
    upstreams: config.upstreams,
    client: consul,
    clock,
    random,
    onEvent,
    lastKnownGood: createLastKnownGood({ file: stateFile('endpoints'), clock, onEvent }),
    applyEndpoints: (set) => mesh.applyEndpoints(set),
    removeService: (name) => {
      mesh.removeService(name);
      metrics.dropDestination(name);
    },
    usesOf: (name) => mesh.snapshot.services.get(name)?.stats.picks ?? 0,
  });
  const registration =
    consul === null
      ? null
      : createRegistration({ service: config.service, life, client: consul, clock, random, onEvent });

  // Control plane: policies in, verdicts and reports out.
  const controlPlane = config.controlPlane === null ? null : createControlPlaneClient(config.controlPlane, random);
  const watchList =
    controlPlane === null || feed === null
      ? null
      : new WatchList({
          client: controlPlane,
          agentId: config.service.id,
          life,
          random,
          feed,
        });
  const stream = createPolicyStream({
    client: controlPlane,
    agentId: config.service.id,
    life,
    service,
    clock,
    random,
    local: localPolicies,
    lastGood: createLastGoodPolicies({ store: stateFile('policies'), clock, onEvent }),
    apply: (push) => mesh.applyPolicy(push),
    advise: (advice) => mesh.applyAdvice(advice),
    endpoints: watchList,
    onEvent,
  });
  const readiness = new Readiness({ clock, policy: () => stream.status(), discovery: () => discovery.status() });
  let adminUrl = '';
  let sequence = 0;
  const reporter =
    controlPlane === null
      ? null
      : createReporter({
          client: controlPlane,
          agentId: config.service.id,
          clock,
          random,
          buildReport: () =>
            buildReport({
              sequence: ++sequence,
              now: clock.now(),
              epochMs: clock.epochMs(),
              startedAtEpochMs,
              service,
              zone: config.service.zone,
              softwareVersion,
              adminUrl,
              isReady: readiness.reasons().length === 0,
              isDraining: readiness.isDraining,
              policy: stream.status(),
              snapshot: mesh.snapshot,
              discovery: discovery.status(),
              connectionsOf: (id) => pools.connectionsOf(id),
              edges: metrics.edgeReports(),
              ...events.drain(),
            }),
        });

  // Data plane: one listener for everything by Host, one for each upstream with a port of its own, one for the application.
  const admission = new Admission(readMaxDescriptors());
  const decisions = new Decisions(idPrefix(random));
  const epochOffsetMs = createEpochOffset(clock);
  const explained = (record: DecisionRecord): Explanation =>
    explainDecision(
      record,
      decisions.idOf(record),
      epochOffsetMs(),
      discovery.status().find((one) => one.service === record.service)?.leftOut ?? [],
    );
  const accessLog = new RequestTap(createAccessLog(log.logger, config.log.access), () => clock.now());
  const shared = {
    service,
    mesh,
    pools,
    metrics,
    accessLog,
    clock,
    random,
    admission,
    isDraining: () => readiness.isDraining,
    discover: (name: string) => discovery.ensure(name),
    stalls,
    hops: new Hops(),
    side: createSideWork(),
    decisions,
    draws: new Draws(),
    reusePort: config.listeners.sharePorts,
  };
  const listener = (direction: 'outbound' | 'inbound', address: HostPort, route: ListenerRoute): ProxyListener =>
    createProxyListener({ ...shared, direction, address, route });
  const outbound = [
    {
      key: 'listeners.outbound',
      address: config.listeners.outbound,
      listener: listener('outbound', config.listeners.outbound, { kind: 'byHost' }),
    },
    ...config.upstreams.flatMap(({ service: name, listen: address, protocol }, index) => {
      if (address === null) return [];
      const own =
        protocol === 'tcp'
          ? createTcpListener({ ...shared, address, destination: name, counters: metrics.tcp(name) })
          : listener('outbound', address, { kind: 'fixed', service: name });
      return [{ key: `upstreams[${index}].listen`, address, listener: own }];
    }),
  ];
  const { port: appPort } = config.service;
  const app = appPort === null ? null : { address: config.service.appAddress, port: appPort };
  const inbound =
    app === null || config.listeners.inbound === null
      ? null
      : listener('inbound', config.listeners.inbound, {
          kind: 'inbound',
          view: () => mesh.inboundView(service, app),
        });

  const admin = createAdmin({
    address: config.listeners.admin,
    service,
    agentId: config.service.id,
    softwareVersion,
    config,
    limits: { ...DEFAULT_LIMITS, maxConnectionsOfAllListeners: admission.maxConnections },
    clock,
    log,
    snapshot: () => mesh.snapshot,
    discovery: () => discovery.status(),
    policy: () => stream.status(),
    documents: () => mesh.documents,
    connectionsOf: (id) => pools.connectionsOf(id),
    events: () => events.recent(),
    overrule: (name, order) => mesh.overrule(name, order),
    tap: accessLog,
    why: (id) => {
      const record = decisions.find(id);
      return record === null ? null : explained(record);
    },
    decisions: (count, isAnomaly) => decisions.recent(count, isAnomaly).map(explained),
    metrics: () => metrics.render(),
    notReady: () => readiness.reasons(),
    isDraining: () => readiness.isDraining,
    drain: () => {
      readiness.drain();
      // Callers leave while the application still runs; the stop that follows takes the service out of Consul.
      void registration?.maintenance(true, 'draining');
    },
    failHealthcheck: (isFailing) => readiness.fail(isFailing),
  });

  const onResult = mesh.recordCheck.bind(mesh);
  const health = createHealthChecks({ random, isFrozen, onResult });
  mesh.onChange((snapshot) => {
    pools.reconcile(snapshot);
    health.reconcile(snapshot);
    // Backends that only a route names have to be discovered too.
    for (const wanted of mesh.wantedServices()) if (!snapshot.services.has(wanted)) void discovery.ensure(wanted);
  });
  /** Keeps them from being dropped as unused, and asks again for one that nobody ran when its route came. */
  const ensureWanted = (): void => {
    for (const wanted of mesh.wantedServices()) void discovery.ensure(wanted);
  };

  const timers: NodeJS.Timeout[] = [];
  let opening: ReturnType<typeof open> | null = null;
  let stopping: Promise<void> | null = null;

  async function open(): Promise<{ admin: HostPort; outbound: HostPort; inbound: HostPort | null }> {
    const adminAddress = await openListener('listeners.admin', config.listeners.admin, () => admin.listen());
    const { metrics: scrapes } = config.listeners;
    if (scrapes !== null) await openListener('listeners.metrics', scrapes, () => admin.listenForScrapes());
    const [first = config.listeners.outbound] = await Promise.all(
      outbound.map((one) => openListener(one.key, one.address, () => one.listener.listen())),
    );
    const inboundAddress =
      inbound === null || config.listeners.inbound === null
        ? null
        : await openListener('listeners.inbound', config.listeners.inbound, () => inbound.listen());
    return { admin: adminAddress, outbound: first, inbound: inboundAddress };
  }

  async function start(): Promise<void> {
    // The way of every start, not only of disasters: what is on disk serves first, Consul and control plane update it.
    // Discovery begins first, because policies may name services that it must know how to find.
    discovery.start();
    stream.start();
    opening = open();
    const bound = await opening;
    if (stopping !== null) return;
    adminUrl = `http://${urlHost(bound.admin.host, config.service.address)}:${bound.admin.port}`;
    timers.push(setInterval(() => mesh.sweep(clock.now()), SWEEP_MS));
    timers.push(setInterval(ensureWanted, TOUCH_MS));
    timers.push(setInterval(watchSelf, TICK_MS));
    if (reporter !== null) timers.push(setInterval(watchSuspicions, LOOK_EVERY_MS));
    readiness.listenersOpen();
    reporter?.start();
    if (bound.inbound !== null && registration !== null) await registration.register(bound.inbound);
    if (stopping === null) log.logger.info(bound, 'agent started');
  }

  const suspicions = new Suspicions();
  function watchSuspicions(): void {
    if (suspicions.look(mesh.snapshot, clock.now())) reporter?.reportNow();
  }

  function watchSelf(): void {
    const change = stalls.tick(clock.now());
    if (change === null) return;
    const text = describeSelf(change, stalls.grade);
    const reason = change === 'suspect' ? 'self_suspect' : 'self_trusted';
    onEvent({ atEpochMs: clock.epochMs(), kind: 'lifecycle', service: null, endpoint: null, reason, text });
  }

  async function stopOnce(deadlineMs: number): Promise<void> {
    const deadlineAt = clock.now() + deadlineMs;
    const left = (): number => Math.max(0, deadlineAt - clock.now());
    readiness.drain();
    // A signal in the midst of the start: what is being opened has to be open before it can be closed. Who started the agent
    // hears of an address that could not be bound.
    await opening?.catch(() => null);
    reporter?.reportNow();
    if (registration !== null && inbound !== null) {
      const hasSuccessor = await registration.deregister(Math.min(2_000, left()));
      // Who comes new then is the successor's; what is said about readiness too.
      if (hasSuccessor && config.listeners.sharePorts) {
        inbound.stopAccepting();
        await admin.close();
      }
      // Callers that have not heard yet still come; each answer tells them to close the connection.
      await new Promise((resolve) => setTimeout(resolve, Math.min(PROPAGATION_MS, left())));
    }
    // Outbound stays open until inbound is empty: the application may need it to finish its answers.
    if (inbound !== null) await inbound.drain(left());
    await Promise.all(outbound.map((one) => one.listener.drain(left())));
    for (const timer of timers) clearInterval(timer);
    await Promise.all([reporter?.stop(), stream.stop(), watchList?.stop(), discovery.stop()]);
    health.stop();
    pools.closeAll();
    metrics.close();
    controlPlane?.close();
    consul?.close();
    await admin.close();
    log.logger.info('agent stopped');
  }

  return {
    start,
    stop: (deadlineMs) => {
      stopping ??= stopOnce(deadlineMs);
      return stopping;
    },
  };
}

/** Nobody can connect to "every address": others then use the service's own. IPv6 stands in brackets. */
function urlHost(bound: string, advertised: string): string {
  const host = bound === '0.0.0.0' || bound === '::' ? advertised : bound;
  return host.includes(':') ? `[${host}]` : host;
}
