// A service of several processes behind an agent, and load whose every answer is checked: what fault tests stand on. One place
// owns start, stop and bounds.

import { type ChildProcess, fork } from 'node:child_process';
import { Agent, request } from 'node:http';
import type { Test } from 'tap';
import type { MeshEvent } from '#contract/frames.ts';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import { systemClock, systemRandom } from '../../agent/clock.ts';
import type { EndpointView } from '../../agent/core/snapshot.ts';
import { Mesh } from '../../agent/mesh/mesh.ts';
import { createProxyListener } from '../../agent/proxy/listener.ts';
import { Pools } from '../../agent/proxy/pools.ts';
import { Metrics } from '../../agent/telemetry/metrics.ts';
import type { Behaviour } from './chaos-app.ts';
import { freePorts, ROOT, until } from './processes.ts';

const APP = `${ROOT}test/support/chaos-app.ts`;

export interface Instance {
  readonly port: number;
  readonly pid: () => number;
  signal(signal: NodeJS.Signals): void;
  /** Kills it and waits until it is gone. */
  kill(): Promise<void>;
  /** Starts it on its port, again if it was killed. */
  start(): Promise<void>;
  behave(behaviour: Behaviour): Promise<void>;
}

async function createInstance(t: Test, port: number): Promise<Instance> {
  let child: ChildProcess | null = null;
  t.teardown(() => {
    // A stopped process hears nothing but this.
    child?.kill('SIGKILL');
  });
  const alive = (): ChildProcess => {
    if (child === null) throw new Error('the instance does not run');
    return child;
  };
  const instance: Instance = {
    port,
    pid: () => alive().pid ?? 0,
    signal: (signal) => alive().kill(signal),
    kill: async () => {
      const dying = alive();
      const gone = new Promise((resolve) => dying.once('exit', resolve));
      dying.kill('SIGKILL');
      await gone;
      child = null;
    },
    start: async () => {
      const started = fork(APP, [String(port)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
      child = started;
      await new Promise<void>((resolve, reject) => {
        started.once('message', () => resolve());
        started.once('exit', () => reject(new Error(`the instance on ${port} ended at once`)));
      });
    },
    behave: async (behaviour) => {
      const told = new Promise((resolve) => alive().once('message', resolve));
      alive().send(behaviour);
      await told;
    },
  };
  await instance.start();
  return instance;
}

export interface TimedEvent extends MeshEvent {
  /** performance.now() when it was told. */
  readonly at: number;
}

export interface World {
  readonly port: number;
  readonly instances: readonly Instance[];
  readonly events: TimedEvent[];
  endpoints(): readonly EndpointView[];
  /** From now on discovery finds these. */
  discover(instances: readonly Instance[]): void;
  /** First ejection of an instance told after `since`, waited for. */
  ejection(instance: Instance, since: number, timeoutMs: number): Promise<TimedEvent>;
  load(ratePerSecond: number): Load;
  stop(): Promise<void>;
}

/** The timers that the fault matrix assumes, where they are not our defaults. */
export const MATRIX_POLICY = {
  timeouts: { connect: '1s', backendRequest: '1s', request: '5s' },
  outlierDetection: {
    consecutiveLocalOriginFailures: 3,
    baseEjectionTime: '5s',
    maxEjectionTime: '300s',
    maxEjectionPercent: 50,
  },
  loadBalancer: { slowStart: { window: '10s' } },
};

export async function startWorld(
  t: Test,
  count: number,
  spec: Readonly<Record<string, unknown>> = MATRIX_POLICY,
): Promise<World> {
  const ports = await freePorts(count);
  const instances = await Promise.all(ports.map((port) => createInstance(t, port)));
  const events: TimedEvent[] = [];
  const mesh = new Mesh({
    caller: 'web',
    clock: systemClock,
    random: systemRandom,
    onEvent: (event) => events.push({ ...event, at: performance.now() }),
  });
  const discover = (found: readonly Instance[]) => {
    const endpoints = found.map(({ port }) => {
      const id = `a@127.0.0.1:${port}`;
      return { id, address: '127.0.0.1', port, weight: 1, zone: null, tags: [], meta: {} };
    });
    mesh.applyEndpoints({ service: 'a', source: 'static', endpoints });
  };
  discover(instances);
  const document: PolicyDocument = {
    apiVersion: 'outrigger.dev/v1',
    kind: 'MeshDefaults',
    metadata: { name: 'global' },
    spec,
  };
  const { problems } = mesh.applyPolicy({ version: 1, nonce: '1', documents: [document] });
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  const sweeps = setInterval(() => mesh.sweep(systemClock.now()), 20);
  const pools = new Pools({ clock: systemClock });
  mesh.onChange((snapshot) => pools.reconcile(snapshot));
  const listener = createProxyListener({
    direction: 'outbound',
    address: { host: '127.0.0.1', port: 0 },
    service: 'web',
    route: { kind: 'byHost' },
    mesh,
    pools,
    metrics: new Metrics(),
    accessLog: { wants: () => false, write: () => {} },
    clock: systemClock,
    random: systemRandom,
    isDraining: () => false,
  });
  const { port } = await listener.listen();
  const loads: Load[] = [];
  const stop = async () => {
    clearInterval(sweeps);
    await Promise.all(loads.map((load) => load.stop()));
    await listener.close();
    pools.closeAll();
  };
  t.teardown(stop);
  return {
    port,
    instances,
    events,
    discover,
    endpoints: () => mesh.snapshot.services.get('a')?.endpoints ?? [],
    ejection: async (instance, since, timeoutMs) => {
      const id = `a@127.0.0.1:${instance.port}`;
      const find = () => events.find(({ kind, endpoint, at }) => kind === 'ejection' && endpoint === id && at >= since);
      await until(
        () => find() !== undefined,
        timeoutMs,
        () => `no ejection of ${id}: ${JSON.stringify(events)}`,
      );
      return find() as TimedEvent;
    },
    load: (ratePerSecond) => {
      const load = new Load(port, ratePerSecond);
      loads.push(load);
      return load;
    },
    stop,
  };
}

export interface Answer {
  readonly method: string;
  readonly sentAt: number;
  readonly tookMs: number;
  /** 0 when there was none. */
  readonly status: number;
  /** `whole`, `broken` (it broke off, and the client saw that it did), `mixed` (of another request), or an error code. */
  readonly kind: string;
  readonly reason: string;
  readonly from: number;
}

/** An open loop: requests go out at their time whether earlier ones are answered or not. One in five is a POST. */
export class Load {
  readonly answers: Answer[] = [];
  sent = 0;
  readonly #port: number;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 256 });
  readonly #timer: NodeJS.Timeout;
  readonly #startedAt = performance.now();
  #stopped: Promise<void> | null = null;
  #isDone = (): void => {};

  constructor(port: number, ratePerSecond: number) {
    this.#port = port;
    this.#timer = setInterval(() => {
      const due = Math.floor(((performance.now() - this.#startedAt) / 1000) * ratePerSecond);
      while (this.sent < due) this.#send();
    }, 2);
  }

  get inFlight(): number {
    return this.sent - this.answers.length;
  }

  /** Answers to requests sent from `since` on. */
  since(since: number): Answer[] {
    return this.answers.filter(({ sentAt }) => sentAt >= since);
  }

  #send(): void {
    const index = this.sent++;
    const method = index % 5 === 4 ? 'POST' : 'GET';
    const nonce = `${this.#port}-${index}`;
    const body = method === 'POST' ? `body of ${nonce}` : '';
    const sentAt = performance.now();
    const headers = { host: 'a', 'x-nonce': nonce, 'content-length': Buffer.byteLength(body) };
    let isNoted = false;
    const note = (status: number, kind: string, reason: string, from: number): void => {
      if (isNoted) return;
      isNoted = true;
      this.answers.push({ method, sentAt, tookMs: performance.now() - sentAt, status, kind, reason, from });
      if (this.inFlight === 0) this.#isDone();
    };
    const call = request({ port: this.#port, method, agent: this.#agent, headers, path: `/${nonce}` }, (response) => {
      const { statusCode: status = 0 } = response;
      const reason = String(response.headers['x-outrigger-reason'] ?? '');
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      response.on('error', () => note(status, 'broken', reason, 0));
      response.on('end', () => {
        if (status !== 200) note(status, 'whole', reason, 0);
        else {
          const said = JSON.parse(text) as { nonce: string; body: string; from: number };
          note(status, said.nonce === nonce && said.body === body ? 'whole' : 'mixed', reason, said.from);
        }
      });
    });
    call.on('error', (error: NodeJS.ErrnoException) => note(0, error.code ?? 'error', '', 0));
    call.end(body);
  }

  /** Sends no more and waits for the answers that are still to come. */
  stop(): Promise<void> {
    this.#stopped ??= new Promise<void>((resolve) => {
      clearInterval(this.#timer);
      const finish = () => {
        this.#agent.destroy();
        resolve();
      };
      this.#isDone = finish;
      if (this.inFlight === 0) finish();
    });
    return this.#stopped;
  }
}

/** Answers that are no success. */
export function failuresOf(answers: readonly Answer[], method: string): Answer[] {
  return answers.filter((one) => one.method === method && (one.status !== 200 || one.kind !== 'whole'));
}

export function describeFailures(answers: readonly Answer[]): string {
  const counts = new Map<string, number>();
  for (const { method, status, kind, reason } of answers) {
    const key = `${method} ${status} ${kind} ${reason}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts].map(([key, count]) => `${count} × ${key}`).join(', ');
}

export function percentile(answers: readonly Answer[], share: number): number {
  const sorted = answers.map(({ tookMs }) => tookMs).sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
