// What a person reads when an address cannot be bound: which key, which address, why, and what to do. Decides nothing else.

import { formatHostPort, type HostPort } from '#contract/text/host-port.ts';

const ADVICE: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another process listens there (a second agent?): stop it, or choose another port',
  EADDRNOTAVAIL: 'this machine has no such address: choose one of its own, or 0.0.0.0 for all of them',
  EACCES: 'ports below 1024 need a privilege: choose a higher one',
  ENOTFOUND: 'the name does not resolve: write an address',
};

/**
 * @param key  of the configuration, `listeners.outbound`
 * @returns what `listen` answers; rejects with one line for the operator
 */
export async function openListener<T>(key: string, address: HostPort, listen: () => Promise<T>): Promise<T> {
  try {
    return await listen();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const why = ADVICE[code] ?? (error instanceof Error ? error.message : String(error));
    throw new Error(`${key}: cannot listen on ${formatHostPort(address)}: ${why}`, { cause: error });
  }
}
