// Turns an event `advice` of the stream into what the mesh can use. Pure. Advice that makes no sense is none: it never stops anything.

import type { AdvicePush, Advisory } from '#contract/frames.ts';

/** No control plane may keep an endpoint out for longer without saying so again. */
export const LONGEST_TTL_MS = 60_000;
const MAX_ADVISORIES = 1_000;
const MAX_TEXT = 1_000;

/** Null when it is no advice at all. */
export function decodeAdvice(data: string): AdvicePush | null {
  let frame: unknown;
  try {
    frame = JSON.parse(data);
  } catch {
    return null;
  }
  if (typeof frame !== 'object' || frame === null) return null;
  const { advisories, isSuspended }: Partial<Record<keyof AdvicePush, unknown>> = frame;
  if (!Array.isArray(advisories) || typeof isSuspended !== 'boolean') return null;
  return { advisories: advisories.slice(0, MAX_ADVISORIES).flatMap(advisoryOf), isSuspended };
}

function advisoryOf(entry: unknown): Advisory[] {
  if (typeof entry !== 'object' || entry === null) return [];
  const { service, endpoint, id, ttlMs, text }: Partial<Record<keyof Advisory, unknown>> = entry;
  if (typeof service !== 'string' || typeof endpoint !== 'string' || typeof id !== 'string' || id === '') return [];
  if (typeof text !== 'string' || typeof ttlMs !== 'number' || !(ttlMs > 0)) return [];
  return [{ service, endpoint, id, ttlMs: Math.min(ttlMs, LONGEST_TTL_MS), text: text.slice(0, MAX_TEXT) }];
}
