// Config entries of Consul as policy documents: service-defaults, service-resolver, service-splitter, service-router and
// service-intentions. Pure. What has no counterpart is noted, never dropped in silence.

import { parsePolicy } from '../policy/parse-policy.ts';
import type { PolicyDocument } from '../policy/policy.ts';
import type { Problem } from '../problem.ts';
import { Fields, type ImportNote } from './fields.ts';
import { routerRules, splitterRule } from './routes.ts';

export interface Imported {
  /** In the order in which they can be applied: a subset is defined before a route names it. */
  readonly documents: readonly PolicyDocument[];
  readonly notes: readonly ImportNote[];
  /** Documents that came out but are not valid, with the reason; not among `documents`. */
  readonly refused: readonly { readonly id: string; readonly problems: readonly Problem[] }[];
}

type Json = Record<string, unknown>;

/** Specs by kind and name. A service may have a policy from several entries. */
class Drafts {
  readonly policies = new Map<string, Json>();
  readonly routes = new Map<string, Json[]>();
  readonly intentions = new Map<string, Json>();

  policy(service: string, changes: Json): void {
    this.policies.set(service, merged(this.policies.get(service) ?? {}, changes));
  }
}

/**
 * Total: never throws.
 *
 * @param input  one entry, a list of them, or what `GET /v1/config/:kind` answers; parsed JSON
 */
export function importConsulEntries(input: unknown): Imported {
  const notes: ImportNote[] = [];
  const drafts = new Drafts();
  const splits = new Map<string, Json>();
  for (const value of Array.isArray(input) ? input : [input]) {
    const head = new Fields(value, 'entry', '', []);
    const [kind = '', name = ''] = [head.text('Kind'), head.text('Name')];
    const service = name.toLowerCase();
    const entry = new Fields(value, `${kind}/${name}`, '', notes);
    if (kind === 'service-router') drafts.routes.set(service, routerRules(entry, service));
    else if (kind === 'service-splitter') splits.set(service, splitterRule(entry, service));
    else if (kind === 'service-resolver') readResolver(entry, service, drafts);
    else if (kind === 'service-defaults') readDefaults(entry, service, drafts);
    else if (kind === 'service-intentions') readIntentions(entry, service, drafts);
    else {
      entry.note('', `${kind === '' ? 'an entry without Kind' : `kind ${kind}`} is not read`);
      continue;
    }
    entry.rest();
  }
  for (const [service, rule] of splits) {
    // Consul asks the router first and then the splitter of the service that the route names: the last rule is for the rest.
    drafts.routes.set(service, [...(drafts.routes.get(service) ?? []), rule]);
  }
  return { ...documentsOf(drafts), notes };
}

function readResolver(entry: Fields, service: string, drafts: Drafts): void {
  const subsets = Object.fromEntries(
    entry.entries('Subsets').map(([name, subset]) => {
      const filter = subset.text('Filter');
      if (filter === undefined) subset.note('Filter', 'a subset without a filter is the whole service');
      subset.rest();
      return [name, { filter: filter ?? 'Service.ID is not empty' }];
    }),
  );
  const connect = entry.duration('ConnectTimeout');
  const request = entry.duration('RequestTimeout');
  const loadBalancer = entry.within('LoadBalancer');
  drafts.policy(service, {
    ...(Object.keys(subsets).length === 0 ? {} : { subsets }),
    ...timeoutsOf({ connect, request }),
    ...(loadBalancer === null ? {} : { loadBalancer: balancerOf(loadBalancer) }),
  });
  loadBalancer?.rest();
  const subset = entry.text('DefaultSubset');
  if (subset !== undefined && !drafts.routes.has(service)) {
    drafts.routes.set(service, [{ name: 'default-subset', backendRefs: [{ name: service, subset }] }]);
  }
  const target = entry.within('Redirect');
  const other = target?.text('Service');
  target?.rest();
  if (other !== undefined)
    drafts.routes.set(service, [{ name: 'redirect', backendRefs: [{ name: other.toLowerCase() }] }]);
}

const POLICIES: Readonly<Record<string, string>> = {
  least_request: 'leastRequest',
  round_robin: 'roundRobin',
  random: 'random',
  ring_hash: 'ringHash',
  maglev: 'maglev',
};

function balancerOf(from: Fields): Json {
  const word = from.text('Policy');
  const policy = word === undefined ? undefined : POLICIES[word];
  if (word !== undefined && policy === undefined) from.note('Policy', `${word} has no counterpart and is left out`);
  const choices = from.within('LeastRequestConfig');
  const choiceCount = choices?.number('ChoiceCount');
  choices?.rest();
  const hashOn = from.each('HashPolicies').flatMap((hash): Json[] => {
    const [field, name] = [hash.text('Field'), hash.text('FieldValue')];
    const isSource = hash.flag('SourceIP');
    // The first source that a request has is its key here, which is what Terminal asks for.
    hash.flag('Terminal');
    hash.rest();
    if (isSource) return [{ source: true }];
    if ((field === 'header' || field === 'cookie') && name !== undefined) return [{ [field]: name }];
    hash.note('Field', `${field ?? 'nothing'} has no counterpart and is left out`);
    return [];
  });
  return {
    ...(policy === undefined ? {} : { policy }),
    ...(choiceCount === undefined ? {} : { choiceCount: Math.min(8, Math.max(2, choiceCount)) }),
    ...(hashOn.length === 0 ? {} : { hashOn }),
  };
}

function timeoutsOf({ connect, request }: { connect: string | undefined; request: string | undefined }): Json {
  if (connect === undefined && request === undefined) return {};
  return { timeouts: { ...(connect === undefined ? {} : { connect }), ...(request === undefined ? {} : { request }) } };
}

/** UpstreamConfig of a caller becomes overrides for that caller at each service it names. */
function readDefaults(entry: Fields, service: string, drafts: Drafts): void {
  const protocol = entry.text('Protocol');
  if (protocol !== undefined && protocol !== 'http' && protocol !== 'tcp') {
    entry.note('Protocol', `${protocol} is not carried; HTTP/1.1 and TCP are`);
  }
  const request = entry.milliseconds('LocalRequestTimeoutMs');
  if (request !== undefined) drafts.policy(service, { timeouts: { request } });
  const upstreams = entry.within('UpstreamConfig');
  if (upstreams === null) return;
  for (const one of upstreams.each('Overrides')) {
    const name = one.text('Name')?.toLowerCase();
    const sections = upstreamSections(one);
    one.rest();
    if (name !== undefined && Object.keys(sections).length > 0) {
      drafts.policy(name, { overrides: [{ caller: service, ...sections }] });
    }
  }
  const defaults = upstreams.within('Defaults');
  if (defaults !== null)
    defaults.note('', `defaults of one caller for all it calls: write an override for ${service} where they matter`);
  upstreams.rest();
}

function upstreamSections(from: Fields): Json {
  const limits = from.within('Limits');
  const passive = from.within('PassiveHealthCheck');
  const found: Json = {
    ...timeoutsOf({ connect: from.milliseconds('ConnectTimeoutMs'), request: undefined }),
    ...section('limits', {
      maxConnections: limits?.number('MaxConnections'),
      maxPendingRequests: limits?.number('MaxPendingRequests'),
      maxConcurrentRequests: limits?.number('MaxConcurrentRequests'),
    }),
    ...section('outlierDetection', {
      interval: passive?.duration('Interval'),
      consecutive5xxErrors: passive?.number('MaxFailures'),
      enforcingConsecutive5xx: passive?.number('EnforcingConsecutive5xx'),
      maxEjectionPercent: passive?.number('MaxEjectionPercent'),
      baseEjectionTime: passive?.duration('BaseEjectionTime'),
    }),
  };
  limits?.rest();
  passive?.rest();
  return found;
}

function section(name: string, values: Readonly<Record<string, unknown>>): Json {
  const said = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
  return Object.keys(said).length === 0 ? {} : { [name]: said };
}

function readIntentions(entry: Fields, service: string, drafts: Drafts): void {
  const sources = entry.each('Sources').flatMap((source): Json[] => {
    const name = source.text('Name');
    const action = source.text('Action');
    // Consul computes it: an exact name goes before *, as here.
    source.number('Precedence');
    source.text('Type');
    source.text('Description');
    const permissions = source.each('Permissions').flatMap(permissionOf);
    source.rest();
    if (name === undefined) return [];
    if (permissions.length > 0) return [{ name, permissions }];
    return action === undefined ? [] : [{ name, action }];
  });
  entry.note(
    '',
    'Consul’s default intention policy is set in its agents; here it is deny, as with ACLs: change defaultAction if yours is allow',
  );
  drafts.intentions.set(service, { defaultAction: 'deny', sources });
}

function permissionOf(permission: Fields): Json[] {
  const action = permission.text('Action');
  const http = permission.within('HTTP');
  const [pathExact, pathPrefix, methods] = [http?.text('PathExact'), http?.text('PathPrefix'), http?.texts('Methods')];
  http?.rest();
  permission.rest();
  if (action === undefined || (pathExact === undefined && pathPrefix === undefined && methods === undefined)) {
    permission.note('', 'asks for something other than path and method: left out, so that what it allowed is denied');
    return [];
  }
  const wanted = {
    ...(methods === undefined ? {} : { methods }),
    ...(pathExact === undefined ? {} : { pathExact }),
    ...(pathPrefix === undefined ? {} : { pathPrefix }),
  };
  return [{ action, http: wanted }];
}

function documentsOf({ policies, routes, intentions }: Drafts): Omit<Imported, 'notes'> {
  const apiVersion = 'outrigger.dev/v1';
  const drafts: Json[] = [
    ...[...policies]
      .filter(([, spec]) => Object.keys(spec).length > 0)
      .map(([name, spec]) => ({ apiVersion, kind: 'ServicePolicy', metadata: { name }, spec })),
    ...[...routes].map(([name, rules]) => ({
      apiVersion,
      kind: 'HTTPRoute',
      metadata: { name },
      spec: { parentRefs: [{ kind: 'Service', name }], rules },
    })),
    ...[...intentions].map(([name, spec]) => ({ apiVersion, kind: 'ServiceIntentions', metadata: { name }, spec })),
  ];
  const documents: PolicyDocument[] = [];
  const refused: { id: string; problems: readonly Problem[] }[] = [];
  for (const draft of drafts) {
    const parsed = parsePolicy(draft);
    if (parsed.ok) documents.push(parsed.value);
    else refused.push({ id: `${draft.kind}/${(draft.metadata as Json).name}`, problems: parsed.problems });
  }
  return { documents, refused };
}

/** Mappings are merged, lists joined, other values replaced. */
function merged(former: Json, changes: Json): Json {
  const result: Json = { ...former };
  for (const [key, value] of Object.entries(changes)) {
    const known = result[key];
    if (Array.isArray(known) && Array.isArray(value)) result[key] = [...known, ...value];
    else if (isMapping(known) && isMapping(value)) result[key] = merged(known, value);
    else result[key] = value;
  }
  return result;
}

function isMapping(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
