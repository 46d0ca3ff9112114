// What a schema cannot say about an HTTPRoute: rules over several values of one mapping, by their name in `x-rules`. Each runs
// only on a mapping that is valid in itself, so the casts to the schema's types hold.

import { compilePattern } from '../input/pattern.ts';
import { TEXT_CHECKS } from '../input/text-checks.ts';
import type { Rule } from '../input/validate.ts';
import type { Problem } from '../problem.ts';
import type { HTTPRouteSpec } from '../schema/route-schema.ts';
import { describeValue, pathTo } from '../text/problem-words.ts';

type RuleSpec = HTTPRouteSpec['rules'][number];
type FilterSpec = NonNullable<RuleSpec['filters']>[number];
type ModifierSpec = NonNullable<FilterSpec['requestHeaderModifier']>;
type MatchSpec = NonNullable<RuleSpec['matches']>[number];
type PathSpec = NonNullable<MatchSpec['path']>;
type ParamSpec = NonNullable<MatchSpec['queryParams']>[number];
type BackendSpec = NonNullable<RuleSpec['backendRefs']>[number];
type PathChangeSpec = NonNullable<NonNullable<FilterSpec['urlRewrite']>['path']>;

/** Regular expressions in one HTTPRoute: each costs a millisecond to compile and, at worst, every request a look at its text. */
export const MAX_PATTERNS = 64;

export const ROUTE_RULES: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ['pathByType', (value) => pathByType(value as PathSpec)],
  ['headerValueByType', (value) => valueByType(value as ParamSpec, 'headerValue')],
  ['queryValueByType', (value) => valueByType(value as ParamSpec, 'queryText')],
  ['paramsApart', (value) => paramsApart(value as readonly ParamSpec[])],
  ['headerNamedOnce', (value) => headerNamedOnce(value as ModifierSpec)],
  ['pathChangeMatchesType', (value) => pathChangeMatchesType(value as PathChangeSpec)],
  ['changesSomething', (value) => changesSomething(value as Readonly<Record<string, unknown>>)],
  ['filterMatchesType', (value) => filterMatchesType(value as FilterSpec)],
  ['filtersAgree', (value) => filtersAgree(value as RuleSpec)],
  ['givenNamesApart', (value) => givenNamesApart(value as readonly RuleSpec[])],
  ['someWeight', (value) => someWeight(value as readonly BackendSpec[])],
  ['backendsApart', (value) => backendsApart(value as readonly BackendSpec[])],
  ['parentIsSelf', (value) => parentIsSelf(value as { metadata: { name: string }; spec: HTTPRouteSpec })],
  ['patternsCompile', (value) => patternsCompile((value as { spec: HTTPRouteSpec }).spec)],
]);

function inconsistent(path: string, message: string): Problem {
  return { code: 'OTR_INCONSISTENT', path, message };
}

function missing(path: string, message: string): Problem {
  return { code: 'OTR_MISSING', path, message };
}

/** A text of the kind that `check` judges. */
function judge(check: string, text: string): Problem[] {
  const finding = TEXT_CHECKS.get(check)?.(text, {}) ?? null;
  if (finding === null) return [];
  const { code, expected, hint } = finding;
  const message = `must be ${expected}, found ${describeValue(text)}`;
  return [{ code, path: 'value', message, ...(hint === undefined ? {} : { hint }) }];
}

/** A regular expression is judged by patternsCompile, with all others of the document. */
function pathByType({ type, value }: PathSpec): Problem[] {
  return type === 'RegularExpression' ? [] : judge('path', value);
}

function valueByType({ type = 'Exact', value }: ParamSpec, check: string): Problem[] {
  if (type === 'Present')
    return value === undefined ? [] : [inconsistent('value', 'must not be there: the type is Present')];
  if (value === undefined) return [missing('value', `must be there: the type is ${type}`)];
  return type === 'Exact' ? judge(check, value) : [];
}

/** Unlike those of headers, names of parameters differ by case. */
function paramsApart(params: readonly ParamSpec[]): Problem[] {
  return params.flatMap(({ name }, index): Problem[] => {
    const first = params.findIndex((other) => other.name === name);
    const message = `must differ from ${pathTo('', first)}, found ${describeValue(name)} twice`;
    return first === index ? [] : [{ code: 'OTR_DUPLICATE', path: `${pathTo('', index)}.name`, message }];
  });
}

function headerNamedOnce({ set = [], add = [], remove = [] }: ModifierSpec): Problem[] {
  const names = [
    ...set.map(({ name }, index) => ({ name, path: `${pathTo('set', index)}.name` })),
    ...add.map(({ name }, index) => ({ name, path: `${pathTo('add', index)}.name` })),
    ...remove.map((name, index) => ({ name, path: pathTo('remove', index) })),
  ];
  const first = new Map<string, string>();
  return names.flatMap(({ name, path }): Problem[] => {
    const key = name.toLowerCase();
    const former = first.get(key);
    if (former === undefined) first.set(key, path);
    return former === undefined
      ? []
      : [{ code: 'OTR_DUPLICATE', path, message: `${key} is already named at ${former}` }];
  });
}

function pathChangeMatchesType({ type, replaceFullPath, replacePrefixMatch }: PathChangeSpec): Problem[] {
  return onlyOwn(type, { replaceFullPath, replacePrefixMatch });
}

/** A union by `type`: the key that the type names must be there, and none of the others. */
function onlyOwn(type: string, parts: Readonly<Record<string, unknown>>): Problem[] {
  const own = type.startsWith('URL') ? `url${type.slice(3)}` : `${type.charAt(0).toLowerCase()}${type.slice(1)}`;
  return Object.entries(parts).flatMap(([key, part]): Problem[] => {
    if (key === own) return part === undefined ? [missing(key, `must be there: the type is ${type}`)] : [];
    return part === undefined ? [] : [inconsistent(key, `must not be there: the type is ${type}`)];
  });
}

/** A status alone would send the client to where it came from. */
function changesSomething({ statusCode: _, ...rest }: Readonly<Record<string, unknown>>): Problem[] {
  return Object.keys(rest).length > 0 ? [] : [missing('', 'must say what changes: it has no key that does')];
}

function filterMatchesType({ type, ...parts }: FilterSpec): Problem[] {
  const { requestHeaderModifier, responseHeaderModifier, urlRewrite, requestRedirect, requestMirror, faultInjection } =
    parts;
  return onlyOwn(type, {
    requestHeaderModifier,
    responseHeaderModifier,
    urlRewrite,
    requestRedirect,
    requestMirror,
    faultInjection,
  });
}

/** What Gateway API forbids together, and what would never take effect: a redirected request goes to nobody. */
function filtersAgree({ filters = [], matches = [], backendRefs, sticky }: RuleSpec): Problem[] {
  const problems: Problem[] = [];
  const redirect = filters.findIndex(({ type }) => type === 'RequestRedirect');
  if (redirect >= 0) {
    const beside = `must not be there: ${pathTo('filters', redirect)} redirects, so the request goes to nobody`;
    if (backendRefs !== undefined) problems.push(inconsistent('backendRefs', beside));
    if (sticky !== undefined) problems.push(inconsistent('sticky', beside));
    for (const [index, { type }] of filters.entries()) {
      if (type !== 'RequestRedirect' && type !== 'ResponseHeaderModifier')
        problems.push(inconsistent(pathTo('filters', index), beside));
    }
  }
  const hasOther = matches.some(({ path }) => path !== undefined && (path.type ?? 'PathPrefix') !== 'PathPrefix');
  for (const [index, { urlRewrite, requestRedirect }] of filters.entries()) {
    const key = urlRewrite === undefined ? 'requestRedirect' : 'urlRewrite';
    if ((urlRewrite ?? requestRedirect)?.path?.type !== 'ReplacePrefixMatch' || !hasOther) continue;
    const message = 'must be ReplaceFullPath: not every match of the rule is for a PathPrefix';
    problems.push(inconsistent(`${pathTo('filters', index)}.${key}.path.type`, message));
  }
  return problems;
}

/** A rule called `rule-2` would share its name with a nameless second one. */
function givenNamesApart(rules: readonly RuleSpec[]): Problem[] {
  const nameless = new Set(rules.flatMap(({ name }, index) => (name === undefined ? [`rule-${index + 1}`] : [])));
  return rules.flatMap(({ name }, index): Problem[] => {
    if (name === undefined || !nameless.has(name)) return [];
    const message = `must differ from the name of a nameless rule, found ${name}`;
    return [{ code: 'OTR_DUPLICATE', path: `${pathTo('', index)}.name`, message }];
  });
}

function someWeight(backends: readonly BackendSpec[]): Problem[] {
  const total = backends.reduce((sum, { weight = 1 }) => sum + weight, 0);
  return total > 0 ? [] : [{ code: 'OTR_RANGE', path: '', message: 'weights must add up to more than 0, found 0' }];
}

function backendsApart(backends: readonly BackendSpec[]): Problem[] {
  return backends.flatMap(({ name, subset }, index): Problem[] => {
    const first = backends.findIndex((other) => other.name === name && other.subset === subset);
    const what = subset === undefined ? name : `${name} with subset ${subset}`;
    const message = `must differ from ${pathTo('', first)}, found ${what} twice`;
    return first === index ? [] : [{ code: 'OTR_DUPLICATE', path: `${pathTo('', index)}.name`, message }];
  });
}

function parentIsSelf({ metadata, spec }: { metadata: { name: string }; spec: HTTPRouteSpec }): Problem[] {
  const parent = spec.parentRefs[0];
  if (parent === undefined || parent.name === metadata.name) return [];
  const message = `must be metadata.name (${metadata.name}), found ${parent.name}`;
  return [inconsistent('spec.parentRefs[0].name', message)];
}

/** Last of all, because compiling is what costs: a document with too many is refused before the first is compiled. */
function patternsCompile({ rules }: HTTPRouteSpec): Problem[] {
  const patterns = rules.flatMap(({ matches = [] }, rule) =>
    matches.flatMap((match, index) => patternsOf(match, `spec.rules[${rule}].matches[${index}]`)),
  );
  if (patterns.length > MAX_PATTERNS) {
    const message = `must have at most ${MAX_PATTERNS} regular expressions in all, found ${patterns.length}`;
    return [{ code: 'OTR_RANGE', path: 'spec.rules', message }];
  }
  return patterns.flatMap(({ path, text }): Problem[] => {
    const compiled = compilePattern(text);
    if (compiled.ok) return [];
    return [{ code: compiled.code, path, message: `must be ${compiled.expected}, found ${describeValue(text)}` }];
  });
}

function patternsOf(
  { path, headers = [], queryParams = [] }: MatchSpec,
  place: string,
): { readonly path: string; readonly text: string }[] {
  const found = path?.type === 'RegularExpression' ? [{ path: `${place}.path.value`, text: path.value }] : [];
  for (const [key, list] of [
    ['headers', headers],
    ['queryParams', queryParams],
  ] as const) {
    for (const [index, { type, value = '' }] of list.entries()) {
      if (type === 'RegularExpression') found.push({ path: `${place}.${pathTo(key, index)}.value`, text: value });
    }
  }
  return found;
}
