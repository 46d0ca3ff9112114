// What a browser must not do for a page that is not ours: reach the API by a rebound name, or from another origin.

import { isIPv4 } from 'node:net';
import type { FastifyRequest } from 'fastify';
import { ApiError } from './problem.ts';

/** Without tokens the Host must be a loopback name: otherwise a page whose name was rebound to 127.0.0.1 could write. */
export function refuseForeignHost(request: FastifyRequest): void {
  const host = hostnameOf(request.headers.host ?? '');
  if (host !== null && isLoopbackName(host)) return;
  throw new ApiError('OTR_ERR_FOREIGN_HOST', 'use 127.0.0.1, [::1] or localhost, or configure auth');
}

/** A browser says which page sends a request; only our own page may. */
export function refuseForeignOrigin(request: FastifyRequest): void {
  const { origin, host } = request.headers;
  if (origin === undefined) return;
  const isOurs = URL.canParse(origin) && new URL(origin).host === host?.toLowerCase();
  if (!isOurs) throw new ApiError('OTR_ERR_FOREIGN_HOST', 'requests from pages of another origin are refused');
}

function hostnameOf(host: string): string | null {
  return URL.canParse(`http://${host}/`) ? new URL(`http://${host}/`).hostname : null;
}

/** True for `localhost`, names under it, 127.0.0.0/8 and ::1. */
export function isLoopbackName(hostname: string): boolean {
  const name = hostname.toLowerCase();
  if (name === 'localhost' || name.endsWith('.localhost') || name === '[::1]') return true;
  return isIPv4(name) && name.startsWith('127.');
}
