// The metric families of the agent but those of edges (edge-text.ts): names, help and where each value is read. docs/metrics.md lists the same set; a test
// compares both. Reads counters and sources, writes nothing.

import type { EndpointState } from '#contract/frames.ts';
import { limitOf } from '../core/limits/gate.ts';
import type { ServiceView } from '../core/snapshot.ts';
import type { EdgeCounters } from './edge.ts';
import { type EdgeTable, OTHER } from './edge-table.ts';
import type { MetricSources } from './metrics.ts';
import type { ReasonCounts } from './reason-counts.ts';

export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  samples(): Sample[];
}

export interface FamilyInputs {
  readonly edges: EdgeTable;
  readonly sources: MetricSources;
  readonly version: string;
  /** So far, by destination and reason. */
  readonly ejections: ReasonCounts;
  readonly detections: ReasonCounts;
  readonly faults: ReasonCounts;
  readonly mirrored: ReasonCounts;
  /** Destinations with series of their own in one gauge. */
  readonly maxDestinations: number;
}

const STATES: readonly EndpointState[] = ['serving', 'ejected', 'probing', 'draining'];

export function families(inputs: FamilyInputs): Family[] {
  return [...attemptFamilies(inputs), ...meshFamilies(inputs), ...agentFamilies(inputs)];
}

function attemptFamilies({ edges, ejections, detections, faults, mirrored }: FamilyInputs): Family[] {
  const sum = (label: string, counts: (edge: EdgeCounters) => Iterable<[string, number]>): Sample[] => {
    const samples = new Map<string, { labels: Record<string, string>; value: number }>();
    for (const edge of edges.all()) {
      // Inbound edges lead to the application itself; counting them here would mix two hops under one destination.
      if (edge.direction !== 'outbound') continue;
      for (const [word, count] of counts(edge)) {
        const key = `${edge.destination} ${word}`;
        const sample = samples.get(key);
        if (sample !== undefined) sample.value += count;
        else {
          const labels =
            label === '' ? { destination: edge.destination } : { destination: edge.destination, [label]: word };
          samples.set(key, { labels, value: count });
        }
      }
    }
    return [...samples.values()];
  };
  return [
    {
      name: 'outrigger_attempts_total',
      help: 'Attempts to endpoints that ended, outbound, by outcome.',
      type: 'counter',
      samples: () => sum('outcome', (edge) => edge.attempts()),
    },
    {
      name: 'outrigger_retries_total',
      help: 'Attempts that repeated an earlier one, by what the earlier one ended with.',
      type: 'counter',
      samples: () => sum('reason', (edge) => edge.retries()),
    },
    {
      name: 'outrigger_retry_budget_exhausted_total',
      help: 'Retries that were allowed by policy and not made because the retry budget was empty.',
      type: 'counter',
      samples: () => sum('', (edge) => [['', edge.retryBudgetExhausted]]),
    },
    {
      name: 'outrigger_ejections_total',
      help: 'Ejections of endpoints, by the detector that decided.',
      type: 'counter',
      samples: () => ejections.samples(),
    },
    {
      name: 'outrigger_detections_total',
      help: 'Findings against endpoints that ejected nobody: not enforced, or the weight was halved or restored instead.',
      type: 'counter',
      samples: () => detections.samples(),
    },
    {
      name: 'outrigger_injected_faults_total',
      help: 'Requests delayed or answered on purpose by a rule; overflow: spared because too many were held at once.',
      type: 'counter',
      samples: () => faults.samples(),
    },
    {
      name: 'outrigger_mirrored_requests_total',
      help: 'Copies of requests by the service they were for, and what became of them.',
      type: 'counter',
      samples: () => mirrored.samples(),
    },
  ];
}

function meshFamilies({ sources, maxDestinations }: FamilyInputs): Family[] {
  const services = () => [...(sources.snapshot()?.services.values() ?? [])];
  const ofService = (name: string, help: string, value: (view: ServiceView) => number): Family => ({
    name,
    help,
    type: 'gauge',
    samples: () =>
      bounded(
        services().map((view) => ({ labels: { destination: view.service }, value: value(view) })),
        Math.max,
      ),
  });
  const bounded = (samples: Sample[], merge: (a: number, b: number) => number) =>
    foldDestinations(samples, maxDestinations, merge);
  return [
    {
      name: 'outrigger_upstream_connections',
      help: 'Open connections to endpoints: active ones carry a request, idle ones wait in the pool.',
      type: 'gauge',
      samples: () =>
        bounded(
          sources.connections().flatMap(({ destination, active, idle }) => [
            { labels: { destination, state: 'active' }, value: active },
            { labels: { destination, state: 'idle' }, value: idle },
          ]),
          add,
        ),
    },
    {
      name: 'outrigger_endpoints',
      help: 'Endpoints known, by state.',
      type: 'gauge',
      samples: () =>
        bounded(
          services().flatMap(({ service, endpoints }) =>
            STATES.map((state) => ({
              labels: { destination: service, state },
              value: endpoints.filter(({ stats }) => stats.state === state).length,
            })),
          ),
          add,
        ),
    },
    {
      name: 'outrigger_panic',
      help: '1 while so few endpoints serve that ejections are ignored when picking.',
      type: 'gauge',
      samples: () =>
        bounded(
          services().map((view) => ({ labels: { destination: view.service }, value: view.isPanicking ? 1 : 0 })),
          Math.max,
        ),
    },
    ofService(
      'outrigger_requests_pending',
      'Requests that wait for room at a service.',
      ({ stats }) => stats.pending.size,
    ),
    ofService(
      'outrigger_limit_used_ratio',
      'Requests in flight as a part of those allowed at once.',
      ({ stats, policy }) => stats.inFlight / policy.limits.maxConcurrentRequests,
    ),
    ofService('outrigger_retry_budget_balance', 'Retries that the budget would pay for now.', ({ stats }) =>
      stats.retryBudget.balance(sources.now()),
    ),
    ofService(
      'outrigger_admission_reject_ratio',
      'Chance that admission control refuses a request, 0 to 1.',
      ({ stats, policy }) => (policy.admissionControl.isEnabled ? stats.admission.rejectProbability(sources.now()) : 0),
    ),
    {
      name: 'outrigger_discovery_age_seconds',
      help: 'Time since Consul last confirmed the endpoints in use, to whoever told them. Static endpoints have none.',
      type: 'gauge',
      samples: () =>
        bounded(
          sources
            .discovery()
            .flatMap(({ service, ageMs }) =>
              ageMs === null ? [] : [{ labels: { destination: service }, value: ageMs / 1000 }],
            ),
          Math.max,
        ),
    },
    {
      name: 'outrigger_discovery_source',
      help: 'Always 1; the label says where the endpoints in use came from.',
      type: 'gauge',
      samples: () =>
        bounded(
          sources
            .discovery()
            .map(({ service, source }) => ({ labels: { destination: service, origin: source }, value: 1 })),
          Math.max,
        ),
    },
  ];
}

function agentFamilies({ sources, version }: FamilyInputs): Family[] {
  const single = (name: string, help: string, type: 'gauge' | 'counter', value: () => number): Family => {
    return { name, help, type, samples: () => [{ labels: {}, value: value() }] };
  };
  return [
    single(
      'outrigger_policy_version_applied',
      'Version of the policies in force.',
      'gauge',
      () => sources.policy().appliedVersion,
    ),
    single(
      'outrigger_policy_version_wanted',
      'Newest version that the control plane asked for.',
      'gauge',
      () => sources.policy().wantedVersion,
    ),
    single('outrigger_control_plane_connected', '1 while the policy stream is open.', 'gauge', () =>
      sources.isControlPlaneConnected() ? 1 : 0,
    ),
    single('outrigger_log_lines_dropped_total', 'Log lines lost because their reader was too slow.', 'counter', () =>
      sources.droppedLogLines(),
    ),
    single(
      'outrigger_accuser_suspended',
      '1 while this agent ejects nobody, because it blames what other callers find well.',
      'gauge',
      () => (sources.isSuspended() ? 1 : 0),
    ),
    single('outrigger_self_grade', 'Share of the last seconds in which the agent ran freely, 0 to 1.', 'gauge', () => {
      return sources.stalls()?.grade ?? 1;
    }),
    single('outrigger_self_stalls_total', 'Times the event loop stood still for more than 10 ms.', 'counter', () => {
      return sources.stalls()?.count ?? 0;
    }),
    single('outrigger_self_stalled_seconds_total', 'Time in which the event loop stood still.', 'counter', () => {
      return (sources.stalls()?.totalMs ?? 0) / 1000;
    }),
    single(
      'outrigger_self_timeouts_total',
      'Timeouts that were the own doing and held against nobody.',
      'counter',
      () => {
        return sources.stalls()?.ownFailures ?? 0;
      },
    ),
    single(
      'outrigger_own_concurrency_limit',
      'Requests that the own application is given at once: the adaptive limit, or maxConcurrentRequests; 0 without one.',
      'gauge',
      () => {
        const own = sources.own();
        return own === null ? 0 : limitOf(own.policy, own.stats, true);
      },
    ),
    single('outrigger_own_requests_in_flight', 'Requests that the own application works on.', 'gauge', () => {
      return sources.own()?.stats.inFlight ?? 0;
    }),
    single('outrigger_own_requests_pending', 'Requests that wait for room at the own application.', 'gauge', () => {
      return sources.own()?.stats.pending.size ?? 0;
    }),
    {
      name: 'outrigger_build_info',
      help: 'Always 1; the versions are in the labels.',
      type: 'gauge',
      samples: () => [{ labels: { version, node_version: process.version }, value: 1 }],
    },
  ];
}

/** Destinations beyond the first `limit` share the series of `other`. */
function foldDestinations(samples: Sample[], limit: number, merge: (a: number, b: number) => number): Sample[] {
  const destinations = new Set(samples.map(({ labels }) => labels.destination));
  if (destinations.size <= limit) return samples;
  const own = new Set([...destinations].slice(0, limit));
  const folded = new Map<string, { labels: Record<string, string>; value: number }>();
  for (const { labels, value } of samples) {
    const kept = own.has(labels.destination) ? labels : { ...labels, destination: OTHER };
    const key = JSON.stringify(kept);
    const former = folded.get(key);
    if (former === undefined) folded.set(key, { labels: kept, value });
    else former.value = merge(former.value, value);
  }
  return [...folded.values()];
}

function add(a: number, b: number): number {
  return a + b;
}
