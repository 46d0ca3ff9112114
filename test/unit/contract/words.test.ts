// names, durations, rates, suggestions, addresses.

import t from 'tap';
import { isServiceName, serviceFromHost } from '#contract/names.ts';
import { formatDuration, parseDuration, parseRate } from '#contract/text/durations.ts';
import { formatHostPort, isLoopback, parseHostPort } from '#contract/text/host-port.ts';
import { pathParts, pathTo } from '#contract/text/problem-words.ts';
import { nearest } from '#contract/text/suggest.ts';

t.test('serviceFromHost takes off what the mesh and Consul put behind a name', async (t) => {
  const cases: readonly [string, string | null][] = [
    ['payments', 'payments'],
    ['Payments.service.consul:80', 'payments'],
    ['PAYMENTS.MESH', 'payments'],
    ['payments.mesh.:9001', 'payments'],
    ['my_service-2.mesh', 'my_service-2'],
    ['a.b', 'a.b'],
    ['payments:', 'payments'],
    ['', null],
    ['.', null],
    [':80', null],
    ['.mesh', null],
    ['payments:80:90', null],
    ['payments:8x', null],
    ['payments:123456', null],
    ['-payments', null],
    ['user@payments', null],
    ['pay ments', null],
    ['päyments', null],
    ['10.0.0.7', null],
    ['10.0.0.7:80', null],
    ['10.0.0.7.mesh', null],
    ['2130706433', null],
    ['0x7f.1', null],
    ['0177.0.0.1', null],
    ['[::1]:80', null],
    ['[::ffff:127.0.0.1]', null],
    ['::1', null],
    ['a'.repeat(129), null],
  ];
  for (const [host, service] of cases) t.equal(serviceFromHost(host), service, JSON.stringify(host));
});

t.test('isServiceName', async (t) => {
  for (const name of ['a', 'A', '7', 'a-b_c.d', 'x'.repeat(128)]) t.ok(isServiceName(name), name);
  for (const name of ['', '-a', 'a-', 'a b', 'x'.repeat(129), 'a\n', '*'])
    t.notOk(isServiceName(name), JSON.stringify(name));
});

t.test('durations and rates read and write exactly', async (t) => {
  const cases: readonly [string, number | null][] = [
    ['250ms', 250],
    ['15s', 15_000],
    ['1.5m', 90_000],
    ['1h', 3_600_000],
    ['1d', 86_400_000],
    ['0', 0],
    ['0s', 0],
    ['0.0004s', null],
    ['15', null],
    ['-1s', null],
    ['1 s', null],
    ['1S', null],
    ['', null],
    ['1s\n', null],
    ['9999999999s', null],
  ];
  for (const [text, ms] of cases) t.equal(parseDuration(text), ms, JSON.stringify(text));
  for (const text of ['0s', '1ms', '1500ms', '15s', '1m', '25h', '1d']) {
    t.equal(formatDuration(parseDuration(text) ?? -1), text, `${text} there and back`);
  }
  t.equal(parseRate('3/s'), 3);
  t.equal(parseRate('30/m'), 0.5);
  t.equal(parseRate('3'), null);
  t.equal(parseRate('3/d'), null);
});

t.test('nearest finds typing errors and other spellings, and nothing far-fetched', async (t) => {
  const words = ['request', 'backendRequest', 'connect', 'leastRequest', 'idle'];
  t.equal(nearest('reqest', words), 'request');
  t.equal(nearest('least_request', words), 'leastRequest');
  t.equal(nearest('conenct', words), 'connect', 'a swap is one error');
  t.equal(nearest('tls', words), null);
  t.equal(nearest('id', words), null);
  t.equal(nearest('x'.repeat(10_000), words), null);
});

t.test('addresses', async (t) => {
  t.same(parseHostPort('127.0.0.1:15001'), { host: '127.0.0.1', port: 15_001 });
  t.same(parseHostPort('[::1]:0'), { host: '::1', port: 0 });
  for (const text of ['', ':80', 'a', 'a:', 'a:65536', 'a:-1', '::1:80', '[a]:1', 'a b:1', 'http://a:1']) {
    t.equal(parseHostPort(text), null, text);
  }
  t.equal(formatHostPort({ host: '::1', port: 80 }), '[::1]:80');
  for (const host of ['127.0.0.1', '127.8.8.8', '::1', 'localhost']) t.ok(isLoopback(host), host);
  for (const host of ['0.0.0.0', '128.0.0.1', '::', 'example', '127.example']) t.notOk(isLoopback(host), host);
});

t.test('paths lead back to their keys', async (t) => {
  const path = pathTo(pathTo(pathTo(pathTo('', 'spec'), 'rules'), 2), 'a.b"]');
  t.equal(path, 'spec.rules[2]["a.b\\"]"]');
  t.same(pathParts(path), ['spec', 'rules', 2, 'a.b"]']);
});
