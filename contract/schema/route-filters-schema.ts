// The filters of an HTTPRoute rule: what is changed about a request, answered in place of it, copied or spoiled on purpose.

import { Type } from 'typebox';
import { DURATION_PATTERN } from '../text/durations.ts';
import { serviceName, subsetName } from './envelope-schema.ts';
import { CLOSED, checked, count, notes } from './schema-fields.ts';

const HeaderPair = Type.Object(
  {
    name: checked('editableHeaderName', { means: 'Header name, any case.' }),
    value: checked('headerValue', { means: 'Header value.' }, { maxLength: 4_096 }),
  },
  CLOSED,
);

const headerPairs = (means: string) =>
  Type.Optional(Type.Array(HeaderPair, { maxItems: 32, 'x-unique': 'name', ...notes({ means }) }));

const HeaderModifier = Type.Object(
  {
    set: headerPairs('Headers to set, replacing what is there.'),
    add: headerPairs('Headers to add beside what is there.'),
    remove: Type.Optional(
      Type.Array(checked('editableHeaderName', { means: 'Header name, any case.' }), {
        maxItems: 32,
        uniqueItems: true,
        ...notes({ means: 'Headers to remove.' }),
      }),
    ),
  },
  { ...CLOSED, 'x-rules': ['headerNamedOnce'] },
);

/** In Gateway API's spelling and order; FaultInjection is ours. Each has a key of its own, which begins in lower case. */
export const FILTER_TYPES = [
  'RequestHeaderModifier',
  'ResponseHeaderModifier',
  'URLRewrite',
  'RequestRedirect',
  'RequestMirror',
  'FaultInjection',
] as const;

const PathChange = Type.Object(
  {
    type: Type.Enum(
      ['ReplaceFullPath', 'ReplacePrefixMatch'],
      notes({ means: 'The whole path is replaced, or the prefix that the match names. The query stays.' }),
    ),
    replaceFullPath: Type.Optional(
      checked('cleanPath', { means: 'The new path, with ReplaceFullPath.' }, { maxLength: 1_024 }),
    ),
    replacePrefixMatch: Type.Optional(
      checked(
        'cleanPath',
        { means: 'What takes the place of the prefix, with ReplacePrefixMatch; / takes it away.' },
        { maxLength: 1_024 },
      ),
    ),
  },
  { ...CLOSED, 'x-rules': ['pathChangeMatchesType'] },
);

const hostname = (means: string) => Type.Optional(checked('hostname', { means }, { maxLength: 253 }));

const UrlRewrite = Type.Object(
  {
    hostname: hostname('Host towards the endpoint; X-Forwarded-Host tells the one that came.'),
    path: Type.Optional(PathChange),
  },
  { ...CLOSED, 'x-rules': ['changesSomething'] },
);

const RequestRedirect = Type.Object(
  {
    scheme: Type.Optional(
      Type.Enum(['http', 'https'], notes({ means: 'Scheme of the new location; without it, that of the request.' })),
    ),
    hostname: hostname('Host of the new location; without it, Host of the request.'),
    port: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 65_535,
        ...notes({
          means:
            'Port of the new location. Without it, none when scheme or hostname is given, else the one in Host of the request.',
        }),
      }),
    ),
    path: Type.Optional(PathChange),
    statusCode: Type.Optional(
      Type.Enum([301, 302, 303, 307, 308], {
        default: 302,
        ...notes({ means: 'Status of the answer. 307 and 308 keep the method, the others may turn it into GET.' }),
      }),
    ),
  },
  { ...CLOSED, 'x-rules': ['changesSomething'] },
);

const percent = (fallback: number, text: string) => count(fallback, 0, 100, { means: text });

const RequestMirror = Type.Object(
  {
    backendRef: Type.Object(
      {
        name: serviceName('Service that gets the copy.'),
        subset: Type.Optional(subsetName('Subset of it, by its ServicePolicy.')),
      },
      CLOSED,
    ),
    percent: percent(100, 'Share of the requests that are copied, by chance.'),
  },
  CLOSED,
);

const FaultInjection = Type.Object(
  {
    delay: Type.Optional(
      Type.Object(
        {
          duration: Type.String({
            pattern: DURATION_PATTERN,
            'x-check': 'duration',
            'x-min': '1ms',
            'x-max': '1h',
            ...notes({
              means: 'How long a request is held before it goes on. It counts against timeouts.request, which ends it.',
              larger: 'more requests are held at once',
            }),
          }),
          percent: percent(100, 'Share of the requests that are held, by chance.'),
        },
        CLOSED,
      ),
    ),
    abort: Type.Optional(
      Type.Object(
        {
          status: count(503, 400, 599, { means: 'Status of the answer in place of the service.' }),
          percent: percent(
            100,
            'Share of the requests that are answered so, by chance; after the delay, where both hit.',
          ),
        },
        CLOSED,
      ),
    ),
  },
  { ...CLOSED, 'x-rules': ['changesSomething'] },
);

export const Filter = Type.Object(
  {
    type: Type.Enum(
      [...FILTER_TYPES],
      notes({ means: 'Which of the filters this is; the key of that name must be there.' }),
    ),
    requestHeaderModifier: Type.Optional(HeaderModifier),
    responseHeaderModifier: Type.Optional(HeaderModifier),
    urlRewrite: Type.Optional(UrlRewrite),
    requestRedirect: Type.Optional(RequestRedirect),
    requestMirror: Type.Optional(RequestMirror),
    faultInjection: Type.Optional(FaultInjection),
  },
  { ...CLOSED, 'x-rules': ['filterMatchesType'] },
);
