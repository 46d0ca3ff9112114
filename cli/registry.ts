// `outrigger registry`: the embedded Consul-compatible registry alone, for a laptop or a test.

import { type Command, InvalidArgumentError } from 'commander';
import { formatHostPort, type HostPort, parseHostPort } from '#contract/text/host-port.ts';
import { systemClock, systemRandom } from '../agent/clock.ts';
import { firstSignal } from './children.ts';
import { followParent } from './parent.ts';
import { CommandFailure, EXIT, type Terminal } from './terminal.ts';

export function addRegistryCommand(program: Command, terminal: Terminal): void {
  program
    .command('registry')
    .description("run the embedded registry alone; it speaks the part of Consul's HTTP API that agents use")
    .option('--listen <host:port>', 'where to listen', hostPort, { host: '127.0.0.1', port: 8500 })
    .action(({ listen }: { listen: HostPort }) => runRegistry(listen, terminal));
}

async function runRegistry(address: HostPort, terminal: Terminal): Promise<void> {
  followParent();
  const { createRegistry } = await import('../control-plane/registry/registry.ts');
  const log = {
    error: (details: object, message: string): void => terminal.err(`${message} ${JSON.stringify(details)}\n`),
  };
  const registry = createRegistry({ clock: systemClock, random: systemRandom, log });
  const bound = await registry.listen(address).catch((error: NodeJS.ErrnoException) => {
    throw new CommandFailure(`cannot listen on ${formatHostPort(address)}: ${error.message}`, {
      exitCode: EXIT.usage,
      ...(error.code === 'EADDRINUSE' ? { next: 'a Consul may be there already; try --listen 127.0.0.1:0' } : {}),
      cause: error,
    });
  });
  terminal.out(`registry listening on http://${formatHostPort(bound)}\n`);
  await firstSignal(['SIGINT', 'SIGTERM'], new AbortController().signal);
  await registry.close();
}

function hostPort(text: string): HostPort {
  const address = parseHostPort(text);
  if (address === null) throw new InvalidArgumentError('It must be HOST:PORT, such as 127.0.0.1:8500.');
  return address;
}
