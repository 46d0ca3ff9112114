// Which of a rule's weighted backends a request goes to: by chance, or by its key. Pure; allocates nothing.

import type { RouteBackend, RouteRule } from '#contract/policy/route-rule.ts';
import type { Random } from '../../clock.ts';
import { hash32, mix32 } from '../hash.ts';
import { hashOfRequest } from '../hash-key.ts';
import { NO_HASH } from '../pick.ts';
import type { HeaderReader } from '../route.ts';

/** Another number than the one that ringHash and maglev make of the same key, so that the two choices do not go together. */
const SPLIT_SEED = 0x5bd1e995;

/**
 * Index of the backend that gets a request, in proportion to the weights.
 *
 * @param random  drawn once when the rule has two backends or more and the request no key, else not at all
 * @param source  address of whoever connected
 */
export function chooseBackend(rule: RouteRule, random: Random, header: HeaderReader, source: string): number {
  if (rule.backends.length < 2) return 0;
  const key = hashOfRequest(rule.sticky, header, source);
  return key === NO_HASH ? chooseByChance(rule.backends, random) : chooseByKey(rule.backends, key);
}

function chooseByChance(backends: RouteRule['backends'], random: Random): number {
  let total = 0;
  for (const { weight } of backends) total += weight;
  let left = random() * total;
  let chosen = 0;
  for (let index = 0; index < backends.length; index++) {
    const weight = backends[index]?.weight ?? 0;
    if (weight === 0) continue;
    chosen = index;
    left -= weight;
    if (left < 0) break;
  }
  return chosen;
}

/**
 * Weighted rendezvous hashing: every backend draws a number u from (key, its name) and has the score -weight / ln u; the highest
 * gets the key. The number of a backend does not depend on the others, so a key moves only to a backend whose weight grew or
 * away from one whose weight shrank, relative to the rest. When one weight changes, the share that moves is the change of that
 * backend's share, which is the least possible; when several change, at most the sum of all changes. Cumulative ranges would
 * move keys between backends that nobody touched.
 *
 * @param key  32-bit hash
 * @see Schindelhauer and Schomaker, weighted distributed hash tables (the logarithmic method)
 */
export function chooseByKey(backends: RouteRule['backends'], key: number): number {
  const seeded = mix32(key ^ SPLIT_SEED);
  let best = 0;
  let bestScore = -1;
  for (let index = 0; index < backends.length; index++) {
    const backend = backends[index] as RouteBackend; // index < length
    const drawn = (mix32(seeded ^ hashOfBackend(backend)) + 0.5) / 2 ** 32;
    const score = -backend.weight / Math.log(drawn);
    if (score > bestScore) {
      best = index;
      bestScore = score;
    }
  }
  return best;
}

function hashOfBackend({ service, subset }: RouteBackend): number {
  return subset === null ? hash32(service) : hash32(subset, hash32(service));
}
