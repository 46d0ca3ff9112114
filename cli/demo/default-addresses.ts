// While a demo of this user runs on this machine, commands that are given no address mean it: what it prints to try, and what a
// newcomer types next, then works as it stands.

import type { Command } from 'commander';
import type { Terminal } from '../terminal.ts';
import { type RunningDemo, readRunningDemo } from './running.ts';

/** Agent that is asked: it both is called and calls. */
const AGENT = 'orders-1';

/** Arguments and environment always win; who sits before a terminal is told. */
export function preferRunningDemo(program: Command, terminal: Terminal): void {
  program.hook('preAction', (_program, command) => {
    if (command.name() === 'demo') return; // its --consul is a choice, not an address to ask
    const unset = unsetAddresses(command);
    const demo = unset.length === 0 ? null : readRunningDemo();
    if (demo === null) return;
    const addresses = addressesOf(demo);
    for (const name of unset) command.setOptionValueWithSource(name, addresses[name], 'implied');
    if (terminal.isInteractive) terminal.err(`(the demo at ${addresses.controlPlane})\n`);
  });
}

const ADDRESSES = ['controlPlane', 'admin', 'consul'] as const;
type Addresses = Readonly<Record<(typeof ADDRESSES)[number], string>>;

function unsetAddresses(command: Command): (typeof ADDRESSES)[number][] {
  const known = new Set(command.options.map((option) => option.attributeName()));
  // A configuration file names its own addresses.
  if (known.has('config') && command.getOptionValue('config') !== undefined) return [];
  return ADDRESSES.filter((name) => {
    const source = command.getOptionValueSource(name);
    return known.has(name) && (source === undefined || source === 'default');
  });
}

function addressesOf({ controlPlanePort, adminPorts, consulUrl }: RunningDemo): Addresses {
  return {
    controlPlane: `http://127.0.0.1:${controlPlanePort}`,
    admin: `http://127.0.0.1:${adminPorts[AGENT]}`,
    consul: consulUrl,
  };
}
