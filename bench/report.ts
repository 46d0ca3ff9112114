// From samples to tables: medians, ratios to HAProxy and nginx, and the generated part of docs/benchmarks.md.

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { WORKLOADS } from './load.ts';
import type { Machine } from './machine.ts';
import type { CpuSample, IdleSample, LatencySample } from './measure.ts';

export interface Results {
  readonly machine: Machine;
  readonly versions: Readonly<Record<string, string>>;
  readonly plan: { readonly rounds: number; readonly seconds: number };
  readonly tookSeconds: number;
  readonly cpu: readonly CpuSample[];
  readonly latency: readonly LatencySample[];
  readonly idle: readonly IdleSample[];
}

function median(values: readonly number[]): number {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

const decimals = (value: number, digits = 1) => (Number.isNaN(value) ? '–' : value.toFixed(digits));

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((cell, column) => Math.max(cell.length, ...rows.map((row) => (row[column] ?? '').length)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |`;
  const rule = `| ${widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

/** One row a proxy, one column a workload; `read` takes the figure out of a sample. */
function byWorkload(results: Results, read: (sample: CpuSample) => number, digits: number): string {
  const workloads = WORKLOADS.map(({ name }) => name).filter((name) => results.cpu.some((s) => s.workload === name));
  const rows = Object.keys(results.versions).map((peer) => [
    peer,
    ...workloads.map((workload) => decimals(cellOf(results, peer, workload, read), digits)),
  ]);
  return table(['proxy', ...workloads], rows);
}

function cellOf(results: Results, peer: string, workload: string, read: (sample: CpuSample) => number): number {
  return median(results.cpu.filter((s) => s.peer === peer && s.workload === workload).map(read));
}

const cpuOf = (sample: CpuSample) => sample.cpuUs;

/** Ratio of medians; the machine is noisy, and rounds that took turns make the ratio steadier than either figure. */
function ratios(results: Results): string {
  const workloads = WORKLOADS.map(({ name }) => name).filter((name) => results.cpu.some((s) => s.workload === name));
  const cpu = (peer: string, workload: string) => cellOf(results, peer, workload, cpuOf);
  const rows = Object.keys(results.versions)
    .filter((peer) => peer !== 'outrigger')
    .map((peer) => [
      `CPU of outrigger ÷ ${peer}`,
      ...workloads.map((workload) => decimals(cpu('outrigger', workload) / cpu(peer, workload), 2)),
    ]);
  if (results.versions.nginx !== undefined) {
    const rate = (peer: string, workload: string) => cellOf(results, peer, workload, (s) => s.perSecond);
    rows.push([
      'requests/s of outrigger ÷ nginx',
      ...workloads.map((workload) => decimals(rate('outrigger', workload) / rate('nginx', workload), 2)),
    ]);
  }
  return table(['ratio', ...workloads], rows);
}

function latencyTable(results: Results): string {
  const haproxy = median(results.latency.filter(({ peer }) => peer === 'haproxy').map(({ p99Ms }) => p99Ms));
  const rows = Object.keys(results.versions).map((peer) => {
    const samples = results.latency.filter((sample) => sample.peer === peer);
    const p99 = median(samples.map(({ p99Ms }) => p99Ms));
    const unanswered = samples.reduce((sum, sample) => sum + sample.unanswered + sample.errors, 0);
    return [
      peer,
      decimals(median(samples.map(({ p50Ms }) => p50Ms)), 2),
      decimals(p99, 2),
      decimals(median(samples.map(({ p999Ms }) => p999Ms)), 2),
      decimals(p99 / haproxy, 2),
      String(unanswered),
    ];
  });
  return table(['proxy', 'p50 ms', 'p99 ms', 'p99.9 ms', 'p99 ÷ haproxy', 'failed or late'], rows);
}

function memoryTable(results: Results): string {
  const rows = Object.keys(results.versions).map((peer) => {
    const rss = results.cpu.filter((sample) => sample.peer === peer && sample.workload === '1 KiB');
    const idle = results.idle.find((sample) => sample.peer === peer);
    return [
      peer,
      decimals(median(rss.map(({ rssKib }) => rssKib)) / 1024, 0),
      String(idle?.held ?? '–'),
      decimals(idle?.kibPerConnection ?? Number.NaN),
      decimals(idle?.cpuPercent ?? Number.NaN),
    ];
  });
  return table(['proxy', 'RSS MiB at 1 KiB', 'idle held', 'KiB per idle connection', 'CPU % while idle'], rows);
}

export function renderResults(results: Results): string {
  const { machine, versions, plan } = results;
  const errors = results.cpu.reduce((sum, sample) => sum + sample.errors, 0);
  const parts = [
    `${machine.at} UTC, commit ${machine.commit}; ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGib} GiB, Linux ${machine.kernel}, Node ${machine.node};`,
    `load average at the start ${machine.load}. ${plan.rounds} rounds of ${plan.seconds} s, ${results.tookSeconds} s in all, ${errors} failed requests.`,
    `Versions: ${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.`,
  ];
  if (results.cpu.length > 0) {
    parts.push('', '### CPU of the proxy process, µs per request', '', byWorkload(results, cpuOf, 1));
    parts.push(
      '',
      '### Requests per second, closed loop',
      '',
      byWorkload(results, (s) => s.perSecond, 0),
    );
    parts.push('', '### Ratios', '', ratios(results));
  }
  if (results.latency.length > 0) {
    const rate = results.latency[0]?.rate ?? 0;
    parts.push('', `### Latency at ${rate} requests per second, 1 KiB, open loop`, '', latencyTable(results));
  }
  if (results.idle.length > 0) parts.push('', '### Memory and idle connections', '', memoryTable(results));
  return parts.join('\n');
}

/**
 * Replaces a generated part of docs/benchmarks.md; the prose around it is written by hand.
 *
 * @param mark  what the comment before the part says: `NAME: written by PROGRAM`; the one after it says `/NAME`
 */
export function writeDocs(mark: string, rendered: string): void {
  const file = fileURLToPath(new URL('../docs/benchmarks.md', import.meta.url));
  const text = readFileSync(file, 'utf8');
  const begin = `<!-- ${mark} -->`;
  const from = text.indexOf(begin);
  const to = text.indexOf(`<!-- /${mark.split(':')[0]} -->`);
  if (from < 0 || to < from) throw new Error(`${file} has lost its marks around "${mark}"`);
  writeFileSync(file, `${text.slice(0, from)}${begin}\n\n${rendered}\n\n${text.slice(to)}`);
}
