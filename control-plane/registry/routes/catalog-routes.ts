// /v1/catalog/… and /v1/status/…: the catalog as it stands, registrations of nodes that have no agent here, who leads.

import { type Decoded, decode, decodeBody } from '../decode.ts';
import { bad, buildService, isStatus, type Outcome, SERVICE_SHAPE } from '../definitions.ts';
import type { Answer, Call, Route } from '../http.ts';
import { blocking, json, refuseFilter, text } from '../http.ts';
import type { CheckInput, NodeRow, ServiceInput, ServiceRow } from '../state/model.ts';
import type { Store } from '../state/store.ts';
import { hasNodeMeta, hasTags, type StoreRoutesOptions } from './health-routes.ts';

const REGISTER_SHAPE = {
  ID: 'string',
  Node: 'string',
  Address: 'string',
  Datacenter: 'string',
  TaggedAddresses: 'map',
  NodeMeta: 'map',
  SkipNodeUpdate: 'bool',
  Service: 'object',
  Check: 'object',
  Checks: 'objects',
} as const;

const DEREGISTER_SHAPE = {
  Node: 'string',
  Address: 'string',
  Datacenter: 'string',
  ServiceID: 'string',
  CheckID: 'string',
  Namespace: 'string',
} as const;

const CATALOG_CHECK_SHAPE = {
  Node: 'string',
  CheckID: 'string',
  Name: 'string',
  Status: 'string',
  Notes: 'string',
  Output: 'string',
  ServiceID: 'string',
  ServiceName: 'string',
  ServiceTags: 'strings',
  Type: 'string',
  Definition: 'object',
  Namespace: 'string',
} as const;

export function catalogRoutes(options: StoreRoutesOptions & { readonly leader: () => string }): Route[] {
  const { store, waiters, datacenter } = options;
  const { catalog } = store;
  const watch = (call: Call, index: () => number, answer: () => Answer): Answer | Promise<Answer> =>
    refuseFilter(call) ??
    blocking(waiters, call, datacenter, { concerns: ({ table }) => table === 'catalog', index, answer });
  return [
    { path: '/v1/catalog/datacenters', GET: () => json([datacenter]) },
    { path: '/v1/status/leader', GET: () => json(options.leader()) },
    { path: '/v1/status/peers', GET: () => json([options.leader()]) },
    {
      path: '/v1/catalog/nodes',
      GET: (call) =>
        watch(
          call,
          () => catalog.tableIndex('nodes'),
          () => json(catalog.nodes().filter((node) => hasNodeMeta(call, node.Meta))),
        ),
    },
    {
      path: '/v1/catalog/services',
      GET: (call) =>
        watch(
          call,
          () => catalog.tableIndex('services'),
          () => json(catalog.serviceTags()),
        ),
    },
    {
      path: '/v1/catalog/service/',
      GET: (call) =>
        call.name === ''
          ? text(400, 'Missing service name')
          : watch(
              call,
              () => catalog.serviceIndex(call.name, false),
              () => json(listInstances(store, call)),
            ),
    },
    {
      path: '/v1/catalog/node/',
      GET: (call) =>
        call.name === ''
          ? text(400, 'Missing node name')
          : watch(
              call,
              () => (catalog.node(call.name) === null ? 0 : catalog.tableIndex('nodes', 'services')),
              () => json(describeNode(store, call.name)),
            ),
    },
    { path: '/v1/catalog/register', PUT: (call) => register(store, datacenter, call) },
    { path: '/v1/catalog/deregister', PUT: (call) => deregister(store, call) },
  ];
}

function listInstances(store: Store, call: Call): unknown[] {
  return store.catalog
    .instances(call.name)
    .filter(({ node, service }) => hasTags(call, service) && hasNodeMeta(call, node.Meta))
    .map(({ node, service }) => flatten(node, service));
}

function flatten(node: NodeRow, service: ServiceRow): Record<string, unknown> {
  const { ID, Node, Address, Datacenter, TaggedAddresses } = node;
  return {
    ID,
    Node,
    Address,
    Datacenter,
    TaggedAddresses,
    NodeMeta: node.Meta,
    ServiceKind: service.Kind ?? '',
    ServiceID: service.ID,
    ServiceName: service.Service,
    ServiceTags: service.Tags,
    ServiceAddress: service.Address,
    ...(service.TaggedAddresses === undefined ? {} : { ServiceTaggedAddresses: service.TaggedAddresses }),
    ServiceWeights: service.Weights,
    ServiceMeta: service.Meta ?? {},
    ServicePort: service.Port,
    ServiceEnableTagOverride: service.EnableTagOverride,
    ServiceProxy: service.Proxy,
    ServiceConnect: service.Connect,
    CreateIndex: service.CreateIndex,
    ModifyIndex: service.ModifyIndex,
  };
}

function describeNode(store: Store, name: string): unknown {
  const node = store.catalog.node(name);
  if (node === null) return null;
  const services = store.catalog.servicesOf(name).map(({ Node: _place, ...service }) => [service.ID, service] as const);
  return { Node: node, Services: Object.fromEntries(services) };
}

function register(store: Store, datacenter: string, call: Call): Answer {
  const decoded = decodeBody(call.body, REGISTER_SHAPE);
  if (!decoded.ok) return text(400, decoded.error);
  const given = decoded.value;
  const node = given.Node ?? '';
  if (node === '') return text(500, 'Must provide node');
  const isSkip = given.SkipNodeUpdate ?? false;
  if ((given.Address ?? '') === '' && !isSkip) return text(500, 'Must provide address if SkipNodeUpdate is not set');
  const service = given.Service === undefined ? null : readService(given.Service);
  if (service !== null && !service.ok) return text(service.status, service.error);
  const checks = readChecks(given, node);
  if (!checks.ok) return text(checks.status, checks.error);
  const error = store.write((index) => {
    if (!isSkip || store.catalog.node(node) === null) {
      store.catalog.ensureNode(index, {
        ID: given.ID ?? '',
        Node: node,
        Address: given.Address ?? '',
        Datacenter: datacenter,
        TaggedAddresses: given.TaggedAddresses ?? null,
        Meta: given.NodeMeta ?? null,
      });
    }
    if (service !== null) {
      const written = store.catalog.ensureService(index, node, service.value);
      if (!written.ok) return written.error;
    }
    for (const check of checks.value) {
      const written = store.catalog.ensureCheck(index, check);
      if (!written.ok) return written.error;
    }
    return null;
  });
  return error === null ? json(true) : text(500, error);
}

/** In the catalog's spelling the name is `Service`; it is not validated further, like in Consul. */
function readService(raw: Readonly<Record<string, unknown>>): Outcome<ServiceInput> {
  const decoded = decode(raw, { ...SERVICE_SHAPE, Service: 'string' });
  if (!decoded.ok) return bad(400, `Request decode failed: ${decoded.error}`);
  const { Service, ...rest } = decoded.value;
  if ((Service ?? '') === '') return bad(500, 'Must provide service name with ID');
  return buildService({ ...rest, Name: Service ?? '' });
}

function readChecks(given: Decoded<typeof REGISTER_SHAPE>, node: string): Outcome<CheckInput[]> {
  const checks: CheckInput[] = [];
  for (const raw of [...(given.Check === undefined ? [] : [given.Check]), ...(given.Checks ?? [])]) {
    const decoded = decode(raw, CATALOG_CHECK_SHAPE);
    if (!decoded.ok) return bad(400, `Request decode failed: ${decoded.error}`);
    const { CheckID = '', Name = '', Status, Notes = '', Output = '', ServiceID = '', Type = '' } = decoded.value;
    checks.push({
      Node: node,
      CheckID: CheckID === '' ? Name : CheckID,
      Name,
      Status: isStatus(Status) ? Status : 'critical',
      Notes,
      Output,
      ServiceID,
      ServiceName: '',
      ServiceTags: [],
      Type,
      Definition: {},
    });
  }
  return { ok: true, value: checks };
}

function deregister(store: Store, call: Call): Answer {
  const decoded = decodeBody(call.body, DEREGISTER_SHAPE);
  if (!decoded.ok) return text(400, decoded.error);
  const { Node: node = '', ServiceID: serviceId = '', CheckID: checkId = '' } = decoded.value;
  if (node === '') return text(500, 'Must provide node');
  store.write((index) => {
    if (serviceId !== '') store.catalog.deleteService(index, node, serviceId);
    else if (checkId !== '') store.catalog.deleteCheck(index, node, checkId);
    else store.catalog.deleteNode(index, node);
  });
  return json(true);
}
