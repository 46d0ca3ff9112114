// /v1/health/…: instances with their checks, what every sidecar watches.

import type { Answer, Call, Handler, Route } from '../http.ts';
import { blocking, json, refuseFilter, text } from '../http.ts';
import type { CheckRow, ServiceRow } from '../state/model.ts';
import type { Store } from '../state/store.ts';
import type { Waiters } from '../waiters.ts';
import { parseGoBool } from './go-bool.ts';

export interface StoreRoutesOptions {
  readonly store: Store;
  readonly waiters: Waiters;
  readonly datacenter: string;
}

export function healthRoutes({ store, waiters, datacenter }: StoreRoutesOptions): Route[] {
  const { catalog } = store;
  const watch = (call: Call, index: () => number, answer: () => Answer): Answer | Promise<Answer> =>
    refuseFilter(call) ??
    blocking(waiters, call, datacenter, { concerns: ({ table }) => table === 'catalog', index, answer });
  const checks =
    (missing: string, read: (name: string) => readonly CheckRow[]): Handler =>
    (call) =>
      call.name === ''
        ? text(400, missing)
        : watch(
            call,
            () => catalog.tableIndex('checks'),
            () => json(read(call.name)),
          );
  return [
    {
      path: '/v1/health/service/',
      GET: (call) => {
        if (call.name === '') return text(400, 'Missing service name');
        const passing = readPassing(call);
        if (passing === null) return text(400, 'Invalid value for ?passing');
        return watch(
          call,
          () => catalog.serviceIndex(call.name, true),
          () => json(serveHealth(store, call, passing)),
        );
      },
    },
    { path: '/v1/health/node/', GET: checks('Missing node name', (name) => catalog.checksOf(name)) },
    {
      path: '/v1/health/checks/',
      GET: checks('Missing service name', (name) =>
        catalog.checks().filter((check) => check.ServiceName.toLowerCase() === name.toLowerCase()),
      ),
    },
    {
      path: '/v1/health/state/',
      GET: checks('Missing check state', (state) =>
        catalog.checks().filter((check) => state === 'any' || check.Status === state),
      ),
    },
  ];
}

/** `?passing` alone means true. */
function readPassing(call: Call): boolean | null {
  const given = call.query.get('passing');
  if (given === null) return false;
  return given === '' ? true : parseGoBool(given);
}

function serveHealth(store: Store, call: Call, passing: boolean): unknown[] {
  return store.catalog
    .health(call.name)
    .filter(({ Node, Service }) => hasTags(call, Service) && hasNodeMeta(call, Node.Meta))
    .filter(({ Checks }) => !passing || Checks.every(({ Status }) => Status === 'passing'))
    .map(({ Node, Service: { Node: _place, ...service }, Checks }) => ({ Node, Service: service, Checks }));
}

/** Every `tag=` must be there, whatever its case. */
export function hasTags(call: Call, service: ServiceRow): boolean {
  const tags = service.Tags.map((tag) => tag.toLowerCase());
  return call.query.getAll('tag').every((tag) => tags.includes(tag.toLowerCase()));
}

/** Every `node-meta=key:value` must hold. */
export function hasNodeMeta(call: Call, meta: Readonly<Record<string, string>> | null): boolean {
  return call.query.getAll('node-meta').every((pair) => {
    const at = pair.indexOf(':');
    const [key, value] = at === -1 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
    return meta?.[key] === value;
  });
}
