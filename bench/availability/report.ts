// From what callers saw to tables: availability of each way, and failures by fault.

import type { Machine } from '../machine.ts';
import { table } from '../report.ts';
import { type CallResult, PATIENCE_MS } from './callers.ts';
import { FAULT_TEXT, type Fault, type FaultKind, faultAt } from './schedule.ts';

export interface PeerResult {
  readonly name: string;
  /** `''` for none. */
  readonly version: string;
  readonly calls: readonly CallResult[];
}

export interface AvailabilityRun {
  readonly machine: Machine;
  readonly perSecond: number;
  readonly faults: readonly Fault[];
  readonly results: readonly PeerResult[];
  /** How often each POST was executed, by its id. */
  readonly executions: ReadonlyMap<string, number>;
}

const isGood = ({ outcome }: CallResult) => outcome === '200';

/** Percent with as many nines as there are, cut and not rounded: 99.9996 never reads 100. */
export function percentOf(good: number, all: number): string {
  if (all === 0) return '–';
  return `${(Math.floor((good / all) * 1e6) / 1e4).toFixed(4).replace(/\.?0+$/, '')} %`;
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** POSTs that instances executed more than once. */
function countTwice(calls: readonly CallResult[], executions: ReadonlyMap<string, number>): number {
  return calls.filter(({ id }) => (executions.get(id) ?? 0) > 1).length;
}

function summaryRow({ name, calls }: PeerResult, executions: ReadonlyMap<string, number>): string[] {
  const gets = calls.filter(({ method }) => method === 'GET');
  const posts = calls.filter(({ method }) => method === 'POST');
  const goodGets = gets.filter(isGood).length;
  const goodPosts = posts.filter(isGood).length;
  const latencies = gets.map(({ latencyMs }) => latencyMs).sort((a, b) => a - b);
  return [
    name,
    `${gets.length - goodGets} of ${gets.length}`,
    percentOf(goodGets, gets.length),
    `${posts.length - goodPosts} of ${posts.length}`,
    percentOf(goodPosts, posts.length),
    String(countTwice(posts, executions)),
    quantile(latencies, 0.99).toFixed(0),
    quantile(latencies, 0.999).toFixed(0),
  ];
}

function faultRows({ faults, results }: AvailabilityRun): string[][] {
  const failed = new Map<string, [gets: number, posts: number]>();
  const keyOf = (kind: FaultKind | null, name: string) => `${kind} ${name}`;
  for (const { name, calls } of results) {
    for (const call of calls) {
      if (isGood(call)) continue;
      const key = keyOf(faultAt(faults, call.startedMs)?.kind ?? null, name);
      const [gets, posts] = failed.get(key) ?? [0, 0];
      failed.set(key, call.method === 'GET' ? [gets + 1, posts] : [gets, posts + 1]);
    }
  }
  const kinds: (FaultKind | null)[] = [null, ...(Object.keys(FAULT_TEXT) as FaultKind[])];
  return kinds.map((kind) => [
    kind === null ? 'nothing' : FAULT_TEXT[kind],
    ...results.map(({ name }) => (failed.get(keyOf(kind, name)) ?? [0, 0]).join(' + ')),
  ]);
}

export function renderAvailability(run: AvailabilityRun): string {
  const { machine, perSecond, faults, results, executions } = run;
  const versions = results
    .filter(({ version }) => version !== '')
    .map(({ name, version }) => `${name} ${version}`)
    .join(', ');
  return [
    `${machine.at} UTC, commit ${machine.commit}; ${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node ${machine.node};`,
    `load average at the start ${machine.load}. ${faults.length} faults, ${perSecond} requests a second on each way, a caller's patience ${PATIENCE_MS} ms.`,
    `Versions: ${versions}.`,
    '',
    table(
      [
        'way',
        'failed GETs',
        'availability',
        'failed POSTs',
        'availability',
        'POSTs executed twice',
        'p99 ms',
        'p99.9 ms',
      ],
      results.map((result) => summaryRow(result, executions)),
    ),
    '',
    'Failed GETs + failed POSTs, by what befell the instances:',
    '',
    table(['fault', ...results.map(({ name }) => name)], faultRows(run)),
  ].join('\n');
}
