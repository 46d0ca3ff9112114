// A fleet in virtual time: real meshes with real pickers and detectors, the real witness book, and messages that take 10 ms each way.

import type { AdvicePush, AgentReport } from '#contract/frames.ts';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import { beginAttempt, endAttempt } from '../../agent/core/outlier/record.ts';
import { pickEndpoint } from '../../agent/core/pick.ts';
import { serviceReports } from '../../agent/core/service-report.ts';
import { Mesh } from '../../agent/mesh/mesh.ts';
import { Suspicions } from '../../agent/sync/suspicions.ts';
import { ADVISORY_TTL_MS, type Change, WitnessBook } from '../../control-plane/core/witness.ts';
import { orderReport } from './control-plane-client.ts';
import { seededRandom } from './seeded-random.ts';
import { outcome } from './views.ts';
import { VirtualClock } from './virtual-clock.ts';

export interface FleetOptions {
  readonly callers: number;
  readonly endpoints: number;
  readonly callsPerSecond: number;
  readonly forMs: number;
  readonly seed: number;
  /** False: reports are heard and advice is not sent. */
  readonly hasWitnesses: boolean;
  readonly balancing: 'random' | 'peakEwma';
  readonly zoneOf?: (caller: number) => string;
  isFailing(caller: number, endpoint: number, now: number): boolean;
}

export interface FleetResult {
  readonly failed: number;
  readonly calls: number;
  readonly changes: readonly Change[];
  /** Ejections by reason, over all agents, and by caller. */
  readonly ejections: ReadonlyMap<string, number>;
  readonly ejectingCallers: ReadonlySet<number>;
  readonly suspended: readonly string[];
  /** Callers that know they are suspended. */
  readonly knowing: readonly number[];
}

const LATENCY_MS = 10;

export function runFleet(options: FleetOptions): FleetResult {
  const clock = new VirtualClock();
  const random = seededRandom(options.seed);
  const book = new WitnessBook();
  const changes: Change[] = [];
  const ejections = new Map<string, number>();
  const ejectingCallers = new Set<number>();
  let failed = 0;
  let calls = 0;
  const sendings: (() => void)[] = [];
  const agents = Array.from({ length: options.callers }, (_, caller) => createCaller(caller));

  function createCaller(caller: number): { readonly mesh: Mesh; report(): AgentReport } {
    const mesh = new Mesh({
      caller: 'web',
      clock,
      random,
      onEvent: ({ kind, reason }) => {
        if (kind !== 'ejection') return;
        ejections.set(reason, (ejections.get(reason) ?? 0) + 1);
        ejectingCallers.add(caller);
        clock.after(50, () => sendings[caller]?.());
      },
    });
    mesh.applyPolicy({ version: 1, nonce: '1', documents: [balancing(options.balancing)] });
    const endpoints = Array.from({ length: options.endpoints }, (_, index) => {
      const port = 7_000 + index;
      return { id: `payments@${port}`, address: '10.0.0.1', port, weight: 1, zone: null, tags: [], meta: {} };
    });
    mesh.applyEndpoints({ service: 'payments', source: 'static', endpoints });
    let sequence = 0;
    const report = (): AgentReport => {
      const inputs = { snapshot: mesh.snapshot, discovery: [], now: clock.now(), epochMs: clock.epochMs() };
      const services = serviceReports({ ...inputs, connectionsOf: () => 0 });
      return orderReport(++sequence, { service: 'web', zone: options.zoneOf?.(caller) ?? null, services });
    };
    return { mesh, report };
  }

  function call(caller: number): void {
    const mesh = agents[caller]?.mesh;
    const view = mesh?.snapshot.services.get('payments');
    const picked = view === undefined ? null : pickEndpoint(view, clock.now(), random, []);
    if (mesh === undefined || view === undefined || picked === null) throw new Error('nothing to pick from');
    const { stats, endpoint } = picked;
    const { epoch } = stats;
    beginAttempt(stats, clock.now());
    calls++;
    clock.after(2 + 3 * random(), () => {
      const isFailing = options.isFailing(caller, endpoint.port - 7_000, clock.now());
      if (isFailing) failed++;
      const end = outcome({ status: isFailing ? 503 : 200, latencyMs: 5 });
      if (endAttempt(stats, end, epoch, view.policy, clock.now())) mesh.requestSweep('payments');
    });
  }

  const every = (intervalMs: number, firstMs: number, run: () => void): void => {
    const again = (): void => {
      run();
      clock.after(intervalMs, again);
    };
    clock.after(firstMs, again);
  };

  function judge(): void {
    changes.push(...book.judge(clock.now()));
    agents.forEach(({ mesh }, caller) => {
      const zone = options.zoneOf?.(caller) ?? null;
      const advisories = book.verdicts().flatMap(({ service, endpoint, since, cause, zone: concerned }) => {
        if (concerned !== null && concerned !== zone) return [];
        return [{ service, endpoint, id: `${endpoint} ${since}`, ttlMs: ADVISORY_TTL_MS, text: cause }];
      });
      const advice: AdvicePush = { advisories, isSuspended: book.isSuspended(nameOf(caller)) };
      if (options.hasWitnesses) clock.after(LATENCY_MS, () => mesh.applyAdvice(advice));
    });
  }

  agents.forEach(({ mesh, report }, caller) => {
    const suspicions = new Suspicions();
    const send = (): void => {
      const said = report();
      clock.after(LATENCY_MS, () => {
        book.hear(nameOf(caller), said, clock.now());
        const endpoints = said.services.flatMap((service) => service.endpoints);
        if (endpoints.some(({ isAccused }) => isAccused === true)) clock.after(20, judge);
        else if (endpoints.some(({ failuresInARow = 0 }) => failuresInARow > 0)) clock.after(200, judge);
      });
    };
    sendings[caller] = send;
    const callEveryMs = 1_000 / options.callsPerSecond;
    every(callEveryMs, callEveryMs * random(), () => call(caller));
    every(100, 100 * random(), () => mesh.sweep(clock.now()));
    every(2_000, 2_000 * random(), send);
    every(50, 50 * random(), () => {
      if (suspicions.look(mesh.snapshot, clock.now())) clock.after(50, send);
    });
  });
  every(1_000, 1_000, judge);
  clock.advance(options.forMs);
  const knowing = agents.flatMap(({ mesh }, caller) => (mesh.isSuspended ? [caller] : []));
  return { failed, calls, changes, ejections, ejectingCallers, suspended: book.suspended(), knowing };
}

export function nameOf(caller: number): string {
  return `web-${caller}`;
}

function balancing(policy: string): PolicyDocument {
  const spec = { loadBalancer: { policy } };
  return { apiVersion: 'outrigger.dev/v1', kind: 'MeshDefaults', metadata: { name: 'global' }, spec } as PolicyDocument;
}
