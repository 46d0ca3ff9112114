// What the agent beside an endpoint says of its load, smoothed. Owns the utilisation fields of EndpointStats.

import type { EndpointStats } from './stats.ts';

/** Time constant of smoothing (Envoy). */
const TAU_MS = 5000;

/** How often zones are divided anew where their load decides. */
export const RESPREAD_MS = 1000;

/**
 * Takes in a report: part of the requests in flight that the application can do at once, 0 to 1 and above. The first is taken as it
 * is; later ones move the value by 1 − exp(−Δt / τ) of the difference. What is no number from 0 to 100 is not believed.
 */
export function recordUtilisation(stats: EndpointStats, text: string, now: number): void {
  const value = /^[0-9]{1,3}(\.[0-9]{1,4})?$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= 0 && value <= 100)) return;
  const ageMs = now - stats.utilisationAt;
  if (stats.utilisationAt < 0) stats.utilisation = value;
  else if (ageMs > 0) stats.utilisation += (value - stats.utilisation) * (1 - Math.exp(-ageMs / TAU_MS));
  if (stats.utilisationAt < 0 || ageMs > 0) stats.utilisationAt = now;
}
