// The OpenAPI document, the route table and docs/api.md say the same: every route with its schema, its answers, its problems.

import { readFileSync } from 'node:fs';
import t from 'tap';
import type { RouteEntry } from '../../control-plane/api/auth.ts';
import { API_ERRORS } from '../../control-plane/api/problem.ts';
import { rolesOf } from '../../control-plane/core/roles.ts';
import { ask, startControlPlane } from '../support/control-plane-client.ts';

interface Operation {
  readonly summary?: string;
  readonly tags?: readonly string[];
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly required?: boolean }[];
  readonly requestBody?: object;
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content?: object }>>;
  readonly 'x-outrigger-roles'?: readonly string[];
  readonly security?: readonly object[];
}

interface OpenApi {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, object>> };
}

/** Reads that answer one thing and not a list; everything else under /v1 that is read has pages. */
const ONE_THING = [
  '/v1/policies/:kind/:name',
  '/v1/policies/:kind/:name/diff',
  '/v1/rollouts',
  '/v1/backup',
  '/v1/effective/:caller/:service',
  '/v1/agents/:id',
  '/v1/agents/:id/stream',
  '/v1/services/:name',
  '/v1/slo/:service',
  '/v1/advisories',
  '/v1/events',
  '/v1/whoami',
  '/v1/audit/verify',
  '/v1/openapi.json',
];
/** Names that probes and scrapers look for; the page is served beside them. */
const UNVERSIONED = ['/metrics', '/live', '/ready'];

const isPage = (url: string) => /^\/[a-z-]*(\.(js|css|svg|html))?$/.test(url) && !UNVERSIONED.includes(url);
const isRelay = (url: string) => /\/admin(\/\*?)?$/.test(url);
/** The path says it all. */
const isCommand = (url: string) => /\/:id\/(pause|resume|abort)$/.test(url);
const inDocument = (url: string) =>
  url
    .replace('::', ':')
    .replace(/\/:(\w+)/g, '/{$1}')
    .replace('*', '{*}');

async function load(t: Parameters<typeof startControlPlane>[0]): Promise<{ api: OpenApi; routes: RouteEntry[] }> {
  const { url, routes } = await startControlPlane(t);
  const { body } = await ask(`${url}/v1/openapi.json`, 'GET');
  return { api: body as unknown as OpenApi, routes: routes.filter((route) => !isPage(route.url)) };
}

t.test('everything is under /v1, but for what others look for by name', async (t) => {
  const { routes } = await load(t);
  for (const { url } of routes) t.ok(url.startsWith('/v1/') || UNVERSIONED.includes(url), url);
});

t.test('every route is in the document, with a schema, its answers and its problems', async (t) => {
  const { api, routes } = await load(t);
  t.equal(api.openapi, '3.1.0');
  t.same(Object.keys((api.components.schemas.Problem as { properties: object }).properties).sort(), [
    'code',
    'detail',
    'problems',
    'status',
    'title',
    'type',
  ]);
  let seen = 0;
  for (const { method, url, access } of routes) {
    if (method === 'HEAD') continue;
    const name = `${method} ${url}`;
    const operation = api.paths[inDocument(url)]?.[method.toLowerCase()];
    if (operation === undefined) {
      t.fail(`${name} is not in the document`);
      continue;
    }
    seen++;
    t.ok(operation.summary && operation.tags?.length === 1, `${name} has a summary and a tag`);
    const isPublic = access.includes('public');
    t.same(operation['x-outrigger-roles'], isPublic ? ['public'] : rolesOf(access), `${name} names its roles`);
    t.equal(operation.security?.length === 0, isPublic, `${name}: token or none`);
    const statuses = Object.keys(operation.responses).map(Number);
    const good = Object.entries(operation.responses).filter(([status]) => Number(status) < 300);
    t.ok(good.length > 0, `${name} says how it succeeds`);
    for (const [status, { content }] of good)
      t.ok(content !== undefined || status === '204' || isRelay(url), `${name} ${status} has a schema`);
    const wanted = [400, 403, 500, 503, ...(isPublic ? [] : [401, 429]), ...(url.includes(':') ? [404] : [])];
    for (const status of wanted) t.ok(statuses.includes(status), `${name} can answer ${status}`);
    for (const [status, { content }] of Object.entries(operation.responses)) {
      if (Number(status) < 400) continue;
      t.same(
        content,
        { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
        `${name} ${status} is a problem`,
      );
    }
    for (const [, parameter] of url.replace('::', ' ').matchAll(/:(\w+)/g)) {
      const described = operation.parameters?.find((one) => one.in === 'path' && one.name === parameter);
      t.ok(described?.required, `${name} describes ${parameter}`);
    }
    const takesBody = (method === 'PUT' || method === 'POST') && !isRelay(url) && !isCommand(url);
    t.equal(operation.requestBody !== undefined, takesBody, `${name}: a body or none`);
  }
  t.equal(seen, routes.filter(({ method }) => method !== 'HEAD').length);
});

t.test('every list has pages: limit, cursor, nextCursor', async (t) => {
  const { url: base, routes } = await startControlPlane(t);
  const { body } = await ask(`${base}/v1/openapi.json`, 'GET');
  const { paths } = body as unknown as OpenApi;
  const lists = routes.filter(
    ({ method, url }) => method === 'GET' && url.startsWith('/v1/') && !ONE_THING.includes(url) && !isRelay(url),
  );
  t.ok(lists.length >= 6, `${lists.length} lists`);
  for (const { url } of lists) {
    const names = paths[inDocument(url)]?.get?.parameters?.filter((one) => one.in === 'query').map(({ name }) => name);
    t.ok(names?.includes('limit') && names.includes('cursor'), `${url} describes limit and cursor`);
  }
  for (const name of ['a', 'b', 'c']) {
    const policy = { apiVersion: 'outrigger.dev/v1', kind: 'ServicePolicy', metadata: { name }, spec: {} };
    await ask(`${base}/v1/policies/ServicePolicy/${name}`, 'PUT', policy);
  }
  for (const { url } of lists) {
    const path = base + url.replace(':kind', 'ServicePolicy').replace(':name', 'a');
    const whole = (await ask(path, 'GET')).body;
    t.equal(whole.nextCursor, null, `${url}: all on one page`);
    for (const query of [
      'limit=0',
      'limit=1001',
      'limit=x',
      'limit=-1',
      'limit=1&limit=2',
      `cursor=${'x'.repeat(600)}`,
    ]) {
      t.match(await ask(`${path}?${query}`, 'GET'), { status: 400, body: { code: 'OTR_ERR_BAD_REQUEST' } }, query);
    }
  }
  const names: unknown[] = [];
  for (let cursor = ''; ; ) {
    const page = (await ask(`${base}/v1/policies?limit=1${cursor}`, 'GET')).body;
    names.push(...(page.policies as { id: string }[]).map(({ id }) => id));
    if (page.nextCursor === null) break;
    cursor = `&cursor=${encodeURIComponent(String(page.nextCursor))}`;
  }
  t.same(names, ['ServicePolicy/a', 'ServicePolicy/b', 'ServicePolicy/c']);
});

t.test('docs/api.md lists the errors and the routes that there are, no more and no fewer', async (t) => {
  const { routes } = await load(t);
  const page = readFileSync(new URL('../../docs/api.md', import.meta.url), 'utf8');
  const errors = [...page.matchAll(/^\| `(OTR_ERR_\w+)` \| (\d+) \| (.+) \|$/gm)].map(([, code, status, title]) => [
    code,
    [Number(status), title],
  ]);
  t.same(Object.fromEntries(errors), API_ERRORS);
  const written = [...page.matchAll(/^\| (GET|PUT|POST|DELETE|PATCH) \| `([^`]+)` \| ([\w, ]+) \|/gm)].map(
    ([, method, path, role]) => `${method} ${path} ${role}`,
  );
  const served = routes
    .filter(({ method, url }) => method !== 'HEAD' && !/\/admin\/?$/.test(url))
    .map(({ method, url, access }) => `${method} ${url.replace('::', ':')} ${access.join(', ')}`);
  t.same(written.sort(), served.sort());
});
