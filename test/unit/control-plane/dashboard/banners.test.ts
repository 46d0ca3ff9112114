// What the page says across the top, for each source that can be unwell.

import t from 'tap';
import type { AgentView } from '../../../../control-plane/core/agent-view.ts';
import type { ServiceView } from '../../../../control-plane/core/views.ts';
import { bannersOf, SLOW_DISCOVERY_MS, type Sources } from '../../../../control-plane/dashboard/src/live/banners.ts';
import type { Link } from '../../../../control-plane/dashboard/src/live/live-mesh.ts';

/** Parts of views: what a banner does not look at stays out. */
function service(name: string, ...holding: string[]): ServiceView {
  return { service: name, holding: holding.map((reason) => ({ agentId: 'web-1', reason })) } as unknown as ServiceView;
}

function agent(id: string, ageMs: number | null, state: AgentView['state'] = 'live'): AgentView {
  return {
    id,
    state,
    discovery: [{ service: 'payments', source: 'consul', ageMs, holding: null }],
  } as unknown as AgentView;
}

function sources(changes: {
  link?: Link;
  storeFault?: string;
  services?: readonly ServiceView[];
  agents?: readonly AgentView[];
}): Sources {
  const { link = 'live', storeFault = null, services = [], agents = [] } = changes;
  return {
    link,
    storeFault,
    mesh: {
      services: new Map(services.map((view) => [view.service, view])),
      agents: new Map(agents.map((view) => [view.id, view])),
    },
  };
}

t.test('nothing is said while all is well, or before the first answer', async (t) => {
  t.same(bannersOf(sources({ services: [service('payments')], agents: [agent('orders-1', 1_000)] })), []);
  t.same(bannersOf(sources({ link: 'connecting' })), []);
  t.same(bannersOf(sources({ link: 'signed out' })), []);
});

t.test('a control plane that is gone hides what it said about its store', async (t) => {
  const banners = bannersOf(sources({ link: 'lost', storeFault: 'disk I/O error' }));
  t.match(banners, [{ id: 'link', text: /does not answer.*traffic goes on\.$/ }]);
  t.equal(banners.length, 1);
});

t.test('a store that cannot be read is told with its own words', async (t) => {
  t.match(bannersOf(sources({ storeFault: 'disk I/O error' })), [
    { id: 'store', text: /: disk I\/O error\. Agents keep/ },
  ]);
});

t.test('Consul gone: the services that are held, by name, and the first reason', async (t) => {
  const why = 'Consul does not answer (ECONNREFUSED); keeping the 4 known';
  t.same(bannersOf(sources({ services: [service('payments', why, why), service('orders'), service('cart', why)] })), [
    {
      id: 'consul',
      text: `Agents hold on to the last good endpoints of cart, payments, and traffic goes on. cart: ${why}.`,
    },
  ]);
  const many = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => service(name, why));
  t.match(bannersOf(sources({ services: many })), [{ text: /endpoints of a, b, c, d and 2 more, and/ }]);
});

t.test('store and Consul can be gone at once, and both are said', async (t) => {
  const banners = bannersOf(sources({ storeFault: 'no leader', services: [service('payments', 'no answer')] }));
  t.same(
    banners.map(({ id }) => id),
    ['store', 'consul'],
  );
});

t.test('agents whose endpoints are old are counted, in the singular and in the plural', async (t) => {
  const old = SLOW_DISCOVERY_MS + 1;
  t.same(bannersOf(sources({ agents: [agent('a', old), agent('b', 0)] })), [
    { id: 'consul', text: '1 agent has not heard from Consul for more than two minutes.' },
  ]);
  t.same(bannersOf(sources({ agents: [agent('a', old), agent('b', old), agent('c', null)] })), [
    { id: 'consul', text: '2 agents have not heard from Consul for more than two minutes.' },
  ]);
});

t.test('a quiet blocking query, and an agent that is gone, are no news', async (t) => {
  const longestQuietMs = (60_000 * 17) / 16 + 5_000;
  t.ok(longestQuietMs < SLOW_DISCOVERY_MS);
  t.same(bannersOf(sources({ agents: [agent('a', SLOW_DISCOVERY_MS), agent('b', longestQuietMs)] })), []);
  t.same(bannersOf(sources({ agents: [agent('a', SLOW_DISCOVERY_MS * 2, 'gone')] })), []);
});

t.test('what is held says more than what is old, so only that is said', async (t) => {
  const banners = bannersOf(
    sources({ services: [service('payments', 'no answer')], agents: [agent('a', SLOW_DISCOVERY_MS * 2)] }),
  );
  t.match(banners, [{ id: 'consul', text: /^Agents hold on/ }]);
  t.equal(banners.length, 1);
});
