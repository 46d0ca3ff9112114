// Situations that a rule of the HTTPRoute decides.

import type { Situation } from './situation.ts';

export const ROUTE_SITUATIONS: readonly Situation[] = [
  {
    what: 'an exact path',
    service: 'api',
    request: { target: '/health' },
    answer: /^HTTP\/1.1 200/,
    lines: [[/^route +rule exact matches/, 'exact']],
  },
  {
    what: 'a prefix and a method; the rule before it was not',
    service: 'api',
    request: { target: '/v1/a' },
    answer: /^HTTP\/1.1 200/,
    lines: [
      [/^route +rule prefix matches/, 'prefix'],
      [/^ +not exact: the path is not exactly \/health/, 'exact'],
    ],
  },
  {
    what: 'a regular expression, with a timeout of the rule',
    service: 'api',
    request: { target: '/orders/12' },
    answer: /^HTTP\/1.1 200/,
    lines: [
      [/^route +rule pattern matches/, 'pattern'],
      [/^deadline +3000 ms from the policy/, 'pattern-request'],
    ],
  },
  {
    what: 'a header; endpoints that are no part of the subset',
    service: 'api',
    request: { headers: ['X-Canary: yes'] },
    answer: /^HTTP\/1.1 200/,
    lines: [
      [/^route +rule canary matches/, 'canary'],
      [/^backend +api subset canary/, 'canary-backend'],
      [/^attempt 1 +127\.0\.0\.1:PORT\(api-3\) was the only one; answered 200/, null],
      [/^ +not 127\.0\.0\.1:PORT\(api-1\): it is not in subset canary: canary in Service\.Tags/, 'canary-subset'],
      [/^ +not 127\.0\.0\.1:PORT\(api-2\): it is not in subset canary/, 'canary-subset'],
    ],
  },
  {
    what: 'a Host that a rule names',
    service: 'api',
    request: { host: 'api.mesh' },
    answer: /^HTTP\/1.1 200/,
    lines: [[/^route +rule by-host matches/, 'by-host']],
  },
  {
    what: 'a Host that no rule names is the nearest miss of none',
    service: 'api',
    request: { host: 'api.service.consul', target: '/elsewhere' },
    answer: /^HTTP\/1.1 404[\s\S]*no_route/,
    lines: [
      [/^route +no rule matches; /, null],
      [/^ +not by-host: header host is not "api\.mesh"/, 'by-host'],
    ],
  },
  {
    what: 'a query parameter',
    service: 'api',
    request: { target: '/search?beta=1' },
    answer: /^HTTP\/1.1 200/,
    lines: [[/^route +rule by-query matches/, 'by-query']],
  },
  {
    what: 'no rule: the nearest miss by its parameter, and by its method',
    service: 'api',
    request: { target: '/search?beta=2' },
    answer: /^HTTP\/1.1 404/,
    lines: [
      [/^route +no rule matches; by-query would have, but query parameter beta is not "1"/, null],
      [/^ +not by-query: query parameter beta is not "1"/, 'by-query'],
    ],
  },
  {
    what: 'no rule: the method of the nearest is another',
    service: 'api',
    request: { target: '/cart' },
    answer: /^HTTP\/1.1 404/,
    lines: [[/^ +not cart: the method is GET, not POST/, 'cart']],
  },
  {
    what: 'a redirect',
    service: 'api',
    request: { target: '/old/a' },
    answer: /^HTTP\/1.1 308/,
    lines: [
      [/^route +rule moved matches/, 'moved'],
      [/^filter +RequestRedirect .*statusCode:308/, 'redirect'],
    ],
  },
  {
    what: 'a rewrite',
    service: 'api',
    request: { target: '/v2/a' },
    answer: /^HTTP\/1.1 200/,
    lines: [
      [/^route +rule rewritten matches/, 'rewritten'],
      [/^filter +URLRewrite .*replacePrefixMatch:\//, 'rewrite'],
    ],
  },
  {
    what: 'a fault on purpose',
    service: 'api',
    request: { target: '/practice' },
    answer: /^HTTP\/1.1 503[\s\S]*fault_injected/,
    lines: [
      [/fault_injected \(rule practice answers 503 on purpose\)/, null],
      [/^filter +FaultInjection .*status:503/, 'fault'],
    ],
  },
  {
    what: 'a weighted split that a key decides',
    service: 'api',
    request: { target: '/split', headers: ['X-User: u1'] },
    answer: /^HTTP\/1.1 200/,
    lines: [
      [/^route +rule split matches/, 'split'],
      [/^backend +api subset stable/, 'split-stable'],
      [/^ +not 127\.0\.0\.1:PORT\(api-3\): it is not in subset stable: Service\.Meta\.version == "1"/, 'stable'],
    ],
  },
  {
    what: 'a subset of nobody',
    service: 'api',
    request: { target: '/empty' },
    answer: /^HTTP\/1.1 503[\s\S]*its filter matches none/,
    lines: [
      [/no_healthy_upstream \(subset nobody of api has no endpoint: its filter matches none/, null],
      [/^route +rule empty matches/, 'empty'],
    ],
  },
  {
    what: 'a path longer than a record keeps, with rules: still found',
    service: 'api',
    request: { target: `/v1/${'a'.repeat(100)}/end` },
    answer: /^HTTP\/1.1 200/,
    lines: [
      [/^GET \/v1\/a{100}\/end to api: 200/, null],
      [/^route +rule prefix matches/, 'prefix'],
    ],
  },
  {
    what: 'a path longer than a record keeps, without rules: said to be cut',
    service: 'turns',
    request: { target: `/${'b'.repeat(100)}` },
    answer: /^HTTP\/1.1 200/,
    lines: [
      [/^GET \/b{63}… to turns: 200/, null],
      [/^note +the path is cut: a record keeps its first 64 bytes/, null],
    ],
  },
];
