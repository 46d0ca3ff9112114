// Runs every experiment and prints its table as Markdown; docs/simulator.md holds the output between its marks.
//
//   node bench/simulator/main.ts [--write]     --write puts the tables into docs/simulator.md

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { compare, comparisonRows, fullest, hashFigures } from './experiments.ts';
import type { Workload } from './fleet.ts';
import { amplification, attemptsInOutage, BUDGET_NAMES } from './retry-budgets.ts';
import { blackHole, busyFleet, slowReplica, unequalFleet } from './workloads.ts';

const SEED = 20_160_316;
const PAGE = fileURLToPath(new URL('../../docs/simulator.md', import.meta.url));

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function workloadTable(workload: Workload, withinMs: number): string {
  const head = ['algorithm', `succeeded within ${withinMs} ms`, 'p50', 'p99', 'p99.9', 'ejections'];
  return table(head, comparisonRows(compare(workload, SEED), withinMs));
}

/** `3: 12 %, 4: 88 %`. */
function spread(loads: readonly number[]): string {
  const counts = new Map<number, number>();
  for (const load of loads) counts.set(load, (counts.get(load) ?? 0) + 1);
  return [...counts]
    .sort(([a], [b]) => a - b)
    .map(([load, count]) => `${load}: ${Math.round((count / loads.length) * 100)} %`)
    .join(', ');
}

function choicesTable(): string {
  const rows = [8, 12, 16].map((power) => {
    const n = 2 ** power;
    const trials = power < 16 ? 100 : 20;
    return [`2^${power}`, ...([1, 2, 3] as const).map((choices) => spread(fullest(n, choices, trials, SEED)))];
  });
  return table(['replicas', 'one choice', 'two choices', 'three choices'], rows);
}

function hashTable(): string {
  const parts = [0.001, 0.01, 0.05, 0.1];
  const figures = [
    hashFigures('maglev', 1000, 65_537, parts),
    hashFigures('maglev', 1000, 655_373, parts),
    hashFigures('ring', 1000, 0, parts),
  ];
  const head = [
    'table over 1000 backends',
    'fullest / mean',
    'emptiest / mean',
    ...parts.map((part) => `${part * 100} % fail`),
  ];
  const rows = figures.map(({ name, most, least, disruption }) => [
    name,
    most.toFixed(3),
    least.toFixed(3),
    ...disruption.map(({ moved }) => `${(moved * 100).toFixed(2)} %`),
  ]);
  return table(head, rows);
}

function budgetTable(): string {
  const rows = BUDGET_NAMES.map((name) => {
    const perLayer = [10, 100, 1000].map((rate) => attemptsInOutage(name, rate, 60, 50));
    const three = amplification(perLayer[2] ?? 0, 3);
    return [name, ...perLayer.map((attempts) => attempts.toFixed(2)), three.toFixed(2)];
  });
  return table(['budget', '10 a second', '100 a second', '1000 a second', 'three layers at 1000'], rows);
}

const tables: Readonly<Record<string, () => string>> = {
  'slow replica': () => workloadTable(slowReplica(), 1000),
  'two choices': choicesTable,
  'consistent hashing': hashTable,
  'busy fleet': () => workloadTable(busyFleet(), 100),
  'unequal fleet': () => workloadTable(unequalFleet(), 100),
  'retry budgets': budgetTable,
  'black hole': () => workloadTable(blackHole(), 1000),
};

let page = process.argv.includes('--write') ? readFileSync(PAGE, 'utf8') : null;
for (const [name, make] of Object.entries(tables)) {
  const text = make();
  console.log(`\n## ${name}\n\n${text}`);
  if (page === null) continue;
  const marks = new RegExp(`(<!-- begin ${name} -->\n)[\\s\\S]*?(<!-- end ${name} -->)`);
  if (!marks.test(page)) throw new Error(`docs/simulator.md has no marks for ${name}`);
  page = page.replace(marks, (_, begin: string, end: string) => `${begin}\n${text}\n\n${end}`);
}
if (page !== null) writeFileSync(PAGE, page);
