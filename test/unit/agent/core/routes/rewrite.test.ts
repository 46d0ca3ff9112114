import t from 'tap';
import type { PathChange, Redirect } from '#contract/policy/route-rule.ts';
import { changePath, redirectPlace, withoutPort } from '../../../../../agent/core/routes/rewrite.ts';

const prefix = (from: string, value: string): PathChange => ({ type: 'ReplacePrefixMatch', value, prefix: from });
const full = (value: string): PathChange => ({ type: 'ReplaceFullPath', value, prefix: '/' });

t.test('changePath(): the table of Gateway API, and the query stays', async (t) => {
  const cases: [PathChange, string, string][] = [
    [prefix('/foo', '/xyz'), '/foo/bar', '/xyz/bar'],
    [prefix('/foo', '/xyz/'), '/foo/bar', '/xyz/bar'],
    [prefix('/foo', '/xyz'), '/foo', '/xyz'],
    [prefix('/foo', '/xyz'), '/foo/', '/xyz/'],
    [prefix('/foo', '/'), '/foo/bar', '/bar'],
    [prefix('/foo', '/'), '/foo/', '/'],
    [prefix('/foo', '/'), '/foo', '/'],
    [prefix('/', '/xyz'), '/foo', '/xyz/foo'],
    [prefix('/', '/xyz'), '/', '/xyz/'],
    [prefix('/', '/'), '/a', '/a'],
    [prefix('/foo', '/xyz'), '/foo/bar?a=/foo/b', '/xyz/bar?a=/foo/b'],
    [prefix('/foo', '/'), '/foo?x', '/?x'],
    [full('/down'), '/a/b?c=1', '/down?c=1'],
    [full('/'), '/a/b', '/'],
  ];
  for (const [change, target, expected] of cases)
    t.equal(changePath(change, target), expected, `${target} ${change.value}`);
});

t.test('redirectPlace()', async (t) => {
  const to = (changes: Partial<Redirect>): Redirect => ({
    scheme: null,
    hostname: null,
    port: null,
    path: null,
    status: 302,
    ...changes,
  });
  const cases: [Partial<Redirect>, string, string, string, boolean][] = [
    [{ scheme: 'https' }, 'api', '/a?b', 'https://api/a?b', false],
    [{ scheme: 'https' }, 'api:8080', '/a', 'https://api/a', false],
    [{ scheme: 'https', port: 443 }, 'api:8080', '/a', 'https://api/a', false],
    [{ scheme: 'https', port: 8443 }, 'api:8080', '/a', 'https://api:8443/a', false],
    [{ hostname: 'new.example' }, 'api:8080', '/a', 'http://new.example/a', false],
    [{ hostname: 'new.example', port: 80 }, 'api:8080', '/a', 'http://new.example/a', false],
    [{ port: 81 }, 'api', '/a', 'http://api:81/a', false],
    [{ port: 81 }, '[::1]:80', '/a', 'http://[::1]:81/a', false],
    [{ path: full('/b') }, 'api:8080', '/a?q', 'http://api:8080/b?q', true],
    [{ path: prefix('/a', '/'), hostname: 'api' }, 'api', '/a//evil.example', 'http://api//evil.example', true],
  ];
  for (const [changes, host, target, location, isSameOrigin] of cases) {
    const place = redirectPlace(to(changes), host, target);
    t.equal(place.location, location);
    t.equal(place.isSameOrigin, isSameOrigin, location);
    t.ok(/^https?:\/\/[^/]+\//.test(place.location), 'absolute, so that a path cannot be taken for a host');
  }
  t.equal(withoutPort('[::1]'), '[::1]');
  t.equal(withoutPort('a'), 'a');
});
