// Callers in real time: each is the part of an agent that picks, judges and reports (a real mesh with its detectors), with a real policy
// stream and real reports to a real control plane. Only what they call is simulated: whether a call fails is the test's word.

import { Agent as HttpAgent } from 'node:http';
import { systemClock } from '../../agent/clock.ts';
import { beginAttempt, endAttempt } from '../../agent/core/outlier/record.ts';
import { pickEndpoint } from '../../agent/core/pick.ts';
import { serviceReports } from '../../agent/core/service-report.ts';
import { Mesh } from '../../agent/mesh/mesh.ts';
import { decodeAdvice } from '../../agent/sync/advice-frame.ts';
import { LOOK_EVERY_MS, Suspicions } from '../../agent/sync/suspicions.ts';
import { SimulatedAgent } from '../../bench/fleet/simulated-agent.ts';
import type { Teardown } from './processes.ts';
import { seededRandom } from './seeded-random.ts';
import { outcome } from './views.ts';

export interface LiveCallersOptions {
  readonly url: string;
  /** What they stand beside; the agents are called `NAME-0`, `NAME-1`, … */
  readonly name: string;
  /** What they call. */
  readonly service: string;
  readonly callers: number;
  readonly endpoints: number;
  readonly callsPerSecond: number;
  readonly seed: number;
  /** False: they report and pay no attention to advice. */
  readonly heedsAdvice: boolean;
  isFailing(caller: number, endpoint: number): boolean;
}

const REPORT_EVERY_MS = 2_000;
const SWEEP_EVERY_MS = 100;
/** As the reporter of an agent waits for more before it sends what is urgent. */
const COALESCE_MS = 50;
const CALL_MS = 5;

export class LiveCallers {
  calls = 0;
  failed = 0;
  /** Ejections by reason, over all callers. */
  readonly ejections = new Map<string, number>();
  readonly ejecting = new Set<number>();
  /** Callers that know they are suspended. */
  readonly suspended = new Set<number>();
  readonly #options: LiveCallersOptions;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #connections = new HttpAgent({ keepAlive: true, maxSockets: 8 });
  readonly #agents: SimulatedAgent[];
  readonly #starts: (() => void)[] = [];

  constructor(t: Teardown, options: LiveCallersOptions) {
    this.#options = options;
    const random = seededRandom(options.seed);
    this.#agents = Array.from({ length: options.callers }, (_, caller) => this.#create(caller, random));
    t.teardown(() => {
      this.stop();
      for (const agent of this.#agents) agent.stop();
      this.#connections.destroy();
    });
  }

  get areConnected(): boolean {
    return this.#agents.every(({ isConnected }) => isConnected);
  }

  /** Calls from now on. */
  run(): void {
    for (const start of this.#starts) start();
  }

  /** Ends the calls and everything else that is due at intervals. */
  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers.clear();
  }

  #create(caller: number, random: () => number): SimulatedAgent {
    const { url, name, service, heedsAdvice, callsPerSecond, endpoints: count } = this.#options;
    const mesh: Mesh = new Mesh({
      caller: name,
      clock: systemClock,
      random,
      onEvent: ({ kind, reason }) => {
        if (kind !== 'ejection') return;
        this.ejections.set(reason, (this.ejections.get(reason) ?? 0) + 1);
        this.ejecting.add(caller);
        reportSoon();
      },
    });
    mesh.applyPolicy({ version: 0, nonce: '0', documents: [] });
    const endpoints = Array.from({ length: count }, (_, index) => {
      const port = 7_000 + index;
      return { id: `${service}@${port}`, address: '10.0.0.1', port, weight: 1, zone: null, tags: [], meta: {} };
    });
    mesh.applyEndpoints({ service, source: 'static', endpoints });
    const agent = new SimulatedAgent({
      urls: [url],
      id: `${name}-${caller}`,
      service: name,
      connections: this.#connections,
      random,
      services: () => {
        const [now, epochMs] = [systemClock.now(), systemClock.epochMs()];
        return serviceReports({ snapshot: mesh.snapshot, discovery: [], now, epochMs, connectionsOf: () => 0 });
      },
      onAdvice: (data) => {
        const advice = decodeAdvice(data);
        if (advice === null) throw new Error(`no advice: ${data}`);
        if (heedsAdvice) mesh.applyAdvice(advice);
        if (advice.isSuspended) this.suspended.add(caller);
        else this.suspended.delete(caller);
      },
    });
    agent.start();
    const suspicions = new Suspicions();
    let isDue = false;
    const reportSoon = (): void => {
      if (isDue) return;
      isDue = true;
      setTimeout(() => {
        isDue = false;
        void agent.report();
      }, COALESCE_MS);
    };
    this.#every(SWEEP_EVERY_MS, random(), () => mesh.sweep(systemClock.now()));
    this.#every(REPORT_EVERY_MS, random(), () => void agent.report());
    this.#every(LOOK_EVERY_MS, random(), () => {
      if (suspicions.look(mesh.snapshot, systemClock.now())) reportSoon();
    });
    this.#starts.push(() => this.#every(1_000 / callsPerSecond, random(), () => this.#call(caller, mesh, random)));
    return agent;
  }

  #call(caller: number, mesh: Mesh, random: () => number): void {
    const { service } = this.#options;
    const view = mesh.snapshot.services.get(service);
    const picked = view === undefined ? null : pickEndpoint(view, systemClock.now(), random, []);
    if (view === undefined || picked === null) throw new Error('nothing to pick from');
    const { stats, endpoint } = picked;
    const { epoch } = stats;
    beginAttempt(stats, systemClock.now());
    this.calls++;
    setTimeout(() => {
      const isFailing = this.#options.isFailing(caller, endpoint.port - 7_000);
      if (isFailing) this.failed++;
      const end = outcome({ status: isFailing ? 503 : 200, latencyMs: CALL_MS });
      if (endAttempt(stats, end, epoch, view.policy, systemClock.now())) mesh.requestSweep(service);
    }, CALL_MS);
  }

  /** @param share  of the first interval, so that they do not go in step */
  #every(intervalMs: number, share: number, run: () => void): void {
    const first = setTimeout(() => {
      this.#timers.delete(first);
      this.#timers.add(setInterval(run, intervalMs));
      run();
    }, intervalMs * share);
    this.#timers.add(first);
  }
}
