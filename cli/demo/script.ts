// What happens when, and with which policies: the demo's story as data. Pure.

/** Modes a sample app can be told to take; the list of examples/services/service.ts. */
export const FAULTS = ['slow', '500', 'blackhole', 'reset', 'crash'] as const;
export type Fault = (typeof FAULTS)[number];

/** Length of a round that the times below are written for. Other lengths stretch everything alike. */
export const DEFAULT_DURATION_MS = 50_000;

export type Step =
  | {
      readonly atMs: number;
      readonly kind: 'fault';
      readonly instance: string;
      readonly mode: Fault | 'ok';
      readonly text: string;
    }
  | { readonly atMs: number; readonly kind: 'policy'; readonly document: PolicyInput; readonly text: string };

export interface PolicyInput {
  readonly apiVersion: 'outrigger.dev/v1';
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: object;
}

export interface Break {
  readonly instance: string;
  readonly mode: Fault;
}

/**
 * One round, in order of time.
 *
 * @param breaks  replaces the usual three faults of payments-3 by one that lasts as long as all of them
 */
export function buildScript(durationMs: number, breaks: Break | null, round: number): Step[] {
  const scale = durationMs / DEFAULT_DURATION_MS;
  const at = (seconds: number): number => Math.round(seconds * 1000 * scale);
  const fault = (seconds: number, instance: string, mode: Fault | 'ok', text: string): Step => ({
    atMs: at(seconds),
    kind: 'fault',
    instance,
    mode,
    text,
  });
  const faults =
    breaks === null
      ? [
          fault(8, 'payments-3', '500', 'payments-3 answers 500'),
          fault(16, 'payments-3', 'slow', 'payments-3 answers after 2 s'),
          fault(24, 'payments-3', 'crash', 'payments-3 crashes'),
          fault(30, 'payments-3', 'ok', 'payments-3 is well again'),
        ]
      : [
          fault(8, breaks.instance, breaks.mode, `${breaks.instance} breaks: ${breaks.mode}`),
          fault(30, breaks.instance, 'ok', `${breaks.instance} is well again`),
        ];
  const policy = round % 2 === 0 ? 'peakEwma' : 'roundRobin';
  return [
    ...faults,
    {
      atMs: at(40),
      kind: 'policy',
      document: paymentsPolicy(policy),
      text: `policy change: payments is balanced by ${policy}`,
    },
  ];
}

/** What is seen, before it begins: one line for the mesh and one for each thing that will happen. */
export function describeStory(settings: StorySettings): string {
  const { durationMs, breaks, isCalm, perSecond } = settings;
  const mesh = `${perSecond} requests/s of end users → web → 2 × orders → 4 × payments, an agent beside each`;
  if (isCalm) return `${mesh}; nothing breaks by itself`;
  const steps = buildScript(durationMs, breaks, 0).map(
    ({ atMs, text }) => `${String(Math.round(atMs / 1000)).padStart(5)} s  ${text}`,
  );
  return [`${mesh}; what will happen:`, ...steps].join('\n');
}

interface StorySettings {
  readonly durationMs: number;
  readonly breaks: Break | null;
  readonly isCalm: boolean;
  readonly perSecond: number;
}

/** What the demo sets at the start so that a minute is enough to see everything; all other values are the defaults. */
export function initialPolicies(durationMs: number): PolicyInput[] {
  const base = Math.max(1, Math.round((5 * durationMs) / DEFAULT_DURATION_MS));
  return [
    {
      apiVersion: 'outrigger.dev/v1',
      kind: 'MeshDefaults',
      metadata: { name: 'global' },
      spec: {
        // Every endpoint gets its turn, so that a fault shows at once; peakEwma would soon hardly ask the one that fails.
        loadBalancer: { policy: 'roundRobin', slowStart: { window: `${base}s` } },
        // Everything in the demo is a GET, so a 500 may be asked again elsewhere.
        retries: { attempts: 2, on: ['connectFailure', 'reset', 'timeout', '5xx'] },
        outlierDetection: { interval: '1s', baseEjectionTime: `${base}s`, maxEjectionTime: `${base * 2}s` },
      },
    },
    paymentsPolicy('roundRobin'),
  ];
}

function paymentsPolicy(balancer: 'roundRobin' | 'peakEwma'): PolicyInput {
  return {
    apiVersion: 'outrigger.dev/v1',
    kind: 'ServicePolicy',
    metadata: { name: 'payments' },
    spec: {
      loadBalancer: { policy: balancer },
      timeouts: { connect: '250ms', backendRequest: '400ms' },
    },
  };
}
