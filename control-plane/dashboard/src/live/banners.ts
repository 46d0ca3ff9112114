// What is said across the top of every screen when a source of the page is not well. Pure.

import { count } from '../format.ts';
import type { MeshState } from './frames.ts';
import type { Link } from './live-mesh.ts';

export interface BannerText {
  readonly id: 'link' | 'store' | 'consul';
  readonly text: string;
}

export interface Sources {
  readonly link: Link;
  /** What is wrong with the control plane's store, or null. */
  readonly storeFault: string | null;
  readonly mesh: Pick<MeshState, 'services' | 'agents'>;
}

/**
 * Discovery that was not confirmed for longer than this is said aloud, ms. A blocking query in a quiet mesh is answered after 60 s
 * and up to a sixteenth more (agent/discovery/watcher.ts), so only twice that says that something is wrong.
 */
export const SLOW_DISCOVERY_MS = 120_000;
const NAMED_SERVICES = 4;

/** In the order they are shown; empty when all is well. */
export function bannersOf({ link, storeFault, mesh }: Sources): BannerText[] {
  const banners: BannerText[] = [];
  if (link === 'lost') {
    const text =
      'The control plane does not answer. What is shown is the last that was heard; agents keep their endpoints and policies, ' +
      'and traffic goes on.';
    banners.push({ id: 'link', text });
  } else if (storeFault !== null) {
    const text = `The policy store cannot be read: ${storeFault}. Agents keep their policies; nothing can be changed until it is back.`;
    banners.push({ id: 'store', text });
  }
  const text = heldText(mesh) ?? staleText(mesh);
  if (text !== null) banners.push({ id: 'consul', text });
  return banners;
}

/** Agents that hold on to what they know say why; the first of their sentences stands for all. */
function heldText({ services }: Sources['mesh']): string | null {
  const held = [...services.values()]
    .filter(({ holding }) => holding.length > 0)
    .sort((a, b) => (a.service < b.service ? -1 : 1));
  const [first] = held;
  if (first === undefined) return null;
  const names = held.slice(0, NAMED_SERVICES).map(({ service }) => service);
  const more = held.length > NAMED_SERVICES ? ` and ${held.length - NAMED_SERVICES} more` : '';
  const why = first.holding[0]?.reason.replace(/\.$/, '');
  return `Agents hold on to the last good endpoints of ${names.join(', ')}${more}, and traffic goes on. ${first.service}: ${why}.`;
}

function staleText({ agents }: Sources['mesh']): string | null {
  const isStale = (ageMs: number | null): boolean => ageMs !== null && ageMs > SLOW_DISCOVERY_MS;
  const stale = [...agents.values()].filter(
    ({ state, discovery }) => state !== 'gone' && discovery.some(({ ageMs }) => isStale(ageMs)),
  ).length;
  if (stale === 0) return null;
  const who = stale === 1 ? '1 agent has' : `${count(stale)} agents have`;
  return `${who} not heard from Consul for more than two minutes.`;
}
