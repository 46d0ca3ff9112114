// The matches of an HTTPRoute rule. Values are judged by their type, and regular expressions compiled, in
// policy/route-rules.ts.

import { Type } from 'typebox';
import { CLOSED, checked, notes, word } from './schema-fields.ts';

/** Of headers and query parameters. `Present` is ours. */
const valueType = word('Exact', ['Exact', 'RegularExpression', 'Present'], {
  means: 'How value is compared: as it is, as a regular expression for the whole of it (RE2 syntax), or not at all.',
});

const value = (means: string) => Type.Optional(Type.String({ maxLength: 4_096, ...notes({ means }) }));

const PathMatch = Type.Object(
  {
    type: word('PathPrefix', ['Exact', 'PathPrefix', 'RegularExpression'], {
      means:
        'PathPrefix compares whole segments: /a matches /a and /a/b, not /ab. RegularExpression is for the whole path, in RE2 syntax.',
    }),
    value: Type.String({
      maxLength: 1_024,
      'x-expected': 'path or regular expression',
      ...notes({ means: 'Path, case matters, without query.' }),
    }),
  },
  { ...CLOSED, 'x-rules': ['pathByType'] },
);

const HeaderMatch = Type.Object(
  {
    type: valueType,
    name: checked('headerName', { means: 'Header name, any case.' }),
    value: value(
      'The whole value, case matters; of a header in several lines, all joined by commas. None with Present.',
    ),
  },
  { ...CLOSED, 'x-rules': ['headerValueByType'] },
);

const QueryParamMatch = Type.Object(
  {
    type: valueType,
    name: checked('queryText', { means: 'Name of the parameter, case matters.' }, { minLength: 1, maxLength: 128 }),
    value: value('The whole value, decoded; of a parameter that comes twice, the first. None with Present.'),
  },
  { ...CLOSED, 'x-rules': ['queryValueByType'] },
);

export const Match = Type.Object(
  {
    path: Type.Optional(PathMatch),
    method: Type.Optional(checked('method', { means: 'Method in capital letters.' })),
    headers: Type.Optional(
      Type.Array(HeaderMatch, {
        maxItems: 16,
        'x-unique': 'name',
        ...notes({ means: 'Headers, all of which must match.' }),
      }),
    ),
    queryParams: Type.Optional(
      Type.Array(QueryParamMatch, {
        maxItems: 16,
        'x-rules': ['paramsApart'],
        ...notes({ means: 'Query parameters, all of which must match.' }),
      }),
    ),
  },
  CLOSED,
);
