// /v1/agent/…: registration, checks and maintenance. These answers carry no index; one service can be watched by its hash.

import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import { decodeBody, parseBody } from '../decode.ts';
import type { CheckDefinition } from '../definitions.ts';
import {
  buildCheck,
  buildService,
  buildServiceChecks,
  CHECK_SHAPE,
  isStatus,
  type Outcome,
  SERVICE_SHAPE,
} from '../definitions.ts';
import type { Answer, Call, Handler, Route } from '../http.ts';
import { DONE, json, readQueryOptions, refuseFilter, text } from '../http.ts';
import type { LocalAgent } from '../local-agent.ts';
import type { CheckStatus, ServiceInput } from '../state/model.ts';
import type { Waiters } from '../waiters.ts';
import { parseGoBool } from './go-bool.ts';

export interface AgentRoutesOptions {
  readonly agent: LocalAgent;
  readonly waiters: Waiters;
  /** Where this registry listens, once it does. */
  readonly address: () => { readonly host: string; readonly port: number };
}

export function agentRoutes(options: AgentRoutesOptions): Route[] {
  const { agent, waiters } = options;
  const updateTtl =
    (status: CheckStatus): Handler =>
    (call) =>
      settle(agent.beat(call.name, status, call.query.get('note') ?? ''));
  return [
    { path: '/v1/agent/self', GET: () => json(describeSelf(options)) },
    { path: '/v1/agent/members', GET: () => json([describeMember(options)]) },
    { path: '/v1/agent/services', GET: (call) => refuseFilter(call) ?? json(listServices(agent)) },
    { path: '/v1/agent/checks', GET: (call) => refuseFilter(call) ?? json(listChecks(agent)) },
    { path: '/v1/agent/service/register', PUT: (call) => registerService(agent, call) },
    { path: '/v1/agent/service/deregister/', PUT: (call) => deregisterService(agent, call) },
    { path: '/v1/agent/service/maintenance/', PUT: (call) => serviceMaintenance(agent, call) },
    { path: '/v1/agent/service/', GET: (call) => readService(agent, waiters, call) },
    { path: '/v1/agent/maintenance', PUT: (call) => maintenance(agent, null, call) },
    { path: '/v1/agent/check/register', PUT: (call) => registerCheck(agent, call) },
    {
      path: '/v1/agent/check/deregister/',
      PUT: (call) => {
        agent.deregisterCheck(call.name);
        return DONE;
      },
    },
    { path: '/v1/agent/check/pass/', PUT: updateTtl('passing') },
    { path: '/v1/agent/check/warn/', PUT: updateTtl('warning') },
    { path: '/v1/agent/check/fail/', PUT: updateTtl('critical') },
    { path: '/v1/agent/check/update/', PUT: (call) => updateCheck(agent, call) },
  ];
}

function settle(outcome: Outcome<null>): Answer {
  return outcome.ok ? DONE : text(outcome.status, outcome.error);
}

function registerService(agent: LocalAgent, call: Call): Answer {
  const decoded = decodeBody(call.body, SERVICE_SHAPE);
  if (!decoded.ok) return text(400, decoded.error);
  const service = buildService(decoded.value);
  if (!service.ok) return text(service.status, service.error);
  const checks = buildServiceChecks(decoded.value);
  if (!checks.ok) return text(checks.status, checks.error);
  const replace = call.query.get('replace-existing-checks');
  const isReplace = replace === '' || parseGoBool(replace ?? '') === true;
  agent.registerService(withTaggedAddresses(service.value), checks.value, isReplace);
  return DONE;
}

/** Consul's agent adds the address family's tags to a service with an address of its own. */
function withTaggedAddresses(service: ServiceInput): ServiceInput {
  const family = isIP(service.Address);
  if (family === 0) return service;
  const own = { Address: service.Address, Port: service.Port };
  return {
    ...service,
    TaggedAddresses: { [`lan_ipv${family}`]: own, [`wan_ipv${family}`]: own, ...service.TaggedAddresses },
  };
}

function deregisterService(agent: LocalAgent, call: Call): Answer {
  if (call.name === '') return text(500, 'ServiceID missing');
  agent.deregisterService(call.name);
  return DONE;
}

function serviceMaintenance(agent: LocalAgent, call: Call): Answer {
  if (call.name === '') return text(400, 'Missing service ID');
  return maintenance(agent, call.name, call);
}

function maintenance(agent: LocalAgent, serviceId: string | null, call: Call): Answer {
  const enable = call.query.get('enable');
  if (enable === null) return text(400, 'Missing value for enable');
  const isOn = parseGoBool(enable);
  if (isOn === null) return text(400, `Invalid value for enable: ${JSON.stringify(enable)}`);
  return settle(agent.setMaintenance(serviceId, isOn, call.query.get('reason') ?? ''));
}

function registerCheck(agent: LocalAgent, call: Call): Answer {
  const decoded = decodeBody(call.body, CHECK_SHAPE);
  if (!decoded.ok) return text(400, decoded.error);
  if ((decoded.value.Name ?? '') === '') return text(400, 'Missing check name');
  const check: Outcome<CheckDefinition> = buildCheck(decoded.value);
  if (!check.ok) return text(check.status, check.error);
  return settle(agent.registerCheck(check.value));
}

function updateCheck(agent: LocalAgent, call: Call): Answer {
  const parsed = parseBody(call.body);
  if (!parsed.ok) return text(400, parsed.error);
  const decoded = decodeBody(call.body, { Status: 'string', Output: 'string' });
  if (!decoded.ok) return text(400, decoded.error);
  const { Status = '', Output = '' } = decoded.value;
  if (!isStatus(Status)) return text(400, `Invalid check status: '${Status}'`);
  return settle(agent.beat(call.name, Status, Output));
}

function listServices(agent: LocalAgent): Record<string, unknown> {
  return Object.fromEntries(agent.services().map((service) => [service.ID, describeService(service)]));
}

function listChecks(agent: LocalAgent): Record<string, unknown> {
  return Object.fromEntries(
    agent.checks().map((check) => [check.CheckID, { ...check, CreateIndex: 0, ModifyIndex: 0 }]),
  );
}

/** One service, held back while its hash is the one the client knows. */
async function readService(agent: LocalAgent, waiters: Waiters, call: Call): Promise<Answer> {
  const options = readQueryOptions(call.query);
  if ('status' in options) return options;
  const known = call.query.get('hash') ?? '';
  const current = (): string => hashOf(agent.service(call.name));
  if (known !== '' && agent.service(call.name) !== null) {
    await waiters.wait({
      isFresh: () => current() !== known,
      concerns: ({ table }) => table === 'agent',
      waitMs: options.waitMs,
      signal: call.signal,
    });
  }
  const service = agent.service(call.name);
  if (service === null) return text(404, `unknown service ID: ${call.name}`);
  const hash = current();
  return json({ ...describeService(service), ContentHash: hash }, { 'x-consul-contenthash': hash });
}

function hashOf(service: ServiceInput | null): string {
  return createHash('sha256').update(JSON.stringify(service)).digest('hex').slice(0, 16);
}

/** The agent shows empty maps where the catalog shows null, and mesh fields only where there are any. */
function describeService(service: ServiceInput): Record<string, unknown> {
  const { Proxy: proxy, Connect: connect, Meta: meta, ...rest } = service;
  return {
    ...rest,
    Meta: meta ?? {},
    ...(service.Kind === undefined ? {} : { Proxy: proxy }),
    ...(typeof connect === 'object' && connect !== null && Object.keys(connect).length > 0 ? { Connect: connect } : {}),
  };
}

function describeSelf(options: AgentRoutesOptions): Record<string, unknown> {
  const { node } = options.agent;
  return {
    Config: {
      Datacenter: node.Datacenter,
      NodeName: node.Node,
      NodeID: node.ID,
      Revision: '',
      Server: true,
      Version: '1.8.7+outrigger',
    },
    DebugConfig: {},
    Coord: null,
    Member: describeMember(options),
    Stats: {},
    Meta: node.Meta ?? {},
  };
}

function describeMember(options: AgentRoutesOptions): Record<string, unknown> {
  const { node } = options.agent;
  const protocol = { ProtocolMin: 1, ProtocolMax: 5, ProtocolCur: 2, DelegateMin: 2, DelegateMax: 5, DelegateCur: 4 };
  return {
    Name: node.Node,
    Addr: node.Address,
    Port: options.address().port,
    Tags: { role: 'consul', dc: node.Datacenter, id: node.ID, build: '1.8.7+outrigger' },
    Status: 1,
    ...protocol,
  };
}
