// Role × method × route, generated from the route table: every cell is asked over HTTP, and the answer must be the one that
// the table declares. For documents every kind is a cell of its own.

import t from 'tap';
import { POLICY_KINDS } from '#contract/policy/policy.ts';
import type { RouteEntry } from '../../control-plane/api/auth.ts';
import { type Access, mayCall, ROLES, type Role } from '../../control-plane/core/roles.ts';
import { startControlPlane } from '../support/control-plane-client.ts';

const SECRETS: Readonly<Record<Role, string>> = {
  viewer: 'viewer-secret-0123456789',
  editor: 'editor-secret-0123456789',
  admin: 'admin-secret-0123456789',
  agent: 'agent-secret-0123456789',
};
const TOKENS = `tokens:\n${ROLES.map((role) => `  - { name: ${role}s, role: ${role}, token: ${SECRETS[role]} }\n`).join('')}`;

/**
 * What each route is meant to be, written down a second time by hand: the table in the code and this one must be changed
 * together, so that a role is never widened in passing. HEAD follows GET.
 */
const MEANT: Readonly<Record<string, readonly Access[]>> = {
  'GET /v1/policies': ['viewer'],
  'GET /v1/policies/:kind/:name': ['viewer'],
  'PUT /v1/policies/:kind/:name': ['editor'],
  'DELETE /v1/policies/:kind/:name': ['editor'],
  'GET /v1/policies/:kind/:name/history': ['viewer'],
  'GET /v1/policies/:kind/:name/diff': ['viewer'],
  'POST /v1/policies/:kind/:name/rollback': ['editor'],
  'POST /v1/policies::validate': ['viewer'],
  'GET /v1/rollouts': ['viewer'],
  'POST /v1/rollouts/:id/pause': ['editor'],
  'POST /v1/rollouts/:id/resume': ['editor'],
  'POST /v1/rollouts/:id/abort': ['editor'],
  'GET /v1/backup': ['admin'],
  'GET /v1/effective/:caller/:service': ['viewer'],
  'GET /v1/agents': ['viewer'],
  'GET /v1/agents/:id': ['viewer'],
  'GET /v1/agents/:id/stream': ['agent'],
  'POST /v1/agents/:id/acks': ['agent'],
  'POST /v1/agents/:id/reports': ['agent'],
  'POST /v1/agents/:id/watches': ['agent'],
  'GET /v1/services': ['viewer'],
  'GET /v1/edges': ['viewer'],
  'GET /v1/services/:name': ['viewer'],
  'GET /v1/advisories': ['viewer'],
  'GET /v1/slo': ['viewer'],
  'GET /v1/slo/:service': ['viewer'],
  'GET /v1/events': ['viewer'],
  'GET /v1/tokens': ['admin'],
  'POST /v1/tokens': ['admin'],
  'DELETE /v1/tokens/:id': ['admin'],
  'GET /v1/whoami': ['any'],
  'GET /v1/audit': ['admin'],
  'GET /v1/audit/verify': ['admin'],
  'GET /v1/openapi.json': ['any'],
  'GET /metrics': ['viewer'],
  'GET /live': ['public'],
  'GET /ready': ['public'],
};
const RELAY = /^\/v1\/agents\/:id\/admin(\/\*?)?$/;
const PAGE = /^\/[a-z-]*(\.(js|css|svg|html))?$/;

function meant({ method, url }: RouteEntry): readonly Access[] | undefined {
  const verb = method === 'HEAD' ? 'GET' : method;
  if (RELAY.test(url)) return verb === 'GET' ? ['viewer'] : verb === 'POST' ? ['admin'] : undefined;
  return MEANT[`${verb} ${url}`] ?? (PAGE.test(url) && verb === 'GET' ? ['public'] : undefined);
}

/** Paths to ask, with every parameter filled in; one per kind where the route has a kind. */
function pathsOf(url: string): string[] {
  const filled = url
    .replace('::', ':')
    .replace(':id', 'orders-1')
    .replace(':name', 'payments')
    .replace(':caller', 'orders')
    .replace(':service', 'payments')
    .replace('*', 'ready');
  const kinds = url.includes(':kind') ? POLICY_KINDS : [''];
  return kinds.map((kind) => filled.replace(':kind', kind));
}

async function statusOf(url: string, method: string, secret: string | null): Promise<number> {
  const abort = new AbortController();
  const response = await fetch(url, {
    method,
    headers: secret === null ? {} : { authorization: `Bearer ${secret}` },
    signal: abort.signal,
  });
  // Streams would go on.
  abort.abort();
  return response.status;
}

t.test('the table says what was meant, and knows no other route', async (t) => {
  const { routes } = await startControlPlane(t);
  t.ok(routes.length >= Object.keys(MEANT).length, `${routes.length} entries`);
  for (const route of routes) t.same(route.access, meant(route), `${route.method} ${route.url}`);
  const seen = new Set(routes.map(({ method, url }) => `${method} ${url}`));
  for (const key of Object.keys(MEANT)) t.ok(seen.has(key), `${key} is there`);
});

t.test('every cell of role × method × route (× kind) answers as the table says', async (t) => {
  const folder = t.testdir({ 'tokens.yaml': TOKENS });
  const { url, routes } = await startControlPlane(t, { folder, tokensFile: `${folder}/tokens.yaml` });
  let cells = 0;
  const wrong: string[] = [];
  for (const { method, url: pattern, access } of routes) {
    for (const path of pathsOf(pattern)) {
      for (const role of ROLES) {
        const status = await statusOf(url + path, method, SECRETS[role]);
        cells++;
        const isLetIn = status !== 401 && status !== 403;
        if (isLetIn !== mayCall(role, access)) wrong.push(`${role} ${method} ${path}: ${status}`);
        if (status >= 500) wrong.push(`${role} ${method} ${path}: ${status}`);
      }
    }
  }
  t.same(wrong, []);
  t.comment(`${cells} cells`);
  t.ok(cells >= 200);
});

t.test('without a token only what is public answers', async (t) => {
  const folder = t.testdir({ 'tokens.yaml': TOKENS });
  const { url, routes } = await startControlPlane(t, { folder, tokensFile: `${folder}/tokens.yaml` });
  for (const { method, url: pattern, access } of routes) {
    const [path = ''] = pathsOf(pattern);
    const status = await statusOf(url + path, method, null);
    // Failures are counted, so that the later ones are 429.
    t.equal(status === 401 || status === 429, !access.includes('public'), `${method} ${path}: ${status}`);
  }
  t.equal(await statusOf(`${url}/no/such/path`, 'GET', SECRETS.editor), 403, 'unknown paths are for admins');
  t.equal(await statusOf(`${url}/no/such/path`, 'GET', SECRETS.admin), 404);
});

t.test('mayCall() knows the order of the roles, and keeps agents apart', async (t) => {
  const cells: [Role, Access, boolean][] = [
    ['viewer', 'viewer', true],
    ['viewer', 'editor', false],
    ['editor', 'viewer', true],
    ['editor', 'admin', false],
    ['admin', 'agent', true],
    ['agent', 'agent', true],
    ['agent', 'viewer', false],
    ['viewer', 'agent', false],
    ['editor', 'agent', false],
    ['agent', 'any', true],
    ['viewer', 'public', true],
  ];
  for (const [role, access, expected] of cells) t.equal(mayCall(role, [access]), expected, `${role} ${access}`);
  for (const role of ROLES) t.equal(mayCall(role, []), role === 'admin', `nothing declared, ${role}`);
});
