// Composition root: store → hub → API, and the registry beside them. Read top to bottom; nothing else knows everyone.

import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { type Logger, pino } from 'pino';
import { isLoopback } from '#contract/text/host-port.ts';
import { type Api, createApi } from './api/api.ts';
import type { RouteEntry } from './api/auth.ts';
import type { ControlPlaneConfig } from './config.ts';
import type { Clock } from './core/clock.ts';
import { Fleet } from './core/fleet.ts';
import { Ledger } from './core/ledger.ts';
import { documentsFor, visibleTo } from './core/scope.ts';
import { Signal } from './core/signal.ts';
import { Arrivals } from './core/slo/arrivals.ts';
import { SloBook } from './core/slo/book.ts';
import { SloIntake } from './core/slo/intake.ts';
import { SloTargets } from './core/slo/targets.ts';
import { type ConsulAccess, EndpointWatches } from './discovery/endpoint-watches.ts';
import { EndpointPushes } from './push/endpoint-pushes.ts';
import { FleetShare } from './push/fleet-share.ts';
import { Hub } from './push/hub.ts';
import { pushSetOf } from './push/push-set.ts';
import { Rollouts } from './push/rollouts.ts';
import { SloWatch } from './push/slo-watch.ts';
import { Webhooks } from './push/webhooks.ts';
import { Witnesses } from './push/witnesses.ts';
import { createRegistry } from './registry/registry.ts';
import type { AccessStore } from './store/access-store.ts';
import { type OpenStore, openAccessStore, openStore } from './store/open-store.ts';
import type { PolicySet } from './store/store.ts';

export interface ControlPlaneOptions {
  readonly config: ControlPlaneConfig;
  readonly log?: Logger;
  readonly clock?: Clock;
  /** See ApiOptions. */
  readonly requestTimeoutMs?: number;
  /** See SloWatchOptions.lookEveryMs. */
  readonly sloLookEveryMs?: number;
  /** See FleetShareOptions.everyMs. */
  readonly shareEveryMs?: number;
}

export interface Started {
  readonly url: string;
  readonly registryUrl: string | null;
  /** Every method of every path of the API, with who may call it. */
  readonly routes: readonly RouteEntry[];
}

export interface ControlPlane {
  /** Settles once the API (and the registry) accept connections. A second call answers the same. */
  start(): Promise<Started>;
  /** Ends streams at once, lets requests finish until the deadline (5 s). A second call waits for the first. */
  stop(deadlineMs?: number): Promise<void>;
}

const SOFTWARE_VERSION = '0.1.0';
const SWEEP_EVERY_MS = 5_000;
const DEFAULT_DEADLINE_MS = 5_000;
const systemClock: Clock = { now: () => performance.now(), epochMs: () => Date.now() };

export function createControlPlane(options: ControlPlaneOptions): ControlPlane {
  let running: Promise<Running> | null = null;
  let stopping: Promise<void> | null = null;
  return {
    start: async () => {
      running ??= run(options);
      const { url, registryUrl, routes } = await running;
      return { url, registryUrl, routes };
    },
    stop: async (deadlineMs = DEFAULT_DEADLINE_MS) => {
      if (running === null) return;
      // A start that failed has cleaned up after itself and has nothing to stop.
      const started = await running.catch(() => null);
      stopping ??= started === null ? Promise.resolve() : within(started.stop(), deadlineMs);
      await stopping;
    },
  };
}

interface Running extends Started {
  readonly stop: () => Promise<void>;
}

async function run({
  config,
  log: givenLog,
  clock = systemClock,
  requestTimeoutMs,
  sloLookEveryMs,
  shareEveryMs,
}: ControlPlaneOptions): Promise<Running> {
  const log = givenLog ?? pino({ name: 'control-plane', level: config.log.level });
  // The configuration was judged before; whoever builds one by hand must not open the mesh to the network either.
  if (config.auth === null && !isLoopback(config.listen.host)) {
    throw new Error(`${config.listen.host} is not a loopback address, and without auth only those are listened on`);
  }
  if ((config.tls ?? null) === null && !isLoopback(config.listen.host)) {
    log.warn('tokens and policies cross the network in the clear: set tls, or let a proxy end TLS before this address');
  }
  const closers: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    const onNotice = (text: string): void => log.warn(text);
    const opened = await openStore(config.store, { clock, random: Math.random, onNotice });
    closers.push(() => opened.store.close());
    closers.push(() => opened.leadership.stop());
    const access = await openAccessStore(config.store, { clock, random: Math.random });
    closers.push(() => access.close());
    let registryUrl: string | null = null;
    const watched = (): ConsulAccess | null => accessOf(config, registryUrl);
    const setting = { config, log, clock, requestTimeoutMs, sloLookEveryMs, shareEveryMs, watched };
    const { hub, api } = await join(opened, access, setting, closers);
    const url = await api.listen(config.listen.host, config.listen.port);
    if (config.registry !== null && !isLoopback(config.registry.listen.host)) {
      log.warn('the embedded registry knows no tokens: whoever reaches its address can register services');
    }
    if (config.registry !== null) registryUrl = await startRegistry(config.registry.listen, log, clock, closers);
    log.info({ url, registryUrl, version: hub.version }, 'control plane is ready');
    return { url, registryUrl, routes: api.routes, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

interface Setting {
  readonly config: ControlPlaneConfig;
  readonly log: Logger;
  readonly clock: Clock;
  readonly requestTimeoutMs: number | undefined;
  readonly sloLookEveryMs: number | undefined;
  readonly shareEveryMs: number | undefined;
  /** The Consul that is watched for agents; null until it is there. */
  readonly watched: () => ConsulAccess | null;
}

/** What `watched` of the configuration means. */
function accessOf({ watched = null }: ControlPlaneConfig, registryUrl: string | null): ConsulAccess | null {
  if (watched !== 'registry') return watched;
  return registryUrl === null ? null : { url: registryUrl, token: null, tokenFile: null, datacenter: null };
}

async function join(
  { store, leadership, board, slo }: OpenStore,
  access: AccessStore,
  { config, log, clock, requestTimeoutMs, sloLookEveryMs, shareEveryMs, watched }: Setting,
  closers: (() => Promise<void>)[],
): Promise<{ hub: Hub; api: Api }> {
  const ledger = new Ledger();
  const fleet = new Fleet();
  const verdicts = new Signal();
  const tell = (kind: 'policy' | 'lifecycle', reason: string, text: string, agentId: string | null): void => {
    fleet.tell({ atEpochMs: clock.epochMs(), kind, service: null, endpoint: null, reason, text, agentId });
  };
  const onFault = (text: string): void => log.warn(text);
  const tellRollout = (reason: string, text: string): void => tell('policy', reason, text, null);
  const rollouts = new Rollouts({ store, leadership, board, ledger, fleet, clock, tell: tellRollout, onFault });
  closers.push(() => rollouts.stop());
  const share = new FleetShare({
    board,
    fleet,
    ledger,
    clock,
    host: hostname(),
    onNotice: onFault,
    everyMs: shareEveryMs,
  });
  share.start();
  closers.push(() => share.stop());
  const targets = new SloTargets();
  const slos = new SloBook((service) => targets.of(service));
  const arrivals = new Arrivals(slo.isAlone);
  const intake = new SloIntake(fleet, slos, arrivals);
  const webhooks = new Webhooks({ urls: config.slo?.webhooks ?? [], onFault });
  closers.push(() => webhooks.stop());
  const sloWatch = new SloWatch({
    book: slos,
    intake,
    arrivals,
    store: slo,
    isLeader: () => leadership.isLeader(),
    clock,
    onNotice: onFault,
    lookEveryMs: sloLookEveryMs,
    onChange: (change) => {
      const { alert, state, text, service } = change;
      log.warn({ ...change }, text);
      fleet.tell({
        atEpochMs: change.atEpochMs,
        kind: 'alert',
        service,
        endpoint: null,
        reason: `${alert}_${state}`,
        text,
        agentId: null,
      });
      webhooks.send(change);
    },
  });
  const witnesses = new Witnesses({
    fleet,
    clock,
    advise: (agentId, json) => hub.advise(agentId, json),
    onChange: ({ kind, service, endpoint, agentId, text }) => {
      const base = { atEpochMs: clock.epochMs(), kind: 'detection' as const, service, endpoint, text, agentId };
      fleet.tell({ ...base, reason: agentId === null ? `advisory_${kind}` : `accuser_${kind}` });
      log.warn({ service, endpoint, agentId }, text);
    },
  });
  await sloWatch.start();
  closers.push(() => sloWatch.stop());
  const watches = new EndpointWatches({
    access: watched,
    clock,
    random: Math.random,
    onNews: (service) => endpoints.news(service),
  });
  closers.push(() => watches.stop());
  const endpoints = new EndpointPushes({
    want: (service) => watches.want(service),
    release: (service) => watches.release(service),
    stateOf: (service) => watches.stateOf(service),
    now: () => clock.now(),
    onSent: (characters) => api.countEndpoints(characters),
  });
  let pushed = pushSetOf(await store.list(), null);
  const publish = (set: PolicySet): void => {
    pushed = pushSetOf(set, pushed);
    targets.use(set.policies.map(({ document }) => document));
    hub.publish(pushed);
  };
  const hub = new Hub({
    initial: pushed,
    createNonce: () => randomBytes(9).toString('base64url'),
    now: () => clock.now(),
    select: documentsFor,
    visible: visibleTo,
    endpoints: (config.watched ?? null) === null ? null : endpoints,
    events: {
      connected: (agentId) => {
        ledger.connected(agentId, clock.now());
        witnesses.connected(agentId);
        tell('lifecycle', 'agent_connected', `${agentId} opened its policy stream.`, agentId);
        verdicts.emit();
      },
      disconnected: (agentId) => {
        ledger.disconnected(agentId, clock.now());
        tell('lifecycle', 'agent_disconnected', `${agentId} lost its policy stream and keeps its policies.`, agentId);
        verdicts.emit();
      },
      pushed: (agentId, { version, nonce, isTrial }) => {
        ledger.pushed(agentId, version, nonce, clock.now(), isTrial);
        api.countPush();
      },
    },
  });
  const api: Api = await createApi({
    store,
    access,
    ledger,
    fleet,
    views: {
      agents: () => share.agents(),
      agent: (agentId) => share.agent(agentId),
      services: () => share.services(),
      ownServices: () => share.ownServices(),
      edges: () => share.edges(),
      isKnownElsewhere: (agentId) => share.isKnownElsewhere(agentId),
      adminOf: (agentId) => share.adminOf(agentId),
    },
    slos,
    onReport: (agentId, report) => {
      intake.take(agentId, report, clock.now(), clock.epochMs());
      witnesses.hear(agentId, report);
    },
    advice: () => witnesses.view(),
    verdicts,
    rollouts,
    clock,
    log,
    softwareVersion: SOFTWARE_VERSION,
    requestTimeoutMs,
    auth: config.auth,
    tls: config.tls,
    requestsPerMinute: config.requestsPerMinute,
    policyVersion: () => hub.version,
    policyGeneration: () => hub.generation,
    connectAgent: (stream) => hub.connect(stream),
    watchEndpoints: (agentId, { life, services }) => hub.watch(agentId, life, services),
    watches: () => watches.size,
    streams: () => hub.size,
    onAhead: (agentId, appliedVersion) => {
      const here = `while this store is at version ${hub.version}`;
      const text = `${agentId} had policy version ${appliedVersion}, ${here}: restored from a backup, or another control plane.`;
      tell('policy', 'version_went_back', text, agentId);
      log.warn({ agentId, appliedVersion, version: hub.version }, 'agent is ahead of the store');
    },
    onForeign: (agentId, generation) => {
      const here = `this one is ${hub.generation} and at version ${hub.version}`;
      const text = `${agentId} had policies of another store, ${generation}; ${here}, and the agent is sent all of it.`;
      tell('policy', 'store_replaced', text, agentId);
      log.warn({ agentId, generation, here: hub.generation }, 'agent had policies of another store');
    },
    onVerdict: (agentId, { verdict, version, problems }) => {
      if (verdict === 'ACK') return;
      const first = problems[0];
      const why = first === undefined ? 'without saying why' : `because ${first.path} ${first.message}`;
      tell('policy', 'policy_nack', `${agentId} refused policy version ${version} ${why}.`, agentId);
      log.warn({ agentId, version, problems }, 'agent refused policies');
    },
  });
  closers.push(() => api.close());
  closers.push(async () => hub.close());
  store.onChange((set) => {
    publish(set);
    tell('policy', 'policy_changed', `Policy version ${set.version} is in force.`, null);
  });
  // What another replica wrote between the first reading and the listening.
  publish(await store.list());
  rollouts.start();
  witnesses.start();
  closers.push(async () => witnesses.stop());
  const sweeper = setInterval(() => {
    for (const agentId of ledger.sweep(clock.now())) fleet.forget(agentId);
  }, SWEEP_EVERY_MS);
  closers.push(async () => clearInterval(sweeper));
  return { hub, api };
}

async function startRegistry(
  address: { readonly host: string; readonly port: number },
  log: Logger,
  clock: Clock,
  closers: (() => Promise<void>)[],
): Promise<string> {
  const registry = createRegistry({ clock, log });
  closers.push(() => registry.close());
  const { host, port } = await registry.listen(address);
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Gives up waiting, not closing: the process is about to end anyway. */
async function within(work: Promise<void>, deadlineMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, deadlineMs);
  });
  await Promise.race([work, deadline]).finally(() => clearTimeout(timer));
}
