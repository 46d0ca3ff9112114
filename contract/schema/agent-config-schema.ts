// The agent's configuration as JSON Schema: what agent/config.ts validates with, editors complete with and
// docs/configuration.md lists.

import { type Static, Type } from 'typebox';
import { CLOSED, checked, count, duration, flag, notes, word } from './schema-fields.ts';

const hostPort = (fallback: string, means: string) =>
  Type.Optional(checked('hostPort', { means }, { default: fallback }));
const optionalText = (means: string, options: Record<string, unknown> = {}) =>
  Type.Optional(Type.String({ minLength: 1, maxLength: 1_024, ...notes({ means }), ...options }));

/** `false`, or the mapping. */
const unless = <T extends Parameters<typeof Type.Union>[0][number]>(mapping: T, means: string) =>
  Type.Optional(Type.Union([mapping, Type.Literal(false)], notes({ means })));

const Check = Type.Object(
  {
    http: optionalText(
      'Path on the service, or whole URL, that answers 2xx while it is well; without it Consul only connects.',
    ),
    interval: duration('2s', '100ms', '1h', {
      means: 'Time between two checks.',
      larger: 'a dead application is noticed later',
    }),
    timeout: duration('1s', '10ms', '10m', {
      means: 'Time for one check.',
      larger: 'a stuck application is noticed later',
    }),
  },
  CLOSED,
);

const Service = Type.Object(
  {
    name: checked('serviceName', { means: 'Name in Consul and in policies.' }, { maxLength: 128 }),
    id: Type.Optional(
      checked(
        'instanceId',
        {
          means:
            'Identity of this instance in Consul and in the control plane; by default name, host name (HOSTNAME) and port, as far as they are known.',
        },
        { maxLength: 128 },
      ),
    ),
    port: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 65_535,
        ...notes({
          means: 'Port of the application; without it the agent has no inbound listener and registers nothing.',
        }),
      }),
    ),
    address: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 253,
        pattern: '^[A-Za-z0-9:._-]+$',
        'x-expected': 'an IP address or a host name',
        default: '127.0.0.1',
        ...notes({
          means:
            'Address under which others reach this service: what Consul is told when inbound is bound to every address.',
        }),
      }),
    ),
    appAddress: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 253,
        pattern: '^[A-Za-z0-9:._-]+$',
        'x-expected': 'an IP address or a host name',
        default: '127.0.0.1',
        ...notes({
          means: 'Address at which the agent reaches the application; loopback, so that nobody else has to.',
        }),
      }),
    ),
    tags: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 128 }), {
        maxItems: 64,
        uniqueItems: true,
        default: [],
        ...notes({ means: 'Tags in Consul.' }),
      }),
    ),
    meta: Type.Optional(
      Type.Record(Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$' }), Type.String({ maxLength: 512 }), {
        ...CLOSED,
        // Consul takes 64, of which the zone and the name of the process are two.
        maxProperties: 62,
        default: {},
        ...notes({ means: 'Metadata in Consul.' }),
      }),
    ),
    zone: optionalText('Zone of this instance.'),
    weight: count(1, 1, 65_535, {
      means: "Share of traffic relative to the service's other instances; Consul's passing weight.",
      larger: 'this instance gets more requests than its neighbours',
    }),
    check: unless(
      Check,
      "Consul's check of the application, made through the inbound listener; without it none is registered.",
    ),
    register: Type.Optional(
      Type.Union([Type.Boolean(), Type.Literal('app')], {
        default: true,
        ...notes({
          means:
            "What Consul learns: true = the inbound listener, app = the application's own port, false = nothing. Without service.port nothing.",
        }),
      }),
    ),
  },
  { ...CLOSED, ...notes({ means: 'The application that this agent stands beside.' }) },
);

const Upstream = Type.Object(
  {
    service: checked('serviceName', { means: 'Service to watch from the start.' }, { maxLength: 128 }),
    listen: Type.Optional(
      checked('hostPort', { means: 'Own port for this service; without it by Host on the outbound listener.' }),
    ),
    protocol: word('http', ['http', 'tcp'], {
      means: 'Protocol: http is balanced per request; tcp per connection, on a port of its own.',
    }),
    endpoints: Type.Optional(
      Type.Array(checked('endpoint', { means: 'HOST:PORT.' }), {
        minItems: 1,
        maxItems: 1_000,
        uniqueItems: true,
        ...notes({ means: 'Static endpoints; Consul is not asked.' }),
      }),
    ),
  },
  { ...CLOSED, 'x-rules': ['tcpNeedsListen'] },
);

const token = (whose: string) =>
  optionalText(`Token for ${whose}; better in a variable or a file than here.`, { 'x-secret': true });

export const AgentConfigSchema = Type.Object(
  {
    service: Service,
    listeners: Type.Optional(
      Type.Object(
        {
          outbound: hostPort('127.0.0.1:15001', 'Where the application sends its calls.'),
          inbound: hostPort('0.0.0.0:15006', 'Where other agents reach the application.'),
          admin: hostPort('127.0.0.1:15000', 'Admin API; has no password, keep it on loopback.'),
          metrics: Type.Optional(
            checked('hostPort', {
              means:
                'A listener of its own for Prometheus: /metrics, /live and /ready, and nothing that changes or shows more. The admin API can then stay on loopback.',
            }),
          ),
          sharePorts: flag(false, {
            means:
              'Bind every listener with SO_REUSEPORT, so that a new process with the same configuration can start, and then the old one stop, without refusing anybody. Another process of the same user can then take part of the traffic by mistake. Linux.',
          }),
        },
        CLOSED,
      ),
    ),
    upstreams: Type.Optional(
      Type.Array(Upstream, {
        maxItems: 1_000,
        'x-unique': 'service',
        default: [],
        ...notes({ means: 'What to watch from the start. As a variable: service names between commas, or JSON.' }),
      }),
    ),
    consul: unless(
      Type.Object(
        {
          url: Type.Optional(checked('url', { means: 'HTTP API of Consul.' }, { default: 'http://127.0.0.1:8500' })),
          token: token('Consul'),
          tokenFile: optionalText('File with the token for Consul, without the newline at its end.'),
          datacenter: optionalText("Datacenter to ask; by default Consul's own."),
        },
        { ...CLOSED, 'x-rules': ['oneToken'] },
      ),
      'Consul, or false for static endpoints only.',
    ),
    controlPlane: unless(
      Type.Object(
        {
          url: Type.Optional(
            checked('url', { means: 'API of the control plane.' }, { default: 'http://127.0.0.1:9700' }),
          ),
          replicas: Type.Optional(
            Type.Array(checked('url', { means: 'API of a replica.' }), {
              maxItems: 16,
              uniqueItems: true,
              default: [],
              ...notes({
                means:
                  'Further control planes with the same store. The agent begins with any of them and goes to the next when its stream ends.',
              }),
            }),
          ),
          token: token('the control plane'),
          tokenFile: optionalText('File with the token for the control plane.'),
          caFile: optionalText(
            'Certificates, PEM, to trust in place of those of the system. Read again before every call.',
          ),
        },
        { ...CLOSED, 'x-rules': ['oneToken'] },
      ),
      'The control plane, or false for local policies only.',
    ),
    discovery: word('consul', ['consul', 'control-plane'], {
      means:
        'Who says who serves what: Consul itself, or the control plane, which watches Consul once for all agents; then Consul is asked only while the control plane does not know.',
    }),
    policies: optionalText('File or folder of policy documents, used until the control plane speaks.'),
    stateDir: optionalText('Folder for the last-known-good endpoints and policies.', { default: './state' }),
    log: Type.Optional(
      Type.Object(
        {
          level: word('info', ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
            means: 'Least severity that is logged.',
            larger: 'more text to write and keep',
          }),
          access: word('failures', ['off', 'failures', 'all'], { means: 'Which requests get an access record.' }),
        },
        CLOSED,
      ),
    ),
  },
  {
    ...CLOSED,
    title: 'Outrigger agent configuration',
    'x-rules': ['listenersApart', 'registrationNeedsPort', 'discoveryNeedsBoth'],
  },
);
export type AgentConfigFile = Static<typeof AgentConfigSchema>;
