// Where the relay goes for one agent: to the machine that the agent reported from, whatever else the report says. Otherwise an
// agent could name an address of the control plane's own network and have operators read it for them.

import { lookup } from 'node:dns/promises';
import { isIP, isIPv4 } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import type { AdminPlace } from '../core/views.ts';

/** A name that does not resolve by then is not reachable. */
const LOOKUP_TIMEOUT_MS = 2_000;

export type Target = { readonly ok: true; readonly origin: string } | { readonly ok: false; readonly why: string };

/**
 * The origin to connect to.
 *
 * What another control plane heard over loopback is on that one's machine: from here it can be asked only when both share it.
 *
 * An address must be the one that the report came from; for a report from this machine, any of its own. A name is resolved
 * here, once, and its address takes its place, so that it cannot mean something else a moment later. With TLS the name
 * stays, because the certificate is judged by it.
 *
 * @param place  its `adminUrl` is an origin over http or https, as the report schema made sure
 */
export async function targetOf({ adminUrl, reportedFrom, heardAt }: AdminPlace): Promise<Target> {
  if (heardAt !== null && heardAt !== hostname() && isLoopbackAddress(plain(reportedFrom))) {
    return {
      ok: false,
      why: `the agent is on the machine ${heardAt}, and reports to the control plane there: ask that one`,
    };
  }
  const url = new URL(adminUrl);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const addresses = isIP(host) === 0 ? await resolve(host) : [host];
  if (addresses.length === 0) return { ok: false, why: `the agent's admin address ${host} does not resolve` };
  const own = addresses.find((address) => isSameMachine(address, reportedFrom));
  if (own === undefined) {
    const why = `the agent reported the admin address ${host}, and reported it from ${plain(reportedFrom)}`;
    return { ok: false, why: `${why}: only its own address is asked` };
  }
  if (url.protocol === 'https:') return { ok: true, origin: url.origin };
  return { ok: true, origin: `http://${isIPv4(own) ? own : `[${own}]`}:${url.port === '' ? '80' : url.port}` };
}

/** Whether `address` belongs to the machine that `peer` belongs to, as far as can be known from here. */
export function isSameMachine(address: string, peer: string): boolean {
  const [one, other] = [plain(address), plain(peer)];
  if (one === other) return true;
  if (!isLoopbackAddress(other)) return false;
  // The peer is on this machine, and so is every address of its interfaces.
  const ours = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map((entry) => plain(entry.address)));
  return isLoopbackAddress(one) || ours.includes(one);
}

/** Without the prefix of an IPv4 address that came over an IPv6 socket, and without a zone. */
function plain(address: string): string {
  return address
    .toLowerCase()
    .replace(/^::ffff:(?=\d+\.)/, '')
    .replace(/%.*$/, '');
}

function isLoopbackAddress(address: string): boolean {
  return address === '::1' || (isIPv4(address) && address.startsWith('127.'));
}

async function resolve(name: string): Promise<string[]> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never[]>((done) => {
    timer = setTimeout(() => done([]), LOOKUP_TIMEOUT_MS);
  });
  // A name that does not exist is an error to lookup, and an empty list here.
  const found = lookup(name, { all: true }).then(
    (entries) => entries.map(({ address }) => address),
    () => [],
  );
  return Promise.race([found, late]).finally(() => clearTimeout(timer));
}
