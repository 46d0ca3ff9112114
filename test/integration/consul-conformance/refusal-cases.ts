// What is refused, with which status and which words.

import { at, type Case, NO_SESSION, refusal, refused } from './world.ts';

export const refusalCases: readonly Case[] = [
  ...(
    [
      ['malformed JSON', '{bad', 400, /^Request decode failed: /],
      ['an empty body', '', 400, /^Request decode failed: EOF$/],
      ['no name', '{}', 400, /^Missing service name$/],
      ['an array', '[]', 400, /^Request decode failed: json: cannot unmarshal array into Go value of type /],
      [
        'a port that is text',
        '{"Name":"x","Port":"a"}',
        400,
        /^Request decode failed: json: cannot unmarshal string into Go struct field \.Port of type int$/,
      ],
      [
        'tags that are text',
        '{"Name":"x","Tags":"a"}',
        400,
        /cannot unmarshal string into Go struct field \.Tags of type \[\]string$/,
      ],
      ['an unknown key', '{"Name":"x","Unknown":1}', 400, /^Request decode failed: json: unknown field "Unknown"$/],
      [
        'weight 0',
        '{"Name":"x","Weights":{"Passing":0,"Warning":1}}',
        400,
        /^Invalid Weights: Passing must be greater than 0$/,
      ],
      [
        'a negative weight',
        '{"Name":"x","Weights":{"Passing":1,"Warning":-1}}',
        400,
        /^Invalid Weights: Warning must be greater or equal than 0$/,
      ],
      [
        'a weight beyond 65535',
        '{"Name":"x","Weights":{"Passing":70000,"Warning":1}}',
        400,
        /^Invalid Weights: DNS Weight must be between 0 and 65535$/,
      ],
      ['the any-address', '{"Name":"x","Address":"0.0.0.0"}', 400, /^Invalid service address$/],
      [
        'bad meta',
        '{"Name":"x","Meta":{"a b":"x"}}',
        400,
        /^Invalid Service Meta: Couldn't load metadata pair \('a b', 'x'\): Key contains invalid characters$/,
      ],
      [
        'a probe without an interval',
        '{"Name":"x","Check":{"HTTP":"http://a/"}}',
        400,
        /^Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks$/,
      ],
      [
        'interval and TTL',
        '{"Name":"x","Check":{"TTL":"5s","Interval":"1s"}}',
        400,
        /^Invalid check: Interval and TTL cannot both be specified$/,
      ],
      [
        'a bad duration',
        '{"Name":"x","Check":{"TTL":"xx"}}',
        400,
        /^Request decode failed: time: invalid duration "?xx"?$/,
      ],
      [
        'a bad status',
        '{"Name":"x","Check":{"TTL":"5s","Status":"odd"}}',
        400,
        /^Status for checks must 'passing', 'warning', 'critical'$/,
      ],
      [
        'a script',
        '{"Name":"x","Check":{"Args":["sh"],"Interval":"1s"}}',
        500,
        /^Scripts are disabled on this agent from remote calls/,
      ],
      [
        'a proxy without destination',
        '{"Name":"x","Kind":"connect-proxy","Port":1}',
        400,
        /Proxy\.DestinationServiceName must be non-empty/,
      ],
    ] as const
  ).map(
    ([name, body, status, pattern]): Case => ({
      name: `registration refuses ${name}`,
      run: async (w) => {
        const reply = await w.put('/v1/agent/service/register', body);
        return [
          reply.status,
          pattern.test(reply.text.trim()) || reply.text,
          at((await w.get('/v1/agent/services')).json, 'x'),
        ];
      },
      expect: [status, true, undefined],
    }),
  ),
  ...(
    [
      ['GET', '/v1/health/service/', 400, 'Missing service name'],
      ['GET', '/v1/health/checks/', 400, 'Missing service name'],
      ['GET', '/v1/health/state/', 400, 'Missing check state'],
      ['GET', '/v1/health/node/', 400, 'Missing node name'],
      ['GET', '/v1/catalog/node/', 400, 'Missing node name'],
      ['GET', '/v1/catalog/service/', 400, 'Missing service name'],
      ['GET', '/v1/health/service/reg?index=abc', 400, 'Invalid index'],
      ['GET', '/v1/health/service/reg?wait=5', 400, 'Invalid wait time'],
      ['GET', '/v1/health/service/reg?passing=odd', 400, 'Invalid value for ?passing'],
      [
        'GET',
        '/v1/health/service/reg?stale&consistent',
        400,
        'Cannot specify ?stale with ?consistent, conflicting semantics.',
      ],
      ['GET', '/v1/health/service/reg?dc=nowhere', 500, 'No path to datacenter'],
      ['GET', '/v1/health/service/%zz', 400, '400 Bad Request'],
      ['GET', '/v1/agent/service/register', 405, 'method GET not allowed'],
      ['POST', '/v1/agent/services', 405, 'method POST not allowed'],
      ['POST', '/v1/kv/a', 405, 'method POST not allowed'],
      ['HEAD', '/v1/kv/a', 405, ''],
      ['PUT', '/v1/agent/check/fail/none', 500, 'CheckID "none" does not have associated TTL'],
      ['GET', '/v1/kv/', 400, 'Missing key name'],
      ['PUT', '/v1/kv/', 400, 'Missing key name'],
      ['DELETE', '/v1/kv/', 400, 'Missing key name'],
      ['PUT', '/v1/session/destroy/', 400, 'Missing session'],
      ['PUT', '/v1/session/destroy/odd', 500, 'failed session lookup: index error: UUID must be 36 characters'],
      ['PUT', `/v1/session/renew/${NO_SESSION}`, 404, `Session id '${NO_SESSION}' not found`],
    ] as const
  ).map(
    ([method, path, status, text]): Case => ({
      name: `${method} ${path} → ${status}`,
      run: async (w) => refusal(await w.send(method, path)),
      expect: refused(status, text),
    }),
  ),
  {
    name: 'an unknown path is 404, a doubled slash is redirected, OPTIONS says what is allowed',
    run: async (w) => {
      const twice = await w.get('/v1/kv//a//b');
      return [
        (await w.get('/v1/nothing')).status,
        [twice.status, twice.headers.location],
        (await w.send('OPTIONS', '/v1/kv/a')).headers.allow,
        (await w.send('POST', '/v1/agent/services')).headers.allow,
      ];
    },
    expect: [404, [301, '/v1/kv/a/b'], 'OPTIONS,GET,PUT,DELETE', 'OPTIONS,GET'],
  },
];
