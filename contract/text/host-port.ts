// `HOST:PORT` as configuration files write it.

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

const HOST = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/;
const IPV6 = /^[0-9A-Fa-f:.]{2,45}$/;

/** `127.0.0.1:15001`, `localhost:0`, `[::1]:80` (the host is then `::1`); null for anything else. Port 0 lets the kernel choose. */
export function parseHostPort(text: string): HostPort | null {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(text);
  if (match === null) return null;
  const [, ipv6, name, digits] = match;
  const port = Number(digits);
  if (port > 65_535) return null;
  if (ipv6 !== undefined) return IPV6.test(ipv6) && ipv6.includes(':') ? { host: ipv6, port } : null;
  return name !== undefined && HOST.test(name) ? { host: name, port } : null;
}

/** `10.0.0.7:7001`, `[::1]:80`. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** True for addresses that only this machine can reach: 127.0.0.0/8, ::1 and `localhost`. */
export function isLoopback(host: string): boolean {
  return host === '::1' || host.toLowerCase() === 'localhost' || /^127(\.[0-9]{1,3}){3}$/.test(host);
}
