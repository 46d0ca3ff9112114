// Availability as callers see it while instances fail: the same faults at the same moments for this agent, nginx, HAProxy, Envoy
// and a caller without a proxy, side by side in one run. Prints, rewrites its part of docs/benchmarks.md, and asserts nothing. Linux.
//
//   node bench/availability/main.ts [--rounds N] [--rate N] [--no-docs]

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { describeMachine, stopProcess } from '../machine.ts';
import { meshPeers, type RunningPeer, startPeer } from '../peers.ts';
import { writeDocs } from '../report.ts';
import { type CallResult, runLoad } from './callers.ts';
import * as configs from './configs.ts';
import { Instances } from './instances.ts';
import { type PeerResult, renderAvailability } from './report.ts';
import { type Fault, lengthOf, planFaults } from './schedule.ts';

const INSTANCES = 5;
/** The caller who chooses among the instances by chance and tries once. */
const NO_PROXY = 'no proxy';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '4' },
    rate: { type: 'string', default: '250' },
    'no-docs': { type: 'boolean', default: false },
  },
});

async function playFaults(faults: readonly Fault[], instances: Instances): Promise<void> {
  const startedAt = performance.now();
  for (const fault of faults) {
    await sleep(Math.max(0, fault.fromMs - (performance.now() - startedAt)));
    const [minute, second] = [Math.floor(fault.fromMs / 60_000), Math.round((fault.fromMs % 60_000) / 1000)];
    console.log(`${minute}:${String(second).padStart(2, '0')} ${fault.kind} of instance ${fault.instances.join(', ')}`);
    await instances.suffer(fault);
  }
}

async function main(): Promise<void> {
  const machine = describeMachine();
  const folder = mkdtempSync(join(tmpdir(), 'outrigger-availability-'));
  const executions = new Map<string, number>();
  const instances = await Instances.start(INSTANCES, (id) => executions.set(id, (executions.get(id) ?? 0) + 1));
  const running: RunningPeer[] = [];
  try {
    const peers = meshPeers(configs).filter(({ name, version }) => {
      if (version === null) console.log(`${name}: not installed, left out`);
      return version !== null;
    });
    for (const peer of peers) running.push(await startPeer(peer, folder, instances.ports));
    const targets = [
      ...running.map(({ name, port }) => ({ name, ports: [port] })),
      { name: NO_PROXY, ports: instances.ports },
    ];
    const faults = planFaults(Number(options.rounds), INSTANCES);
    const perSecond = Number(options.rate);
    const durationMs = lengthOf(faults);
    console.log(`${targets.length} ways at ${perSecond} requests/s each for ${Math.round(durationMs / 1000)} s`);
    const loads = targets.map(({ name, ports }) => runLoad({ ports, perSecond, durationMs, idPrefix: name }));
    const [, ...calls] = await Promise.all([playFaults(faults, instances), ...loads]);
    const results: PeerResult[] = targets.map(({ name }, index) => ({
      name,
      version: peers.find((peer) => peer.name === name)?.version ?? '',
      calls: calls[index] as readonly CallResult[],
    }));
    const text = renderAvailability({ machine, perSecond, faults, results, executions });
    console.log(`\n${text}`);
    if (!options['no-docs']) writeDocs('availability: written by bench/availability/main.ts', text);
  } finally {
    for (const peer of running) await stopProcess(peer.process);
    await instances.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
