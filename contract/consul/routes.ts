// service-router and service-splitter as an HTTPRoute.

import type { Fields } from './fields.ts';

type Json = Record<string, unknown>;

/** The rules of a router, in its order. */
export function routerRules(entry: Fields, service: string): Json[] {
  const rules = entry.each('Routes').map((route, index) => {
    const match = route.within('Match');
    const http = match?.within('HTTP') ?? null;
    const matches = http === null ? [] : matchesOf(http);
    const destination = route.within('Destination');
    const rule: Json = {
      name: `route-${index + 1}`,
      ...(matches.length === 0 ? {} : { matches }),
      ...(destination === null ? {} : destinationOf(destination, service, http)),
    };
    for (const one of [http, match, destination, route]) one?.rest();
    return rule;
  });
  if (rules.length > 1) {
    entry.note(
      'Routes',
      'Consul takes the first route that matches; here the most specific one wins, whatever the order',
    );
  }
  return rules;
}

function matchesOf(http: Fields): Json[] {
  const path = pathOf(http);
  const headers = http.each('Header').flatMap(headerOf);
  const queryParams = http.each('QueryParam').flatMap(paramOf);
  if (http.flag('CaseInsensitive')) http.note('CaseInsensitive', 'paths are compared with their case here');
  const base: Json = {
    ...(path === null ? {} : { path }),
    ...(headers.length === 0 ? {} : { headers }),
    ...(queryParams.length === 0 ? {} : { queryParams }),
  };
  const methods = http.texts('Methods');
  if (methods !== undefined) return methods.map((method) => ({ ...base, method }));
  return Object.keys(base).length === 0 ? [] : [base];
}

function pathOf(http: Fields): Json | null {
  const [exact, prefix, regex] = [http.text('PathExact'), http.text('PathPrefix'), http.text('PathRegex')];
  if (exact !== undefined) return { type: 'Exact', value: exact };
  if (prefix !== undefined) {
    if (!prefix.endsWith('/')) http.note('PathPrefix', 'counts whole segments here: /a covers /a and /a/b, not /ab');
    return { type: 'PathPrefix', value: prefix };
  }
  return regex === undefined ? null : { type: 'RegularExpression', value: regex };
}

function headerOf(header: Fields): Json[] {
  const name = header.text('Name');
  const forms: readonly (readonly [string, (value: string) => Json])[] = [
    ['Exact', (value) => ({ type: 'Exact', value })],
    ['Prefix', (value) => ({ type: 'RegularExpression', value: `${quoted(value)}.*` })],
    ['Suffix', (value) => ({ type: 'RegularExpression', value: `.*${quoted(value)}` })],
    ['Contains', (value) => ({ type: 'RegularExpression', value: `.*${quoted(value)}.*` })],
    ['Regex', (value) => ({ type: 'RegularExpression', value })],
  ];
  const isPresent = header.flag('Present');
  const found = forms.flatMap(([key, make]) => {
    const value = header.text(key);
    return value === undefined ? [] : [make(value)];
  });
  const isInverted = header.flag('Invert');
  header.rest();
  const [first] = isPresent ? [{ type: 'Present' }] : found;
  if (name === undefined || first === undefined || isInverted) {
    header.note(
      '',
      isInverted ? 'an inverted match has no counterpart: the rule matches more than it did' : 'says nothing',
    );
    return [];
  }
  return [{ ...first, name }];
}

function paramOf(param: Fields): Json[] {
  const name = param.text('Name');
  const [exact, regex] = [param.text('Exact'), param.text('Regex')];
  const isPresent = param.flag('Present');
  param.rest();
  if (name === undefined) return [];
  if (isPresent) return [{ type: 'Present', name }];
  if (exact !== undefined) return [{ type: 'Exact', name, value: exact }];
  return regex === undefined ? [] : [{ type: 'RegularExpression', name, value: regex }];
}

/** For a regular expression of RE2 syntax. */
function quoted(text: string): string {
  return text.replace(/[\\.+*?()|[\]{}^$]/g, '\\$&');
}

function destinationOf(destination: Fields, service: string, http: Fields | null): Json {
  const subset = destination.text('ServiceSubset');
  const name = destination.text('Service') ?? service;
  const rewrite = destination.text('PrefixRewrite');
  const request = destination.duration('RequestTimeout');
  const attempts = destination.number('NumRetries');
  const codes = destination.numbers('RetryOnStatusCodes');
  // Failures to connect are repeated by default, so that there is nothing to say.
  destination.flag('RetryOnConnectFailure');
  const filters = [
    ...headerFilters(destination),
    ...(rewrite === undefined || http === null
      ? []
      : [{ type: 'URLRewrite', urlRewrite: { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: rewrite } } }]),
  ];
  return {
    backendRefs: [{ name, ...(subset === undefined ? {} : { subset }) }],
    ...(request === undefined ? {} : { timeouts: { request } }),
    ...(attempts === undefined && codes === undefined
      ? {}
      : {
          retry: {
            ...(attempts === undefined ? {} : { attempts: Math.min(10, attempts) }),
            ...(codes === undefined ? {} : { codes }),
          },
        }),
    ...(filters.length === 0 ? {} : { filters }),
  };
}

function headerFilters(from: Fields): Json[] {
  return (
    [
      ['RequestHeaders', 'RequestHeaderModifier', 'requestHeaderModifier'],
      ['ResponseHeaders', 'ResponseHeaderModifier', 'responseHeaderModifier'],
    ] as const
  ).flatMap(([key, type, field]): Json[] => {
    const changes = from.within(key);
    if (changes === null) return [];
    const [set, add, remove] = [changes.pairs('Set'), changes.pairs('Add'), changes.texts('Remove')];
    changes.rest();
    if (set.length + add.length === 0 && remove === undefined) return [];
    const modifier: Json = {
      ...(set.length === 0 ? {} : { set }),
      ...(add.length === 0 ? {} : { add }),
      ...(remove === undefined ? {} : { remove }),
    };
    return [{ type, [field]: modifier }];
  });
}

/** The one rule of a splitter. Consul's weights are percents with two places; ours are whole numbers of any total. */
export function splitterRule(entry: Fields, service: string): Json {
  const backendRefs = entry.each('Splits').map((split) => {
    const weight = Math.round((split.number('Weight') ?? 0) * 100);
    const subset = split.text('ServiceSubset');
    const name = split.text('Service') ?? service;
    split.rest();
    return { name, ...(subset === undefined ? {} : { subset }), weight };
  });
  return { name: 'split', backendRefs };
}
