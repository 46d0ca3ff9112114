// The control plane's configuration as JSON Schema: what control-plane/config.ts validates with, editors complete with and
// docs/configuration.md lists.

import { type Static, Type } from 'typebox';
import { CLOSED, checked, count, notes, word } from './schema-fields.ts';

const path = (means: string, options: Record<string, unknown> = {}) =>
  Type.String({ minLength: 1, maxLength: 1_024, ...notes({ means }), ...options });

export const ControlPlaneConfigSchema = Type.Object(
  {
    listen: Type.Optional(
      checked(
        'hostPort',
        { means: 'API, policy streams and dashboard. Off loopback it needs auth.' },
        { default: '127.0.0.1:9700' },
      ),
    ),
    store: Type.Optional(
      Type.Object(
        {
          sqlite: Type.Optional(
            path('Database file of the policies; one control plane per file.', { default: './state/policies.db' }),
          ),
          consul: Type.Optional(
            Type.Object(
              {
                url: checked('url', {
                  means: 'HTTP API of Consul, http://127.0.0.1:8500 for the agent of this machine.',
                }),
                prefix: Type.Optional(
                  Type.String({
                    pattern: '^[A-Za-z0-9][A-Za-z0-9._/-]{0,126}/$',
                    'x-expected': 'a key prefix that ends with a slash',
                    ...notes({
                      means: 'Where the policies lie in the key-value store; outrigger/ when it is not said.',
                    }),
                  }),
                ),
                token: Type.Optional(
                  path('Token for Consul; better in a variable or a file than here.', { 'x-secret': true }),
                ),
                tokenFile: Type.Optional(path('File with the token for Consul, read before every call.')),
                datacenter: Type.Optional(path("Datacenter to ask; by default Consul's own.")),
              },
              {
                ...CLOSED,
                'x-rules': ['oneToken'],
                ...notes({ means: 'Policies in Consul, for several control planes at once; instead of sqlite.' }),
              },
            ),
          ),
        },
        { ...CLOSED, 'x-rules': ['oneStore'] },
      ),
    ),
    registry: Type.Optional(
      Type.Union(
        [
          Type.Object(
            {
              listen: Type.Optional(
                checked('hostPort', { means: 'Address of the embedded registry.' }, { default: '127.0.0.1:8500' }),
              ),
            },
            CLOSED,
          ),
          Type.Literal(false),
        ],
        notes({
          means:
            'The embedded Consul-compatible registry, or false with a real Consul; false by default with store.consul.',
        }),
      ),
    ),
    discovery: Type.Optional(
      Type.Object(
        {
          consul: Type.Optional(
            Type.Union(
              [
                Type.Object(
                  {
                    url: checked('url', { means: 'HTTP API of Consul.' }),
                    token: Type.Optional(
                      path('Token for Consul; better in a variable or a file than here.', { 'x-secret': true }),
                    ),
                    tokenFile: Type.Optional(path('File with the token for Consul, read before every call.')),
                    datacenter: Type.Optional(path("Datacenter to ask; by default Consul's own.")),
                  },
                  { ...CLOSED, 'x-rules': ['oneToken'] },
                ),
                Type.Literal(false),
              ],
              notes({
                means:
                  'Consul that is watched for agents with discovery: control-plane, or false for none; by default that of store.consul, else the embedded registry.',
              }),
            ),
          ),
        },
        CLOSED,
      ),
    ),
    auth: Type.Optional(
      Type.Object(
        {
          tokensFile: Type.Optional(
            path('File with tokens of operators and agents. Off loopback this or bootstrapToken is required.'),
          ),
          bootstrapToken: Type.Optional(
            Type.String({
              minLength: 32,
              maxLength: 512,
              pattern: '^[!-~]+$',
              ...notes({
                means: 'Secret of an admin, to make the first tokens with. Best set by its variable, not in the file.',
              }),
            }),
          ),
        },
        { ...CLOSED, 'x-rules': ['someToken'] },
      ),
    ),
    tls: Type.Optional(
      Type.Object(
        {
          certFile: path('Certificate chain of the listener, PEM. Read again when it changes.'),
          keyFile: path('Its private key, PEM.'),
        },
        CLOSED,
      ),
    ),
    requestsPerMinute: count(6_000, 1, 1_000_000, {
      means: 'Requests of one token in a minute before 429; agents and loopback without auth are not counted.',
      larger: 'a script in a loop takes more of the process',
    }),
    slo: Type.Optional(
      Type.Object(
        {
          webhooks: Type.Optional(
            Type.Array(Type.String({ maxLength: 512, 'x-check': 'url' }), {
              maxItems: 8,
              default: [],
              ...notes({ means: 'Addresses that alerts are sent to as JSON, POST; no other is ever called.' }),
            }),
          ),
        },
        CLOSED,
      ),
    ),
    log: Type.Optional(
      Type.Object(
        {
          level: word('info', ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
            means: 'Least severity that is logged.',
            larger: 'more text to write and keep',
          }),
        },
        CLOSED,
      ),
    ),
  },
  { ...CLOSED, title: 'Outrigger control-plane configuration', 'x-rules': ['authOffLoopback', 'registryApart'] },
);
export type ControlPlaneConfigFile = Static<typeof ControlPlaneConfigSchema>;
